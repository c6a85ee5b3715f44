"""Deep supervision: a carry per slot, one segment in and out, halting.

One training step advances every slot by one segment (Wang et al. 2025; Jolicoeur-Martineau 2025):
halted slots take a new puzzle and the model's initial state, the model runs one segment, the loss
is taken, and slots halt on their score or at the segment limit. Nothing here knows which model
runs: it sees `SegmentModel` alone, so every model meets the same data, budget and metric.

Shapes: B slots, C cells, L positions, D width, V vocabulary.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from pydantic import BaseModel
from torch import Tensor

from reasoning.errors import InputError
from reasoning.losses import LossConfig, Losses, supervision_loss
from reasoning.randomness import fold
from reasoning.supervision_config import Depth, Stage, SupervisionConfig

State = tuple[Tensor, ...]
_PROBE = 8 << 32  # use of a slot's seed, apart from the start's and the segments'
# What a run's logs and scores call their own numbers.
_METRICS = (
    *("step", "split", "slots", "loss", "cell_loss", "halting_loss", "own_loss", "jacobian_energy"),
    *("cell", "exact", "valid", "tokens", "finite", "net_calls", "total_net_calls", "grad_norm"),
    *("flops", "saved_bytes", "segment_limit", "residual_log10", "finished", "finished_cell"),
    *("finished_exact", "finished_segments"),
)


@dataclass(frozen=True)
class SegmentOutput:
    """What one segment returns.

    state: the carry of the next segment, detached, tensors (B, L, D);
    logits: (B, C, V) fp32, -inf where a token is ruled out; q: (B, 2) fp32 scores (halt, continue);
    net_calls: (B,) calls of the net this segment made for each sample, a solver's evaluations until
        that sample stopped (what a batch computes beyond that is not counted);
    diagnostics: per-sample numbers (B,), such as residuals and solver evaluations, under names that
        are no metric's (InputError);
    earlier: the answers y (B, L, D) before the last that carry a gradient, for `loss.every`;
    jacobian: of seeds (B,), an estimate of |J|_F^2 an element (B,) with its graph, J of the map
        whose fixed point was sought, for `loss.jacobian`;
    own_loss: (B,) with its graph, a loss of the model's own, weighted as it likes, that training
        adds to the others and logs; every segment has it, or none.
    """

    state: State
    logits: Tensor
    q: Tensor
    net_calls: Tensor
    diagnostics: dict[str, Tensor] = field(default_factory=dict)
    earlier: tuple[Tensor, ...] = ()
    jacobian: Callable[[Tensor], Tensor] | None = None
    own_loss: Tensor | None = None

    def __post_init__(self):
        if taken := self.diagnostics.keys() & _METRICS:
            raise InputError(f"diagnostics: {min(taken)} is a metric's name; call it otherwise")
        for name in self.diagnostics:
            if name.startswith("finished_"):
                raise InputError(
                    f"diagnostics: {name} begins as means over finished puzzles alone do, which a "
                    "diagnostic is not; call it otherwise"
                )


class SegmentModel(Protocol):
    """What training and evaluation need of a model, which is an nn.Module made by
    `Model(config, shape)`: its settings, an instance of its class `Config`, any pydantic model
    (see `reasoning.model_config`), and what the data decides (`reasoning.nn.grid.GridShape`).

    seeds (B,) int64: where a model's random numbers come from; only stochastic models need them.
    """

    Config: type[BaseModel]

    def initial_state(self, batch: int, seeds: Tensor | None = None) -> State: ...

    def segment(
        self,
        state: State,
        inputs: Tensor,
        puzzle_ids: Tensor,
        depth: Depth,
        seeds: Tensor | None = None,
    ) -> SegmentOutput:
        """One segment of every sample.

        state: what the segment before returned, or `initial_state`; inputs: questions int64 (B, C);
        puzzle_ids: int64 (B,), for models that embed them; depth: overrides of the model's own;
        seeds: fresh for every segment, None for a model that draws nothing.
        """
        ...

    def decode(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, C, V) and scores (B, 2) of an answer state; asked only of `earlier`."""
        ...


@dataclass(frozen=True)
class Batch:
    """A batch of puzzles: inputs (B, C), labels (B, C), puzzle_ids (B,), all int64."""

    inputs: Tensor
    labels: Tensor
    puzzle_ids: Tensor


@dataclass(frozen=True)
class Carry:
    """What every slot holds between steps: its puzzle, state, segments done, whether it halted."""

    state: State
    segments: Tensor
    halted: Tensor
    puzzle: Batch


def start(model: SegmentModel, batch: Batch, seeds: Tensor | None = None) -> Carry:
    """A carry whose every slot is halted, so that the first step fills it with `batch`."""
    size, device = len(batch.inputs), batch.inputs.device
    state = tuple(part.detach().clone() for part in model.initial_state(size, seeds))
    zeros = torch.zeros(size, dtype=torch.int64, device=device)
    return Carry(state, zeros, torch.ones(size, dtype=torch.bool, device=device), batch)


