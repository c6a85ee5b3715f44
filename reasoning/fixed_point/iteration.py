"""The loop every solver shares: evaluate, measure, keep the best, stop per sample, propose.

A sample stops when its relative residual meets the tolerance (after the least number of
evaluations), when the map is no longer finite, or at the budget. From then on its result is fixed:
nothing more is taken from it, and what the map sees of it, as long as it sees it, is that result.
Every quantity of a sample is computed from its own history, so its result does not depend on its
batch-mates, unless the map itself couples them: the tokens of a causal language model are samples
that see earlier ones, moving until these stop and at rest from then on.

Where the map can be had for some of the samples alone (`Restrict`), those at rest leave the batch,
with all that is kept of them, and cost nothing more. To gather those who stay takes about a tenth
of an evaluation of the map, so they leave once they are an eighth of the batch. A map that cannot
be restricted, such as a compiled one, whose shapes should not change, sees the whole batch to the
end.

Nothing here waits for the device, except `early_exit`, which looks once an evaluation which samples
are still active. Left at None it looks on the CPU, where looking costs nothing.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from reasoning.errors import InputError
from reasoning.fixed_point.solution import expect_form, per_sample, row_sum
from reasoning.precision import wide

Tensors = tuple[Tensor, ...]
Map = Callable[[Tensors], Tensors]
# Given places (A,) int64 in the batch, and of the samples that leave it now their places and where
# they rest: the map of the former alone, in that order.
Restrict = Callable[[Tensor, Tensor, Tensors], Map]

_LEAVE_TOGETHER = 1 / 8  # least share of the batch that is at rest before it leaves
_TINY = 1e-15  # least |z| divided by, so that 0/0 at a zero state is 0; far below any state's norm


class Proposal(Protocol):
    """How a solver goes on from an iterate, with the history that it keeps for that."""

    @abstractmethod
    def __call__(self, fz: Tensors, gap: Tensors, residual: Tensor) -> Tensors:
        """The next iterate, from a map value, the wide residual vector and the relative residual
        (B,): a tuple of new tensors of fz's shapes and dtypes."""
        ...

    @abstractmethod
    def keep(self, rows: Tensor) -> None:
        """Go on with these samples (A,) alone: the others are at rest and leave the batch."""
        ...


@dataclass(frozen=True)
class Budget:
    """When to stop. ValueError, naming the remedy, for values that make no sense.

    tolerance: relative residual at which a sample has converged, > 0;
    max_evaluations: most calls of the map; 0 returns the start;
    min_evaluations: calls before a sample may stop;
    early_exit: stop once every sample has; None: only on the CPU;
    final_step: return f of the best iterate, which its evaluation has made, in place of the iterate
        (whose residual is the one reported): T evaluations from the start are then T steps.
    """

    tolerance: float
    max_evaluations: int
    min_evaluations: int
    early_exit: bool | None = field(default=None, kw_only=True)
    final_step: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tolerance) and self.tolerance > 0):
            raise InputError(
                f"tolerance must be a finite number above 0, got {self.tolerance}; "
                "to spend a fixed budget set min_evaluations to max_evaluations"
            )
        if not 0 <= self.min_evaluations <= self.max_evaluations:
            raise InputError(
                "evaluations must satisfy 0 <= min <= max, got "
                f"min {self.min_evaluations}, max {self.max_evaluations}"
            )


@dataclass(frozen=True)
class Found:
    """The best iterate of each sample, or its image under `final_step`; see Solution.

    unmoved: (B,) bool, the value is the start itself; None under `final_step`, where none is once
        the map has been evaluated.
    """

    value: Tensors
    residual: Tensor
    evaluations: Tensor
    converged: Tensor
    part_residuals: Tensor
    unmoved: Tensor | None

    @classmethod
    def at(cls, start: Tensors, final_step: bool) -> "Found":
        """Before the first evaluation."""
        first, count = wide(start[0]), start[0].shape[0]
        flag = {"dtype": torch.bool, "device": first.device}
        return cls(
            start,
            first.new_full((count,), math.inf),
            torch.zeros(count, dtype=torch.int64, device=first.device),
            torch.zeros(count, **flag),
            first.new_full((count, len(start)), math.inf),
            None if final_step else torch.ones(count, **flag),
        )

    def of(self, rows: Tensor) -> "Found":
        """Those of these samples, in that order."""
        return Found(
            tuple(part[rows] for part in self.value),
            self.residual[rows],
            self.evaluations[rows],
            self.converged[rows],
            self.part_residuals[rows],
            None if self.unmoved is None else self.unmoved[rows],
        )


