"""Equal budgets: how many steps of a configuration spend as much as another's.

A step's cost is measured, not modelled: a few steps of every stage of the curriculum are run from
fresh weights, and the stages weighed by their share of the run. Solver evaluations depend on the
weights, so a run may end below or above its budget: comparisons report what each executed.
"""

import statistics
import time
from typing import Literal

from puzzles.puzzle_set import PuzzleSet
from puzzles.stream import BatchStream
from reasoning.training.distribution import World
from reasoning.training.loop import Trainer
from reasoning.training.meter import Meter
from scripts.presets import RunConfig, build_model
from scripts.session import grid_shape

Budget = Literal["steps", "flops", "time"]
_PROBES = 3  # timed steps of a stage, after one to warm up


def cost_per_step(config: RunConfig, train: PuzzleSet, world: World, budget: Budget) -> float:
    """Mean cost of a step over the whole run, over all processes: FLOPs, or seconds."""
    if budget == "steps":
        return 1.0
    ends = [stage.until for stage in config.supervision.curriculum] or [1.0]
    total = 0.0
    for first, end in zip([0.0, *ends], ends, strict=False):
        total += (end - first) * _stage_cost(config, train, world, first, budget)
    return total


def _stage_cost(
    config: RunConfig, train: PuzzleSet, world: World, first: float, budget: Budget
) -> float:
    model = build_model(config, grid_shape(train)).to(world.device)
    source = BatchStream(train, config.batch, config.seed, config.augment)
    trainer = Trainer(model, source, config, world)
    trainer.done = min(int(first * config.steps) + 1, config.steps - 1)
    trainer.advance()
    if budget == "flops":
        with Meter(config.compile) as meter:
            trainer.advance()
        return float(meter.flops * world.size)
    seconds = []
    for _ in range(_PROBES):
        clock = time.perf_counter()
        sums = trainer.advance()
        sums["loss"].item()  # waits for the device
        seconds.append(time.perf_counter() - clock)
    return statistics.median(seconds)


def steps_within(
    config: RunConfig, amount: float, train: PuzzleSet, world: World, budget: Budget
) -> int:
    """Steps that spend `amount` of a budget (steps, FLOPs or seconds), to the next log line."""
    steps = amount / cost_per_step(config, train, world, budget)
    return max(1, round(steps / config.log_every)) * config.log_every
