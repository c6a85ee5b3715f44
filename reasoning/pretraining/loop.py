"""The pretraining loop, the same for every language model.

One step: the next rows of the stream, next-token cross entropy averaged over the tokens of the
*global* batch, gradients summed over micro-batches and processes, clipped, applied by MuonAdamW. A
step whose loss or gradient is not finite changes no weight. What is random is a function of
(seed, step, row of the global batch), and the rows do not depend on the number of processes, so a
resumed run, and one on another number of processes, trains on the same.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reasoning.errors import InputError
from reasoning.precision import autocast
from reasoning.pretraining.checkpoints import (
    load_pretraining,
    masks_of,
    model_tensors,
    save_pretraining,
)
from reasoning.pretraining.config import PretrainingConfig
from reasoning.pretraining.flops import (
    Passes,
    matmul_rule,
    measured_passes,
    peak_flops,
    published_rule,
)
from reasoning.pretraining.optimizer import MuonAdamW, trapezoid
from reasoning.pretraining.parallel import clip_sharded_gradients, is_sharded, prepare
from reasoning.pretraining.protocol import LanguageModel, LMOutput
from reasoning.pretraining.telemetry import HasMap, TokenStatistics, estimate_jacobian, rates
from reasoning.randomness import fold
from reasoning.training.checkpoints import first_not_finite, last_words, unfold_buffers
from reasoning.training.distribution import World, generators, restore_generators
from reasoning.training.logs import Logs
from reasoning.training.runs import TrainingError
from reasoning.training.steps import Progress, StepLoop

_PROBED_ROWS = 2
_TERMS = 8 << 32  # use of a sequence's seed, apart from what models draw from it


class TokenSource(Protocol):
    """This process's rows of every global batch, in order, with a position to save."""

    def next(self) -> np.ndarray:
        """int64 (batch / processes, context + 1)."""

    def state(self) -> list[dict[str, Any]]:
        """One JSON-able position per own lane."""

    def restore(self, states: list[dict[str, Any]]) -> None: ...


