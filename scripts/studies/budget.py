"""Equal budgets: how many steps of a configuration spend as much as another's.

A step's cost is measured, not modelled: a few steps of every stage of the curriculum are run from
fresh weights, and the stages weighed by their share of the run. Solver evaluations depend on the
weights, so a run may end below or above its budget: comparisons report what each executed.

Times differ from one measurement to the next, so what a budget came to is kept beside the runs, in
budget.json, and the same request is given the same steps again.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puzzles.puzzle_set import PuzzleSet
from reasoning.training.distribution import World
from reasoning.training.loop import Trainer
from reasoning.training.memory import out_of_memory
from reasoning.training.meter import Meter
from reasoning.training.runs import RunError, TrainingError, write_json
from scripts.models.grids import grid_shape
from scripts.models.presets import RunConfig, build_model
from scripts.runs.data import training_stream
from scripts.terminal.choices import Budget
from scripts.usage import UsageError

_PROBES = 5  # timed steps of a stage


@dataclass(frozen=True)
class Cost:
    """What a run of any length spends, in FLOPs or seconds, over all processes."""

    per_step: float
    once: float = 0.0  # whatever the number of steps

    def of(self, steps: int) -> float:
        return self.once + steps * self.per_step


def cost_of(config: RunConfig, train: PuzzleSet, world: World, budget: Budget) -> Cost:
    """What a run of a configuration costs, alike on every process.

    config: of the run; train: its training puzzles; world: the processes that measure it together;
    budget: what is counted, steps, FLOPs (flops) or seconds (time).

    TrainingError if its steps do not fit into memory.
    """
    if budget == "steps":
        return Cost(1.0)
    try:
        cost = (_flops if budget == "flops" else _time)(config, train, world)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise TrainingError(
            f"{config.preset}: out of memory while the cost of its steps was measured: leave it "
            "out, or compare at equal --steps to have it listed as failed"
        ) from error
    return Cost(world.first(cost.per_step), world.first(cost.once))


def _stages(config: RunConfig) -> list[tuple[int, float]]:
    """A step of each stage of the curriculum, and the stage's share of the run."""
    ends = [stage.until for stage in config.supervision.curriculum] or [1.0]
    last = config.steps - 1
    return [
        (min(int(first * config.steps) + 1, last), end - first)
        for first, end in zip([0.0, *ends], ends, strict=False)
    ]


def _probe(config: RunConfig, train: PuzzleSet, world: World, step: int) -> Trainer:
    """A run of this config with fresh weights, on these puzzles, that stands before a step.

    train: its puzzles. world: its process.
    """
    model = build_model(config, grid_shape(train)).to(world.device)
    source = training_stream(config, train)
    trainer = Trainer(model, source, config, world)
    trainer.done = step
    return trainer


def _flops(config: RunConfig, train: PuzzleSet, world: World) -> Cost:
    total = 0.0
    for step, share in _stages(config):
        trainer = _probe(config, train, world, step)
        trainer.advance()
        with Meter(config.compile) as meter:
            trainer.advance()
        total += share * meter.flops * world.size
    return Cost(total)


def _time(config: RunConfig, train: PuzzleSet, world: World) -> Cost:
    """Seconds as a run spends them: the first step of every log interval and of every depth is
    metered, which takes longer than the others, and a stage's first step has a cost of its own."""
    # What is spent once a process (kernels loaded, compiled, cached) is spent here, not in a run.
    rehearsal = _probe(config, train, world, 0)
    for rehearsal.done, _ in _stages(config):
        rehearsal.advance()
    per_step = once = 0.0
    trainer, before = _probe(config, train, world, 0), None
    for step, share in _stages(config):
        trainer.done = step
        opening = _seconds(trainer.advance)
        plain = _seconds(trainer.advance, _PROBES)
        metered = _seconds(trainer.metered)
        per_step += share * (plain + (metered - plain) / config.log_every)
        once += max(0.0, opening - plain)
        depth = config.supervision.stage_at(step, config.steps).depth
        if before not in (None, depth):  # the first step is metered, if no line begins there too
            once += (metered - plain) * (1 - 1 / config.log_every)
        before = depth
    return Cost(per_step, once)


def _seconds(step: Callable[[], dict[str, Any]], steps: int = 1) -> float:
    """Mean seconds of so many steps, the device waited for at their end, as at a log line."""
    clock = time.perf_counter()
    for _ in range(steps):
        sums = step()
    sums["loss"].item()
    return (time.perf_counter() - clock) / steps


def steps_within(
    config: RunConfig, amount: float, train: PuzzleSet, world: World, budget: Budget
) -> int:
    """Steps that spend `amount` of a budget (steps, FLOPs or seconds), to the next log line.

    config, train, world, budget: as in `cost_of`.
    """
    cost = cost_of(config, train, world, budget)
    lines = round((amount - cost.once) / cost.per_step / config.log_every)
    if lines < 1:
        least = cost.once + config.log_every * cost.per_step
        raise UsageError(
            f"--amount {amount:g}: {config.preset} spends {least:.3g} by its first log line, step "
            f"{config.log_every}, and no comparison would be of equal budgets; ask for more"
        )
    return lines * config.log_every


class Ledger:
    """OUT/budget.json: the steps that each configuration was given for a request (`budget`,
    `amount`, and the first configuration where that one's own steps are the amount).

    The first process reads and writes it, and tells the others.

    Raises:
        RunError: the file is there and cannot be read.
    """

    def __init__(self, out: Path, request: dict[str, Any], world: World):
        self.path, self.request, self.world = out / "budget.json", request, world
        self.records = _read(self.path) if world.is_main else []

    def total(self, measure: Callable[[], float]) -> float:
        """The amount that every configuration of this request was given, measured if new."""
        known = next((r["total"] for r in self.records if r["request"] == self.request), 0.0)
        return self.world.first(known) or measure()

    def steps(self, config: RunConfig, total: float, measure: Callable[[], int]) -> int:
        """The steps of a configuration under this request, measured and kept if new."""
        place = {"request": self.request, "config": config.model_dump(mode="json")}
        known = next((r["steps"] for r in self.records if place.items() <= r.items()), 0)
        steps = int(self.world.first(known)) or measure()
        if self.world.is_main and not known:
            self.records.append(place | {"total": total, "steps": steps})
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, self.records)
        return steps


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        records = json.loads(path.read_text())
        for record in records:
            record["request"], record["config"], record["total"], record["steps"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: not readable ({error!r}); delete it to measure the budget again, and choose "
            "another --out if the steps come out different"
        ) from error
    return records
