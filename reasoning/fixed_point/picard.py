"""Picard iteration, damped: z <- (1 - h) z + h f(z).

On maps that spiral (complex eigenvalues near or beyond the unit circle) a smaller h converges where
h = 1 does not; the fixed points are the same. With `patience`, each sample shrinks its own h by
`decay` whenever its residual has not improved for that many evaluations (FPRM).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reasoning.errors import InputError
from reasoning.fixed_point.iteration import Iteration, Tensors
from reasoning.fixed_point.solution import per_sample


@dataclass(frozen=True)
class Picard(Iteration):
    """Damped plain iteration; see Budget for the first fields.

    damping: h, in (0, 1];
    patience: evaluations without improvement before h shrinks; 0: never;
    decay: factor on h, in (0, 1].
    """

    tolerance: float = 1e-4
    max_evaluations: int = 64
    min_evaluations: int = 0
    damping: float = 1.0
    patience: int = 0
    decay: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.damping <= 1 or not 0 < self.decay <= 1:
            raise InputError(
                f"damping and decay must lie in (0, 1], got {self.damping} and {self.decay}"
            )
        if self.patience < 0:
            raise InputError(f"patience must be 0 (off) or more, got {self.patience}")

    def proposal(self) -> "_Step":
        return _Step(self)


class _Step:
    """One sample's h, its best residual and how long ago that was, for every sample."""

    def __init__(self, settings: Picard):
        self.settings = settings
        self.h: Tensor | None = None

    def __call__(self, fz: Tensors, gap: Tensors, residual: Tensor) -> Tensors:
        settings = self.settings
        if settings.damping == 1 and not settings.patience:
            return fz
        if self.h is None:
            self.h = torch.full_like(residual, settings.damping)
            self.best = residual
            self.waited = torch.zeros_like(residual)
        elif settings.patience:
            improved = residual < self.best
            self.best = torch.minimum(self.best, residual)
            self.waited = torch.where(improved, 0, self.waited + 1)
            tired = self.waited >= settings.patience
            self.h = torch.where(tired, self.h * settings.decay, self.h)
            self.waited = torch.where(tired, 0, self.waited)
        # (1 - h) z + h f(z) = f(z) - (1 - h) (f(z) - z)
        return tuple(
            (b - per_sample(1 - self.h, g) * g).to(b.dtype) for b, g in zip(fz, gap, strict=True)
        )

    def keep(self, rows: Tensor) -> None:
        if self.h is not None:
            self.h, self.best, self.waited = self.h[rows], self.best[rows], self.waited[rows]