class Pretrainer(StepLoop):
    """State of one run. `train` steps it to the end; `step` advances it by one.

    Args:
        model: on `world.device`, with its initial weights.
        source: this process's rows.
        published: core passes that the published FLOP rule charges this model.
        gradient: core passes of a training step beyond the evaluations the model reports.
        run: the run's folder, or None to write nothing.
        validate: called at `validation.every` and at the end, in eval mode; returns one record per
            budget.
        listen: called after every step.
    """

    def __init__(
        self,
        model: LanguageModel,
        source: TokenSource,
        config: PretrainingConfig,
        world: World,
        published: Passes,
        gradient: Passes,
        run: Path | None = None,
        validate: Callable[[LanguageModel], list[dict[str, Any]]] | None = None,
        listen: Callable[[Progress], None] = lambda progress: None,
    ):
        super().__init__(config, world, run, listen)
        self.model, self.source, self.validate = model, source, validate
        self.rows, self.lanes = world.rows(config.batch), world.rows(config.lanes)
        self.cost, self.published = model.cost(), published
        self.gradient = gradient + config.loss.passes()
        if config.jacobian_every and not isinstance(model, HasMap):
            raise InputError(
                "jacobian_every: this model has no map to estimate |J| of; set it to 0"
            )
        unfold_buffers(model)
        roles = model.parameter_roles()
        prepare(model, config, world)
        self.optimizer = MuonAdamW(model, roles, config.optimizer)
        self.skipped = self.skipped_in_a_row = 0
        self.flops = {"published_rule": 0.0, "matmul_rule": 0.0}
        self.statistics = TokenStatistics()
        self._probed: Tensor | None = None  # rows of the latest step, for |J|

    # Checkpoints

    def _tensors(self) -> dict[str, Tensor]:
        state = {f"optimizer.{k}": v for k, v in self.optimizer.state_tensors().items()}
        return model_tensors(self.model) | state | {"rng": torch.get_rng_state()}

    def save(self) -> None:
        """Write a checkpoint; every process takes part.

        TrainingError, nothing written, if a number in it is not finite.
        """
        self._refuse_unless_finite()
        gathered = self.world.gather_objects(self.source.state())
        lanes = [lane for part in gathered for lane in part]
        state = {
            "lanes": lanes,
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
            "flops": self.flops,
        }
        if (own := generators(self.world.device).get("cuda")) is not None:
            state["cuda_rng"] = self.world.gather_objects(own.tolist())
        pending = None
        if self._pending:
            pending = {
                "steps": self._pending,
                "seconds": time.perf_counter() - self._clock,
                "statistics": self.world.gather_objects(self.statistics.state()),
            }
        save_pretraining(self.run, self.done, self._tensors(), state, self.world, pending)

    def _refuse_unless_finite(self) -> None:
        found = first_not_finite(self._tensors(), masks_of(self.model))
        if self.world.any(found is not None):
            raise self._diverged(f"{found or 'a number of another process'} is no longer finite")

    def resume(self) -> None:
        """Take everything from the run's latest checkpoint, whatever world wrote it."""
        tensors = self._tensors()
        state = load_pretraining(self.run, tensors, self.world, masks_of(self.model))
        kept = {"cpu": tensors["rng"]}
        cuda = [{"cuda": torch.tensor(s, dtype=torch.uint8)} for s in state.get("cuda_rng", [])]
        restore_generators([kept | own for own in cuda] or [kept], self.world)
        self.source.restore(state["lanes"][self.lanes])
        self.done, self.flops = state["step"], state["flops"]
        self.skipped, self.skipped_in_a_row = state["skipped"], state["skipped_in_a_row"]
        if "pending" in state:
            pending = state["pending"]
            self._pending = [tuple(step) for step in pending["steps"]]
            self._clock = time.perf_counter() - pending["seconds"]
            self.statistics.restore(pending["statistics"], self.world)

    # Training

    def step(self) -> tuple[float, float]:
        """One optimiser step; returns the global batch's mean loss and its gradient's norm."""
        config, world = self.config, self.world
        rows = torch.from_numpy(self.source.next()).to(world.device)
        seeds = sequence_seeds(config.seed, self.done, config.batch)[self.rows].to(world.device)
        size = config.micro_batch or len(rows)
        # Sharded gradients come averaged over the processes; every other sum is taken as it is.
        scale = (world.size if is_sharded(config, world) else 1) / config.tokens_per_step
        self.model.train()
        self.optimizer.zero_grad()
        total = torch.zeros((), device=world.device)
        for first in range(0, len(rows), size):
            piece = slice(first, first + size)
            with autocast(world.device, config.precision):
                output = self.model(rows[piece, :-1], seeds=seeds[piece])
                added = self._terms(output, seeds[piece])
            labels = rows[piece, 1:].reshape(-1)
            loss = F.cross_entropy(output.logits.flatten(0, 1), labels, reduction="sum")
            ((loss + added) * scale).backward()
            total += loss.detach()
            self.statistics.add(output.diagnostics)
        if not is_sharded(config, world):
            world.sum_gradients(self.model)
        norm = clip_sharded_gradients(self.model, config.optimizer.clip)
        mean = float(world.sum(total)) / config.tokens_per_step
        if math.isfinite(mean) and math.isfinite(norm):
            self.optimizer.step(self.done, config.steps)
            self.skipped_in_a_row = 0
        else:
            self.skipped += 1
            self.skipped_in_a_row += 1
        self.done += 1
        self._probed = rows[:_PROBED_ROWS, :-1]
        if self.skipped_in_a_row == config.max_skipped:
            raise self._diverged(
                f"the loss is {mean}, the gradient's norm {norm}, and {config.max_skipped} updates "
                "in a row were skipped as not finite"
            )
        return mean, norm

    def _terms(self, output: LMOutput, seeds: Tensor) -> Tensor | float:
        """What is added to the cross entropy, summed over the tokens of these sequences. InputError
        for a term that the model does not offer."""
        added = 0.0
        for name, weight in self.config.loss.weights().items():
            if name not in output.terms:
                offered = ", ".join(output.terms) or "none"
                raise InputError(
                    f"loss.{name}: the model offers no such term (of its own: {offered})"
                )
            values = output.terms[name](fold(seeds, _TERMS))
            self.statistics.add({f"{name}_term": values})
            added = added + weight * self.config.context * values.sum()
        return added

    def _diverged(self, what: str) -> TrainingError:
        terms = "".join(f", or --loss.{name}" for name in self.config.loss.weights())
        return TrainingError(
            f"step {self.done}: {what}: begin a run with a lower --optimizer.lr and "
            f"--optimizer.muon-lr{terms}; "
            f"{last_words(self.run)}"
        )

    def train(self) -> bool:
        """Run to the last step, or to an interrupt (SIGINT, SIGTERM), which saves and returns.

        An interrupt waits for the step in hand. Returns whether it was interrupted.
        TrainingError after `max_skipped` updates in a row that were not finite.
        """
        self._run_steps()
        return self.done < self.config.steps

    @property
    def evaluates_every(self) -> int:
        return self.config.validation.every if self.validate else 0

    def _take_step(self) -> None:
        self._pending.append(self.step())  # loss and norm

    def _log_training(self, logs: Logs) -> dict[str, Any]:
        record, flops = self._record(self._pending)
        tokens = len(self._pending) * self.config.tokens_per_step
        seconds = time.perf_counter() - self._clock
        peak = peak_flops(self.world.device, self.config.peak_tflops)
        logs.write("train", record, rates(seconds, tokens, flops, peak, self.world))
        return record

    def _log_evaluation(self, logs: Logs) -> dict[str, Any]:
        started = time.perf_counter()
        validations = [{"step": self.done} | r for r in self.validate(self.model)]
        seconds = time.perf_counter() - started
        for validation in validations:
            logs.write("validation", validation, {"seconds": seconds})
        return _shown(validations)

    def _record(self, pending: list[tuple[float, float]]) -> tuple[dict[str, Any], float]:
        """The line of the pending steps, and their FLOPs by the matmul rule. Means over the steps
        whose update was applied, null if there was none."""
        config, optimizer = self.config, self.config.optimizer
        kept = [pair for pair in pending if all(map(math.isfinite, pair))]
        means = [math.fsum(values) / len(kept) for values in zip(*kept, strict=True)]
        loss, norm = means or (None, None)
        numbers = self.statistics.summary(self.world)
        self.statistics = TokenStatistics()
        tokens = len(pending) * config.tokens_per_step
        passes = measured_passes(numbers, self.gradient)
        spent = tokens * matmul_rule(self.cost, config.context, passes)
        self.flops["matmul_rule"] += spent
        charged = published_rule(self.cost, config.context, self.published)
        self.flops["published_rule"] += tokens * charged
        factor = trapezoid(self.done - 1, config.steps, optimizer.cooldown)
        record = {
            "step": self.done,
            "tokens": self.done * config.tokens_per_step,
            "loss": loss,
            "grad_norm": norm,
            "lr": factor * optimizer.lr,
            "muon_lr": factor * optimizer.muon_lr,
            "skipped": self.skipped,
        }
        last = self.done == config.steps
        if config.jacobian_every and (self.done % config.jacobian_every == 0 or last):
            seed = config.seed + self.done
            norm = estimate_jacobian(self.model, self._probed, seed, self.world)
            record["jacobian_norm"] = norm
        record |= numbers | {f"flops_{rule}": value for rule, value in self.flops.items()}
        return record, spent


def _shown(validations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a listener is told of a validation: the record of the model's own budget (else of the
    first), and the loss at each other one by its evaluations, loss_at_0 the proposal's."""
    own = next((each for each in validations if each["max_evaluations"] is None), validations[0])
    others = {f"loss_at_{v['max_evaluations']}": v["loss"] for v in validations if v is not own}
    return {**own} | others


def sequence_seeds(seed: int, step: int, batch: int) -> Tensor:
    """int64 (batch,): an independent non-negative seed for every row of a step's global batch."""
    words = np.random.SeedSequence((seed, step)).generate_state(batch, np.uint64) >> np.uint64(1)
    return torch.from_numpy(words.astype(np.int64))
