"""The training loop of deep supervision, the same for every model.

One step: halted slots take their row of the step's batch, every slot runs one segment, gradients
are summed over micro-batches and processes, clipped, applied, averaged. Everything drawn at random
is a function of (seed, step) over the *global* batch, so a resumed run, and a run on another number
of processes, meet the same data and the same exploration.
"""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from reasoning.errors import InputError
from reasoning.nn.compilation import compile_nets, nets_of
from reasoning.precision import autocast
from reasoning.randomness import fold
from reasoning.supervision import Batch, Carry, Depth, exploration_minimum, start, supervise
from reasoning.training.checkpoints import (
    CheckpointError,
    buffers_of,
    first_not_finite,
    last_words,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
    unfold_buffers,
)
from reasoning.training.config import TrainingConfig
from reasoning.training.distribution import World, generators, join_world, restore_generators
from reasoning.training.ema import EMA
from reasoning.training.logs import Logs
from reasoning.training.memory import peak_bytes, restart_peak
from reasoning.training.meter import Meter
from reasoning.training.optimizers import Optimizers, clip_gradients
from reasoning.training.pending import gather_pending, share_pending
from reasoning.training.runs import RunError, TrainingError, make_folder
from reasoning.training.slots import join, measure, rows_of
from reasoning.training.steps import Progress, StepLoop