def _where(mask: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(mask.view(-1, *([1] * (a.dim() - 1))), a, b)


def refill(carry: Carry, model: SegmentModel, batch: Batch, seeds: Tensor | None = None) -> Carry:
    """Halted slots take their row of `batch`, the initial state and a segment count of zero.

    carry: of B slots; model: whose initial state it is; seeds: (B,), of a random one, None for a
    model that draws nothing.

    The initial state keeps its graph: a learned one gets the gradient the segment lets through.
    """
    mask = carry.halted
    initial = model.initial_state(len(mask), seeds)
    return Carry(
        state=tuple(_where(mask, a, b) for a, b in zip(initial, carry.state, strict=True)),
        segments=torch.where(mask, 0, carry.segments),
        halted=torch.zeros_like(mask),
        puzzle=Batch(
            _where(mask, batch.inputs, carry.puzzle.inputs),
            _where(mask, batch.labels, carry.puzzle.labels),
            _where(mask, batch.puzzle_ids, carry.puzzle.puzzle_ids),
        ),
    )


def exploration_minimum(
    slots: int, config: SupervisionConfig, limit: int, generator: torch.Generator
) -> Tensor:
    """(slots,) fewest segments before halting: with the exploration chance uniform in 2..limit.

    config: says that chance. Drawn on the generator's device for all slots of the global batch, so
    that ranks can slice it.
    """
    explore = torch.rand(slots, generator=generator) < config.exploration
    minimum = torch.randint(2, max(limit, 2) + 1, (slots,), generator=generator)
    return torch.where(explore, minimum, 0)


@dataclass(frozen=True)
class Supervised:
    """One supervised segment: its output, per-sample losses, and the carry after halting.

    net_calls (B,): all that were made, the segment ahead that Q-learning looks at included.
    """

    output: SegmentOutput
    net_calls: Tensor
    losses: Losses
    carry: Carry


def supervise(
    model: SegmentModel,
    carry: Carry,
    batch: Batch,
    minimum: Tensor,
    stage: Stage,
    loss: LossConfig,
    halting: Literal["halt", "q-learning"] = "halt",
    seeds: Tensor | None = None,
) -> Supervised:
    """Refill, run one segment, take the loss, halt.

    model: on the carry's device; carry: of B slots, as the last step or `start` left it; batch: a
    puzzle for every slot, taken where it has halted; stage: the segment limit and the depth; loss:
    its settings.

    A slot halts at the stage's segment limit, or, once it has done `minimum` (B,) segments, when
    its halting score is positive. With Q-learning (HRM) that is halt - continue, and where there is
    a choice, that is more than one segment, continue is trained towards the scores of the next
    segment, run once more without a gradient. seeds (B,) are fresh for every slot and step.
    """
    first, this, next_ = (None if seeds is None else fold(seeds, use) for use in range(3))
    carry = refill(carry, model, batch, first)
    asked = (carry.puzzle.inputs, carry.puzzle.puzzle_ids, stage.depth)
    output = model.segment(carry.state, *asked, this)
    segments, net_calls = carry.segments + 1, output.net_calls
    at_limit = segments >= stage.segments
    score, target = output.q[:, 0].detach(), None
    if halting == "q-learning" and stage.segments > 1:  # see `SupervisionConfig.cost_of`
        with torch.no_grad():
            ahead = model.segment(output.state, *asked, next_)
        target = torch.where(at_limit, ahead.q[:, 0], ahead.q.amax(1)).sigmoid()
        net_calls = net_calls + ahead.net_calls
        score = score - output.q[:, 1].detach()
    earlier = [model.decode(y)[0] for y in output.earlier] if loss.every else []
    labels = carry.puzzle.labels
    losses = supervision_loss(output.logits, output.q, labels, loss, target, earlier)
    if loss.jacobian:
        if output.jacobian is None or seeds is None:
            raise InputError("loss.jacobian needs a model that tells its map's Jacobian, and seeds")
        losses = losses.with_jacobian(output.jacobian(fold(seeds, _PROBE)), loss)
    if output.own_loss is not None:
        if output.own_loss.shape != losses.total.shape:
            shape = tuple(output.own_loss.shape)
            raise InputError(f"own_loss has shape {shape}, expected {tuple(losses.total.shape)}")
        losses = losses.with_own(output.own_loss)
    halted = at_limit | ((score > 0) & (segments >= minimum))
    after = Carry(output.state, segments, halted, carry.puzzle)
    return Supervised(output, net_calls, losses, after)


@torch.no_grad()
def infer(
    model: SegmentModel,
    inputs: Tensor,
    puzzle_ids: Tensor,
    segments: int,
    depth: Depth,
    seeds: Tensor | None = None,
) -> Iterator[SegmentOutput]:
    """Yield every segment's output for a batch, from the initial state, without halting.

    inputs: questions int64 (B, C); puzzle_ids: int64 (B,); segments: how many; depth: overrides of
    the model's own; seeds (B,), one per puzzle: a stochastic model's start and every segment's
    noise follow from it.
    """
    state = model.initial_state(len(inputs), seeds)
    for segment in range(segments):
        fresh = None if seeds is None else fold(seeds, segment)
        output = model.segment(state, inputs, puzzle_ids, depth, fresh)
        state = output.state
        yield output
