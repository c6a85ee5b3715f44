"""Training to a deadline: as many steps as end on it, and a schedule over exactly those.

A fresh trainer runs throwaway steps of every depth of its curriculum, 20 s of them or a fiftieth
of the time if that is less, and is put back bit for bit; the steps that fit are planned from what
they took. So the run is the one that the same configuration with that many steps would be, and it
resumes as any other. How long steps take later is not known: where a solver comes to need fewer
evaluations, training ends early.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from reasoning.errors import InputError
from reasoning.training.config import TrainingConfig, replanned
from reasoning.training.distribution import generators, restore_generators
from reasoning.training.loop import Trainer

LONGEST, SHARE = 20.0, 0.02  # seconds of measuring at most, and of the time there is


@dataclass(frozen=True)
class Costs:
    """Seconds: of a step, the mean over the curriculum; of metering, what it adds to a step; of one
    held-out evaluation. measuring: what it took to find out, compilation included."""

    step: float
    metering: float
    evaluation: float
    measuring: float

    def steps_in(self, seconds: float, config: TrainingConfig) -> int:
        """Steps that fit, with their metered ones and evaluations; the last step has one."""
        each = self.step + self.metering / config.log_every
        each += self.evaluation / config.evaluate_every
        return int((seconds - self.evaluation) / each)


def plan(trainer: Trainer, seconds: float, began: float) -> dict[str, Any]:
    """Give a fresh trainer the configuration that ends on the deadline; returns the plan's record.

    seconds: all there is, from `began`, a reading of time.perf_counter().
    ValueError if not even one step fits.
    """
    world = trainer.world
    costs = measure(trainer, min(LONGEST, SHARE * seconds))
    left = world.first(seconds - (time.perf_counter() - began))
    steps = costs.steps_in(left, trainer.config)
    if steps < 1:
        raise InputError(
            f"no step fits into {seconds:g} s: getting ready took {seconds - left:.0f} s, a step "
            f"{costs.step:.2g} s and the evaluation {costs.evaluation:.2g} s; give more time"
        )
    config = replanned(trainer.config, steps)
    trainer.config, trainer.ema.config = config, config.ema
    trainer.optimizers.config = config.optimizer
    return {"seconds": seconds, "left": left, "steps": steps, "costs": asdict(costs)}


def measure(trainer: Trainer, seconds: float) -> Costs:
    """What steps, metering and an evaluation cost; the trainer is as it was before."""
    began, world, config = time.perf_counter(), trainer.world, trainer.config
    put_back = _snapshot(trainer)
    spans = _spans(config)
    step = 0.0
    for share, first in spans:
        put_back()
        trainer.done = first
        step += share * _seconds_per_step(trainer, seconds / len(spans))
    plain = _timed(trainer, trainer.advance)
    metering = max(0.0, _timed(trainer, trainer.metered) - plain)
    evaluation = 0.0
    if trainer.evaluate is not None:
        started = time.perf_counter()
        trainer.evaluate(trainer.ema.model)
        evaluation = time.perf_counter() - started
    put_back()
    measuring = time.perf_counter() - began
    return Costs(*map(world.max, (step, metering, evaluation, measuring)))


def _spans(config: TrainingConfig) -> list[tuple[float, int]]:
    """What a step of the run may cost: the share of its steps that do, and the first such step."""
    supervision, spans, before = config.supervision, {}, 0.0
    for stage in supervision.curriculum:
        cost = supervision.cost_of(stage)
        share, first = spans.get(cost, (0.0, math.ceil(before * config.steps)))
        spans[cost] = (share + stage.until - before, first)
        before = stage.until
    return list(spans.values()) or [(1.0, 0)]


def _seconds_per_step(trainer: Trainer, seconds: float) -> float:
    """Timed in runs of 1, 2, 4, ... steps, for only their ends to wait for the device."""
    _timed(trainer, trainer.advance)  # compiles
    taken, count, done = 0.0, 1, 0
    while taken < seconds or not done:
        taken += trainer.world.first(_timed(trainer, trainer.advance, count))
        done += count
        count *= 2
        if done and taken + count * taken / done > 1.5 * seconds:
            break
    return taken / done


def _timed(trainer: Trainer, work: Callable[[], Any], count: int = 1) -> float:
    """Seconds of so many calls, with what they left to do on the device."""
    device = trainer.world.device
    started = time.perf_counter()
    for _ in range(count):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def _snapshot(trainer: Trainer) -> Callable[[], None]:
    """How to put a fresh trainer back to where it is now."""
    models = [
        (model, copy.deepcopy(model.state_dict())) for model in (trainer.model, trainer.ema.model)
    ]
    optimizers = copy.deepcopy(trainer.optimizers.state_dict())
    random = [generators(trainer.world.device)]
    assert trainer.done == 0, "only a fresh trainer can be measured"

    def put_back() -> None:
        for model, state in models:
            model.load_state_dict(state)
        trainer.optimizers.load_state_dict(optimizers)
        trainer.optimizers.zero_grad()
        trainer.done, trainer.net_calls, trainer.carry = 0, 0.0, None
        restore_generators(random, trainer.world)

    return put_back