class BatchSource(Protocol):
    """Random access to global batches."""

    def batch_at(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...


@dataclass(frozen=True)
class Outcome:
    """How training ended: steps done, whether it was interrupted, and net calls per slot summed."""

    step: int
    interrupted: bool
    net_calls: float


_ONCE = {"grad_norm", "flops", "saved_bytes"}  # a step, and no sums over slots
# Which may not be infinite, as a residual may.
_LOSSES = ("loss", "cell_loss", "halting_loss", "own_loss")


class Trainer(StepLoop):
    """State of one run. `train` steps it to the end; `step` advances it by one.

    Args:
        model: on `world.device`, with its initial weights.
        source: global batches by step.
        world: this process's place; None: `join_world(config.device)`.
        run: the run's folder, which `train` makes if it is not there, or None to write nothing.
        evaluate: called with the averaged model at `evaluate_every` and at the end; returns a
            record of held-out metrics.
        listen: called after every step.
    """

    def __init__(
        self,
        model: nn.Module,
        source: BatchSource,
        config: TrainingConfig,
        world: World | None = None,
        run: str | Path | None = None,
        evaluate: Callable[[nn.Module], dict[str, Any]] | None = None,
        listen: Callable[[Progress], None] = lambda progress: None,
    ):
        world = world or join_world(config.device)
        super().__init__(config, world, None if run is None else Path(run), listen)
        self.model, self.source, self.evaluate = model, source, evaluate
        unfold_buffers(model)
        self.ema = EMA(model, config.ema)
        self.optimizers = Optimizers(model, config.optimizer)
        self.rows = world.rows(config.batch)
        self.net_calls = 0.0
        self.carry: Carry | None = None
        if config.compile:
            copies = (model, self.ema.model)
            compile_nets(n for m in copies for n in nets_of(m, "compile", "without --compile"))

    def resume(self) -> None:
        """Take everything from the run's latest checkpoint."""
        step, state = load_checkpoint(self.run, self.model, self.ema.model)
        try:
            # These move their moments to the weights; AdamW's step counts stay, which it reads.
            self.optimizers.load_state_dict(state["optimizers"])
        except ValueError as error:
            raise CheckpointError(f"{self.run}: {error}") from error
        slots, asked = len(state["segments"]), self.config.batch
        if slots != asked:
            raise CheckpointError(
                f"{self.run}: was trained with a batch of {slots}, not {asked}: resume it with that"
            )

        def mine(whole: Tensor) -> Tensor:
            return whole[self.rows].to(self.world.device)

        self.carry = Carry(
            tuple(map(mine, state["state"])),
            mine(state["segments"]),
            mine(state["halted"]),
            Batch(*map(mine, state["puzzle"])),
        )
        self.net_calls, self.done = state["net_calls"], step
        restore_generators(state["rng"], self.world)
        # A checkpoint of an earlier version stands on a log line.
        self._pending = share_pending(state.get("pending", [[]] * self.world.size), self.world)
        self._clock = time.perf_counter() - state.get("pending_seconds", 0.0)

    def save(self) -> None:
        """Write a checkpoint of the whole global batch; every process takes part.

        TrainingError, nothing written, if a number in it is not finite.
        """
        self._refuse_unless_finite()
        gather, carry = self.world.gather_rows, self.carry
        puzzle = carry.puzzle
        state = {
            "optimizers": self.optimizers.state_dict(),
            "state": [gather(part) for part in carry.state],
            "segments": gather(carry.segments),
            "halted": gather(carry.halted),
            "puzzle": [gather(p) for p in (puzzle.inputs, puzzle.labels, puzzle.puzzle_ids)],
            "net_calls": self.net_calls,
            "rng": self.world.gather_objects(generators(self.world.device)),
            "pending": gather_pending(self._pending, self.world),
            "pending_seconds": time.perf_counter() - self._clock if self._pending else 0.0,
        }
        if self.world.is_main:
            save_checkpoint(self.run, self.done, self.model, self.ema.model, state)
        self.world.barrier()

    def _refuse_unless_finite(self) -> None:
        parts = {f"weight {name}": p for name, p in self.model.state_dict().items()}
        parts |= {f"averaged {name}": p for name, p in self.ema.model.state_dict().items()}
        parts |= self.optimizers.tensors()
        states = {f"carried state {i}": part for i, part in enumerate(self.carry.state)}
        masks = {f"{of} {n}" for of in ("weight", "averaged") for n in buffers_of(self.model)}
        found = first_not_finite(parts | states, masks | states.keys())
        if self.world.any(found is not None):
            raise self._diverged(f"{found or 'a number of another process'} is no longer finite")

    def _batch(self, step: int) -> tuple[Batch, Tensor, Tensor]:
        """This process's rows of the step's batch, their exploration minima and seeds."""
        device, config = self.world.device, self.config
        arrays = self.source.batch_at(step)
        if len(arrays[0]) != config.batch:
            raise InputError(f"the source's batch is {len(arrays[0])}, config.batch {config.batch}")
        parts = (torch.from_numpy(a[self.rows]).to(device, torch.int64) for a in arrays)
        generator = torch.Generator().manual_seed(_mix(config.seed, step))
        limit = config.supervision.stage_at(step, config.steps).segments
        minimum = exploration_minimum(config.batch, config.supervision, limit, generator)
        slots = torch.arange(config.batch)[self.rows].to(device)
        seeds = fold(slots, _mix(config.seed, step))
        return Batch(*parts), minimum[self.rows].to(device), seeds

    def step(self) -> dict[str, Tensor]:
        """One optimiser step; returns sums over this process's slots, left on the device.

        The first step of every log interval and of every cost is metered, for what it cost this
        process.
        """

        def cost(step: int) -> tuple[Depth, bool]:
            supervision = self.config.supervision
            return supervision.cost_of(supervision.stage_at(step, self.config.steps))

        new = self.done % self.config.log_every == 0 or cost(self.done) != cost(self.done - 1)
        return self.metered() if new else self.advance()

    def metered(self) -> dict[str, Tensor]:
        """`step`, always metered."""
        with Meter(self.config.compile) as meter:
            sums = self.advance()
        measured = {"flops": meter.flops, "saved_bytes": meter.saved_bytes}
        return sums | {name: torch.tensor(float(value)) for name, value in measured.items()}

    def _cost(self, pending: list[dict[str, Tensor]], seconds: float) -> dict[str, Any]:
        """What the pending steps took: FLOPs over all processes, each step's those of the last that
        was metered, and the bytes of the process that took most."""
        flops = each = torch.zeros((), dtype=torch.float64)
        for sums in pending:
            each = sums.get("flops", each).double()
            flops = flops + each
        kept = max(int(sums["saved_bytes"]) for sums in pending if "saved_bytes" in sums)
        device = self.world.device
        cost = {
            "seconds": seconds,
            "segments_per_second": len(pending) * self.config.batch / seconds,
            "flops": float(self.world.sum(flops.to(device))),
            "saved_bytes": int(self.world.max(kept)),
        }
        peak = peak_bytes(device)
        return cost if peak is None else cost | {"peak_bytes": int(self.world.max(peak))}

    def advance(self) -> dict[str, Tensor]:
        """`step`, never metered."""
        config, model = self.config, self.model
        model.train()
        self.optimizers.zero_grad()
        sums = self._backward(*self._batch(self.done))
        self.world.sum_gradients(model)
        sums["grad_norm"] = clip_gradients(model, config.optimizer.clip)
        puzzle_ids = self.world.gather_rows(self.carry.puzzle.puzzle_ids)
        self.optimizers.step(self.done, config.steps, puzzle_ids)
        self.world.share(model.get_buffer(name) for name in self.ema.statistics)
        self.ema.update(model, self.done)
        self.done += 1
        return sums

    def _backward(self, batch: Batch, minimum: Tensor, seeds: Tensor) -> dict[str, Tensor]:
        """A segment of every slot and its gradient, by micro-batches; the carry moves on."""
        config, model = self.config, self.model
        if self.carry is None:
            with autocast(self.world.device, config.precision):  # for the dtype of the states
                self.carry = start(model, batch, seeds)
        stage = config.supervision.stage_at(self.done, config.steps)
        size = config.micro_batch or len(minimum)
        sums, carries = None, []
        for first in range(0, len(minimum), size):
            piece = slice(first, first + size)
            with autocast(self.world.device, config.precision):
                supervised = supervise(
                    model,
                    rows_of(self.carry, piece),
                    rows_of(batch, piece),
                    minimum[piece],
                    stage,
                    config.loss,
                    config.supervision.halting,
                    seeds[piece],
                )
            (supervised.losses.total.sum() / config.batch).backward()
            carries.append(supervised.carry)
            measured = measure(supervised)
            sums = measured if sums is None else _added(sums, measured)
        self.carry = join(carries)
        return sums

    def train(self) -> Outcome:
        """Run to the last step, or to an interrupt (SIGINT, SIGTERM), which saves and returns.

        An interrupt waits for the step in hand.

        TrainingError when the loss is no longer finite; the last checkpoint stays. RunError if the
        folder cannot be written, or holds a checkpoint that was not resumed from.
        """
        if self.run:
            self._open_folder()
        self._run_steps()
        return Outcome(self.done, self.done < self.config.steps, self.net_calls)

    @property
    def evaluates_every(self) -> int:
        return self.config.evaluate_every if self.evaluate else 0

    def _take_step(self) -> None:
        # A run that was extended begins within a log interval, with nothing pending.
        self._pending.append(self.step() if self._pending else self.metered())
        between = self.done % self.config.log_every and self.done < self.config.steps
        if "flops" in self._pending[-1] and between:
            # A metered step runs uncompiled: its peak is not the others'.
            restart_peak(self.world.device)

    def _log_training(self, logs: Logs) -> dict[str, Any]:
        record = self._record(self._pending)
        logs.write("train", record, self._cost(self._pending, time.perf_counter() - self._clock))
        return record

    def _log_evaluation(self, logs: Logs) -> dict[str, Any]:
        started = time.perf_counter()
        record = {"step": self.done} | self.evaluate(self.ema.model)
        logs.write("test", record, {"seconds": time.perf_counter() - started})
        return record

    def _open_folder(self) -> None:
        if not self.done and list_checkpoints(self.run):
            raise RunError(f"{self.run}: holds a run; `resume` it first, or choose another folder")
        if self.world.is_main:
            make_folder(self.run)
        self.world.barrier()

    def _record(self, pending: list[dict[str, Tensor]]) -> dict[str, Any]:
        """Means over the pending steps and all processes: the one wait for the device.

        A mean that is infinite, such as the residual of no evaluation, has no JSON: null.
        """
        names = [n for n in pending[-1] if n not in _ONCE]
        for sums in pending[:-1]:
            _expect_alike(sums.keys() - _ONCE, names)
        stacked = torch.stack(
            [torch.stack([sums[name].double() for sums in pending]).sum() for name in names]
        )
        total = dict(zip(names, self.world.sum(stacked).tolist(), strict=True))
        slots, finished = total.pop("slots"), total.pop("finished")
        self.net_calls += total["net_calls"]
        record: dict[str, Any] = {"step": self.done}
        for name, value in total.items():
            if name.startswith("finished_"):
                record[name] = value / finished if finished else None
            else:
                record[name] = value / slots if math.isfinite(value) or name in _LOSSES else None
        norm = float(torch.stack([s["grad_norm"] for s in pending]).mean())
        record["grad_norm"] = norm if math.isfinite(norm) else None
        record["total_net_calls"] = self.net_calls
        record["segment_limit"] = self.config.supervision.stage_at(
            self.done - 1, self.config.steps
        ).segments
        if not math.isfinite(record["loss"]):
            own = record.get("own_loss", 0.0)
            which = "loss" if math.isfinite(own) else "model's own_loss"
            raise self._diverged(f"the {which} is {record['loss']}")
        return record

    def _diverged(self, what: str) -> TrainingError:
        clipped = self.config.optimizer.clip is not None
        remedy = "begin a run with a lower --optimizer.lr"
        remedy += "" if clipped else " or with --optimizer.clip"
        return TrainingError(f"{what} at step {self.done}: {remedy}; {last_words(self.run)}")


def _expect_alike(before: Iterable[str], after: Iterable[str]) -> None:
    """InputError unless two segments tell the same numbers by name."""
    if differing := {*before} ^ {*after}:
        raise InputError(f"{min(differing)}: one segment tells it, and another does not")


def _added(first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, Tensor]:
    _expect_alike(first, second)
    return {name: first[name] + second[name] for name in first}


def _mix(seed: int, step: int) -> int:
    """An independent 63-bit seed for (seed, step)."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> 1)
