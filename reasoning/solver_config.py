"""Settings of a solve: how a fixed point is sought and how its solution is differentiated.

A kind with `:` is the import path of a class of your own (reasoning/README.md).
"""

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from reasoning.errors import InputError
from reasoning.frozen import Frozen
from reasoning.plugins import class_at, made

if TYPE_CHECKING:  # torch is imported where a solver is built: settings are read without it
    from reasoning.fixed_point import Gradient, Iteration


def _is_path(kind: str) -> bool:
    return ":" in kind


def _expect_kind(what: str, kind: str, shipped: tuple[str, ...]) -> None:
    if kind not in shipped and not _is_path(kind):
        raise InputError(
            f"{what}.kind is {kind}: take {', '.join(shipped)}, or the import path of a class of "
            "your own, package.module:Name"
        )


def _expect_order(what: str, least: int, most: int) -> None:
    if least > most:
        raise InputError(
            f"{what}.min_evaluations {least} is more than {what}.max_evaluations {most}: lower the "
            "one or raise the other"
        )


def _taken(kind: type, config: Frozen, names: tuple[str, ...]) -> dict[str, Any]:
    """Those of the settings that a class has fields for."""
    fields = getattr(kind, "__dataclass_fields__", {})
    return {name: getattr(config, name) for name in names if name in fields}


class SolverConfig(Frozen):
    """How a fixed point is sought."""

    kind: Literal["anderson", "picard"] | str = Field(
        "anderson", description="fixed-point method, or the import path of an Iteration"
    )
    tolerance: float = Field(1e-3, gt=0, description="relative residual at which a sample stops")
    max_evaluations: int = Field(3, ge=0, description="most evaluations of the map per solve")
    min_evaluations: int = Field(0, ge=0, description="evaluations before a sample may stop")
    window: int = Field(5, gt=0, description="iterates Anderson mixes")
    mixing: float = Field(1.0, gt=0, le=1, description="Anderson's beta: 1 mixes map values only")
    damping: float = Field(1.0, gt=0, le=1, description="Picard's step")

    @model_validator(mode="after")
    def _least_is_within_most(self):
        _expect_order("solver", self.min_evaluations, self.max_evaluations)
        _expect_kind("solver", self.kind, ("anderson", "picard"))
        if _is_path(self.kind):
            self.build()  # refused while settings are read
        return self

    def build(
        self,
        max_evaluations: int | None = None,
        tolerance: float | None = None,
        *,
        early_exit: bool | None = None,
        final_step: bool = False,
    ) -> "Iteration":
        """The solver. max_evaluations, tolerance: in place of these settings', None: as they say;
        early_exit, final_step: see Budget."""
        from reasoning.fixed_point import Anderson, Iteration, Picard

        kind = {"anderson": Anderson, "picard": Picard}.get(self.kind)
        kind = kind or class_at(self.kind, Iteration)
        most = self.max_evaluations if max_evaluations is None else max_evaluations
        least = min(self.min_evaluations, most)
        tolerance = self.tolerance if tolerance is None else tolerance
        settings = _taken(kind, self, ("window", "mixing", "damping"))
        settings |= {"early_exit": early_exit, "final_step": final_step}
        return made(self.kind, kind, tolerance, most, least, **settings)


_CLIPPED = ("one-step", "neumann", "adjoint")
_GRADIENTS = ("phantom", "reversible", *_CLIPPED, "unrolled")


class GradientConfig(Frozen):
    """How the solution is differentiated; see reasoning.fixed_point.gradients."""

    kind: Literal["phantom", "reversible", "one-step", "neumann", "adjoint", "unrolled"] | str = (
        Field("phantom", description="gradient of the solution, or the import path of a Gradient")
    )
    steps: int = Field(2, gt=0, description="K, phantom steps, or pairs of reversible ones")
    damping: float = Field(1.0, gt=0, le=1, description="lambda, size of such a step")
    terms: int = Field(2, gt=0, description="terms of the Neumann series")
    solver: Literal["anderson", "picard"] = Field("anderson", description="adjoint solve: method")
    tolerance: float = Field(1e-4, gt=0, description="adjoint solve: relative residual")
    max_evaluations: int = Field(32, gt=0, description="adjoint solve: most products with J^T")
    min_evaluations: int = Field(0, ge=0, description="adjoint solve: products before a stop")
    mixing: float = Field(1.0, gt=0, le=1, description="adjoint solve: Anderson's beta")
    clip: float | None = Field(
        None, gt=0, description="most |u| of a sample, as a multiple of its |v|; none: unclipped"
    )

    @model_validator(mode="after")
    def _clip_has_something_to_clip(self):
        _expect_order("gradient", self.min_evaluations, self.max_evaluations)
        _expect_kind("gradient", self.kind, _GRADIENTS)
        clips = hasattr(self.build(), "clip") if _is_path(self.kind) else self.kind in _CLIPPED
        if self.clip is not None and not clips:
            raise InputError(
                f"gradient.clip bounds the adjoint u, which {self.kind} never forms: "
                "drop it, or choose one-step, neumann or adjoint"
            )
        if self.kind == "reversible":
            self.build()  # refused while settings are read
        return self

    def build(self, early_exit: bool | None = None) -> "Gradient":
        """The gradient; `early_exit` is the adjoint solve's."""
        from reasoning.fixed_point import (
            Adjoint,
            Anderson,
            Gradient,
            Neumann,
            OneStep,
            Phantom,
            Picard,
            Reversible,
            Unrolled,
        )

        if self.kind == "adjoint":
            kind = Picard if self.solver == "picard" else Anderson
            most, least = self.max_evaluations, self.min_evaluations
            settings = _taken(kind, self, ("mixing",))
            solver = kind(self.tolerance, most, least, early_exit=early_exit, **settings)
            return Adjoint(solver, self.clip)
        kinds = {
            "phantom": Phantom,
            "reversible": Reversible,
            "one-step": OneStep,
            "neumann": Neumann,
            "unrolled": Unrolled,
        }
        kind = kinds.get(self.kind) or class_at(self.kind, Gradient)
        settings = _taken(kind, self, ("steps", "damping", "terms", "clip"))
        return made(self.kind, kind, **settings)

    @property
    def forward_steps(self) -> int:
        """Evaluations of the map that the value itself takes after the solver's."""
        if _is_path(self.kind):
            return self.build().forward_steps()
        return {"phantom": self.steps, "reversible": 2 * self.steps}.get(self.kind, 0)

    def passes(self) -> tuple[float, float]:
        """Those of the gradient: forward, and backward ones."""
        return self.build().passes()

    def evaluations(self, graph: bool) -> int:
        """Evaluations of the map after the solver's: those of the value, or, where there is a
        graph, the one application that an implicit gradient differentiates."""
        return math.ceil(self.passes()[0]) if graph else self.forward_steps
