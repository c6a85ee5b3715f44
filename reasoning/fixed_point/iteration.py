"""The loop every solver shares: evaluate, measure, keep the best, stop per sample, propose.

A sample stops when its relative residual meets the tolerance (after the least number of
evaluations), when the map is no longer finite, or at the budget. From then on its result is fixed:
the loop goes on evaluating the map on the whole batch, for its shape must not change under a
compiled map, but nothing more is taken from a stopped sample, and what the map sees of it is that
result. Every quantity of a sample is computed from its own history, so its result does not depend
on its batch-mates, unless the map itself couples them: the tokens of a causal language model are
samples that see earlier ones, moving until these stop and at rest from then on.

Nothing here waits for the device, except `early_exit`, which looks once an evaluation whether any
sample is still active. Left at None it looks on the CPU, where looking costs nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from reasoning.fixed_point.solution import per_sample, row_sum
from reasoning.precision import wide

Tensors = tuple[Tensor, ...]
Map = Callable[[Tensors], Tensors]
# Given an iterate's map value, wide residual vector and relative residual: the next iterate.
Proposal = Callable[[Tensors, Tensors, Tensor], Tensors]

_TINY = 1e-15  # least |z| divided by, so that 0/0 at a zero state is 0; far below any state's norm


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
            raise ValueError(
                f"tolerance must be a finite number above 0, got {self.tolerance}; "
                "to spend a fixed budget set min_evaluations to max_evaluations"
            )
        if not 0 <= self.min_evaluations <= self.max_evaluations:
            raise ValueError(
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


def iterate(f: Map, start: Tensors, budget: Budget, propose: Proposal) -> Found:
    """Run `propose` from `start` under `budget`; returns each sample's best iterate.

    Where gradients are enabled, the value carries the graph of the iterates that led to it.
    """
    first, count = wide(start[0]), start[0].shape[0]
    flag = {"dtype": torch.bool, "device": first.device}
    active, converged = torch.ones(count, **flag), torch.zeros(count, **flag)
    evaluations = torch.zeros(count, dtype=torch.int64, device=first.device)
    residual = first.new_full((count,), math.inf)
    part_residuals = first.new_full((count, len(start)), math.inf)
    unmoved = None if budget.final_step else torch.ones(count, **flag)
    # Looking at what is on the device costs nothing; a graph that is exported cannot depend on it.
    free = first.device.type == "cpu" and not torch.compiler.is_exporting()
    look = free if budget.early_exit is None else budget.early_exit
    z = best = start
    for k in range(budget.max_evaluations):
        if look and k and not active.any():
            break
        fz = f(z)
        gap = tuple(wide(b) - wide(a) for a, b in zip(z, fz, strict=True))
        with torch.no_grad():
            gap_sq = torch.stack([row_sum(g.square()) for g in gap], dim=1)
            size_sq = torch.stack([row_sum(wide(p).square()) for p in z], dim=1)
            now = _ratio(row_sum(gap_sq), row_sum(size_sq))
            # Both must be: z beyond the range of squares would otherwise have residual 0.
            finite = (gap_sq.isfinite() & size_sq.isfinite()).all(1)
            evaluations += active
            better = active & finite & (now < residual)
            residual = torch.where(better, now, residual)
            ratios = _ratio(gap_sq, size_sq)
            part_residuals = torch.where(better[:, None], ratios, part_residuals)
            if k + 1 >= budget.min_evaluations:
                converged |= active & finite & (residual <= budget.tolerance)
            active = active & finite & ~converged
        if budget.final_step:
            best = _where(better, fz, best, free)
        elif k:
            best = _where(better, z, best, free)
            unmoved = unmoved & ~better
        if k + 1 < budget.max_evaluations:
            z = _where(active, propose(fz, gap, now), best, free)
    return Found(best, residual, evaluations, converged, part_residuals, unmoved)


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