class Iteration(Budget, ABC):
    """A solver that runs `iterate`: Picard, Anderson, or one of your own, a frozen dataclass which
    says how it goes on from an iterate. Samples at rest can leave its batch.

    A field `window`, `mixing` or `damping` that it has is set by a model's SolverConfig.
    """

    @abstractmethod
    def proposal(self) -> Proposal:
        """How one solve goes on, without a history yet."""

    def run(self, f: Map, start: Tensors, restrict: Restrict | None = None) -> Found:
        """Iterate from `start`; see `iterate`."""
        return iterate(f, start, self, self.proposal(), restrict)


def iterate(
    f: Map, start: Tensors, budget: Budget, propose: Proposal, restrict: Restrict | None = None
) -> Found:
    """Run `propose` from `start` under `budget`; returns each sample's best iterate.

    f: the map; restrict: gives it for the samples that stay, None: all stay to the end.

    Where gradients are enabled, the value carries the graph of the iterates that led to it.
    """
    found = Found.at(start, budget.final_step)
    active = ~found.converged
    # Looking at what is on the device costs nothing; a graph that is exported cannot depend on it.
    free = active.device.type == "cpu" and not torch.compiler.is_exporting()
    look = free if budget.early_exit is None else budget.early_exit
    here = torch.arange(active.shape[0], device=active.device)
    left: list[tuple[Tensor, Found]] = []  # who no longer is in the batch, and what it found
    z = start
    for k in range(budget.max_evaluations):
        if look and k:
            staying = int(active.sum())
            if not staying:
                break
            if restrict is not None and len(active) - staying >= _LEAVE_TOGETHER * len(active):
                gone, stay = (~active).nonzero().squeeze(1), active.nonzero().squeeze(1)
                left.append((here[gone], found.of(gone)))
                f = restrict(here[stay], here[gone], tuple(part[gone] for part in z))
                found, here, active = found.of(stay), here[stay], active[stay]
                z = tuple(part[stay] for part in z)
                propose.keep(stay)
        fz = f(z)
        gap = tuple(wide(b) - wide(a) for a, b in zip(z, fz, strict=True))
        with torch.no_grad():
            gap_sq = torch.stack([row_sum(g.square()) for g in gap], dim=1)
            size_sq = torch.stack([row_sum(wide(p).square()) for p in z], dim=1)
            now = _ratio(row_sum(gap_sq), row_sum(size_sq))
            # Both must be: z beyond the range of squares would otherwise have residual 0.
            finite = (gap_sq.isfinite() & size_sq.isfinite()).all(1)
            evaluations = found.evaluations + active
            better = active & finite & (now < found.residual)
            residual = torch.where(better, now, found.residual)
            ratios = _ratio(gap_sq, size_sq)
            part_residuals = torch.where(better[:, None], ratios, found.part_residuals)
            converged = found.converged
            if k + 1 >= budget.min_evaluations:
                converged = converged | (active & finite & (residual <= budget.tolerance))
            active = active & finite & ~converged
        best, unmoved = found.value, found.unmoved
        if budget.final_step:
            best = _where(better, fz, best, free)
        elif k:
            best, unmoved = _where(better, z, best, free), unmoved & ~better
        found = Found(best, residual, evaluations, converged, part_residuals, unmoved)
        if k + 1 < budget.max_evaluations:
            proposed = propose(fz, gap, now)
            expect_form(proposed, fz, f"what {_name(propose)} proposes")
            z = _where(active, proposed, best, free)
    return _together([*left, (here, found)]) if left else found


def _name(propose: Proposal) -> str:
    return getattr(propose, "__qualname__", type(propose).__qualname__)


def _together(pieces: list[tuple[Tensor, Found]]) -> Found:
    """What all samples found, of pieces of the batch and their places in it."""
    places, found = zip(*pieces, strict=True)
    order = torch.cat(places).argsort()
    joined = Found(
        tuple(torch.cat(parts) for parts in zip(*(one.value for one in found), strict=True)),
        torch.cat([one.residual for one in found]),
        torch.cat([one.evaluations for one in found]),
        torch.cat([one.converged for one in found]),
        torch.cat([one.part_residuals for one in found]),
        None if found[0].unmoved is None else torch.cat([one.unmoved for one in found]),
    )
    return joined.of(order)


def _where(chosen: Tensor, a: Tensors, b: Tensors, free: bool) -> Tensors:
    """a of the samples chosen, b of the others; where looking costs nothing, no copy of either when
    all samples are alike."""
    if free and chosen.all():
        return a
    if free and not chosen.any():
        return b
    return tuple(torch.where(per_sample(chosen, x), x, y) for x, y in zip(a, b, strict=True))


def _ratio(gap_sq: Tensor, size_sq: Tensor) -> Tensor:
    """|gap| / |z| from the squares; roots first, for the quotient of squares overflows in fp32."""
    return gap_sq.sqrt() / size_sq.sqrt().clamp_min(_TINY)
