"""Settings of a solve: how a fixed point is sought and how its solution is differentiated."""

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from reasoning.errors import InputError
from reasoning.frozen import Frozen

if TYPE_CHECKING:  # torch is imported where a solver is built: settings are read without it
    from reasoning.fixed_point import Gradient, Solver


class SolverConfig(Frozen):
    """How a fixed point is sought."""

    kind: Literal["anderson", "picard"] = Field("anderson", description="fixed-point method")
    tolerance: float = Field(1e-3, gt=0, description="relative residual at which a sample stops")
    max_evaluations: int = Field(3, ge=0, description="most evaluations of the map per solve")
    min_evaluations: int = Field(0, ge=0, description="evaluations before a sample may stop")
    window: int = Field(5, gt=0, description="iterates Anderson mixes")
    mixing: float = Field(1.0, gt=0, le=1, description="Anderson's beta: 1 mixes map values only")
    damping: float = Field(1.0, gt=0, le=1, description="Picard's step")

    @model_validator(mode="after")
    def _least_is_within_most(self):
        if self.min_evaluations > self.max_evaluations:
            raise InputError(
                f"solver.min_evaluations {self.min_evaluations} is more than "
                f"solver.max_evaluations {self.max_evaluations}"
            )
        return self

    def build(
        self,
        max_evaluations: int | None = None,
        tolerance: float | None = None,
        *,
        early_exit: bool | None = None,
        final_step: bool = False,
    ) -> "Solver":
        """The solver, with another budget if one is given; see Budget for the options."""
        from reasoning.fixed_point import Anderson, Picard

        most = self.max_evaluations if max_evaluations is None else max_evaluations
        least = min(self.min_evaluations, most)
        tolerance = self.tolerance if tolerance is None else tolerance
        ends = {"early_exit": early_exit, "final_step": final_step}
        if self.kind == "picard":
            return Picard(tolerance, most, least, damping=self.damping, **ends)
        return Anderson(tolerance, most, least, window=self.window, mixing=self.mixing, **ends)


class GradientConfig(Frozen):
    """How the solution is differentiated; see reasoning.fixed_point.gradients."""

    kind: Literal["phantom", "one-step", "neumann", "adjoint", "unrolled"] = Field(
        "phantom", description="gradient of the solution"
    )
    steps: int = Field(2, gt=0, description="K, phantom steps")
    damping: float = Field(1.0, gt=0, le=1, description="lambda, size of a phantom step")
    terms: int = Field(2, gt=0, description="terms of the Neumann series")
    solver: Literal["anderson", "picard"] = Field("anderson", description="adjoint solve: method")
    tolerance: float = Field(1e-4, gt=0, description="adjoint solve: relative residual")
    max_evaluations: int = Field(32, gt=0, description="adjoint solve: most products with J^T")
    min_evaluations: int = Field(0, ge=0, description="adjoint solve: products before a stop")
    clip: float | None = Field(
        None, gt=0, description="most |u| of a sample, as a multiple of its |v|; none: unclipped"
    )

    @model_validator(mode="after")
    def _clip_has_something_to_clip(self):
        if self.clip is not None and self.kind in ("phantom", "unrolled"):
            raise InputError(
                f"gradient.clip bounds the adjoint u, which {self.kind} never forms: "
                "drop it, or choose one-step, neumann or adjoint"
            )
        return self

    def build(self, early_exit: bool | None = None) -> "Gradient":
        """The gradient; `early_exit` is the adjoint solve's."""
        from reasoning.fixed_point import (
            Adjoint,
            Anderson,
            Neumann,
            OneStep,
            Phantom,
            Picard,
            Unrolled,
        )

        match self.kind:
            case "phantom":
                return Phantom(self.steps, self.damping)
            case "one-step":
                return OneStep(self.clip)
            case "neumann":
                return Neumann(self.terms, self.clip)
            case "adjoint":
                kind = Picard if self.solver == "picard" else Anderson
                least = min(self.min_evaluations, self.max_evaluations)
                solver = kind(self.tolerance, self.max_evaluations, least, early_exit=early_exit)
                return Adjoint(solver, self.clip)
            case "unrolled":
                return Unrolled()

    @property
    def forward_steps(self) -> int:
        """Evaluations of the map that the value itself takes after the solver's."""
        return self.steps if self.kind == "phantom" else 0

    def passes(self) -> tuple[float, float]:
        """Passes through the map of a training step beyond the solver's evaluations: forward, and
        backward ones. A product with J^T costs half a backward pass; an adjoint solve is counted at
        its fewest; unrolled goes back through as many evaluations as there are."""
        match self.kind:
            case "phantom":
                return self.steps, self.steps
            case "neumann":
                return 1, 1 + self.terms / 2
            case "adjoint":
                return 1, 1 + max(self.min_evaluations, 1) / 2
            case "unrolled":
                return 0, math.inf
        return 1, 1

    def evaluations(self, graph: bool) -> int:
        """Evaluations of the map after the solver's: those of the value, or, where there is a
        graph, the one application that an implicit gradient differentiates."""
        implicit = self.kind in ("one-step", "neumann", "adjoint")
        return 1 if implicit and graph else self.forward_steps
