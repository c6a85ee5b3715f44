"""Anderson acceleration, type II (Walker and Ni 2011), per sample and safeguarded.

Of the last m iterates, with residual vectors r_i = f(z_i) - z_i, take the affine combination whose
residual is smallest and step from it:

    min || sum a_i r_i ||, sum a_i = 1;      z <- sum a_i (z_i + beta r_i).

* The newest iterate is always in the window: there are no empty slots to fill with zeros.
* The normal equations are solved for the residuals scaled to unit length, with a ridge relative to
  the trace of their Gram matrix. Scaling makes the ridge mean the same at every residual; an
  absolute one comes to dominate as residuals shrink, and the weights go uniform.
* A sample mixes only at a new best residual (within the factor `growth`); after a mixed step that
  did not improve on it, steps are plain until one does. Where Picard contracts it makes every such
  step good; judged against the step before alone, it can cycle for ever, mixed up and plain down.
* Reductions run in fp32, or in float64 for float64 states.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reasoning.errors import InputError
from reasoning.fixed_point.iteration import Iteration, Tensors
from reasoning.fixed_point.solution import inner, per_sample, row_sum


@dataclass(frozen=True)
class Anderson(Iteration):
    """Accelerated iteration; see Budget for the first fields.

    window: m, iterates mixed; 1 is Picard;
    mixing: beta, in (0, 1]: 1 mixes map values alone;
    growth: multiple of its best residual past which a sample takes plain steps; more explores
        more, which finds more fixed points of maps that are no contractions, and loses the safety.
    """

    tolerance: float = 1e-4
    max_evaluations: int = 64
    min_evaluations: int = 0
    window: int = 5
    mixing: float = 1.0
    growth: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 1:
            raise InputError(f"window must be at least 1, got {self.window}")
        if not 0 < self.mixing <= 1:
            raise InputError(f"mixing must lie in (0, 1], got {self.mixing}")
        if not self.growth >= 1:
            raise InputError(f"growth must be at least 1, got {self.growth}")

    def proposal(self) -> "_Step":
        return _Step(self)


class _Step:
    """The window: map values, wide residual vectors, and their Gram matrix, newest last."""

    def __init__(self, settings: Anderson):
        self.settings = settings
        self.values: list[Tensors] = []
        self.gaps: list[Tensors] = []
        self.gram: list[list[Tensor]] = []  # lower triangle, each entry (B,)
        self.best: Tensor | None = None  # (B,) least residual so far

    def __call__(self, fz: Tensors, gap: Tensors, residual: Tensor) -> Tensors:
        self._append(fz, gap)
        self.best = residual if self.best is None else torch.minimum(self.best, residual)
        with torch.no_grad():
            weights = self._weights(residual > self.settings.growth * self.best)
        return self._mix(weights)

    def keep(self, rows: Tensor) -> None:
        self.values = [tuple(part[rows] for part in value) for value in self.values]
        self.gaps = [tuple(part[rows] for part in gap) for gap in self.gaps]
        self.gram = [[entry[rows] for entry in row] for row in self.gram]
        self.best = self.best[rows]

    def _append(self, fz: Tensors, gap: Tensors) -> None:
        self.values.append(fz)
        self.gaps.append(gap)
        with torch.no_grad():
            self.gram.append([inner(gap, other) for other in self.gaps])
        if len(self.values) > self.settings.window:
            del self.values[0], self.gaps[0], self.gram[0]
            for row in self.gram:
                del row[0]

    def _weights(self, plain: Tensor) -> Tensor:
        """(B, m) affine weights, the newest alone where `plain`."""
        size = len(self.values)
        rows = [[self.gram[max(i, j)][min(i, j)] for j in range(size)] for i in range(size)]
        gram = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
        newest = torch.zeros_like(gram[:, 0])
        newest[:, -1] = 1
        # Residuals scaled to unit length: G_ij / (l_i l_j), of trace m.
        tiny = torch.finfo(gram.dtype).tiny
        inverse = gram.diagonal(dim1=1, dim2=2).clamp_min(tiny).rsqrt()
        ridge = 10 * torch.finfo(gram.dtype).eps
        ridge = ridge * torch.eye(size, dtype=gram.dtype, device=gram.device)
        scaled = gram * inverse[:, :, None] * inverse[:, None, :] + ridge
        right = inverse / inverse[:, -1:]
        solved, _ = torch.linalg.solve_ex(scaled, right)
        weights = solved * right
        weights = weights / row_sum(weights)[:, None]
        usable = weights.isfinite().all(1) & ~plain
        return torch.where(usable[:, None], weights, newest)

    def _mix(self, weights: Tensor) -> Tensors:
        """sum a_i (f_i - (1 - beta) r_i), accumulated in the residuals' precision."""
        mixed = []
        rest = 1 - self.settings.mixing
        for p, newest in enumerate(self.values[-1]):
            total = 0
            for i, (value, gap) in enumerate(zip(self.values, self.gaps, strict=True)):
                weight = per_sample(weights[:, i], newest)
                point = value[p].to(weight.dtype)
                if rest:
                    point = point - rest * gap[p]
                total = weight * point if i == 0 else total.addcmul_(weight, point)
            mixed.append(total.to(newest.dtype))
        return tuple(mixed)
