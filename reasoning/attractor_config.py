"""Settings of the Attractor (`reasoning.attractor`)."""

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from reasoning.errors import InputError
from reasoning.model_config import SMALL_SCALES
from reasoning.net_config import LoopConfig
from reasoning.solver_config import GradientConfig, SolverConfig
from reasoning.supervision_config import Depth


class AttractorConfig(LoopConfig):
    """Sizes, the map's n, the solver and the gradient."""

    depths: ClassVar[tuple[str, ...]] = ("evaluations", "inner_steps")
    kind: Literal["attractor"] = "attractor"
    initial: Literal["learned", "fixed", "random"] = Field(
        "learned",
        description="initial (y, z): trained (the paper), constant (TRM's code) or random (EqR)",
    )
    inner_steps: int = Field(1, gt=0, description="n, z updates per evaluation of the map")
    solve_for: Literal["joint", "z"] = Field("joint", description="what the solver solves for")
    sweeps: int = Field(3, gt=0, description="explicit y updates per segment when solving for z")
    solver: SolverConfig = Field(default_factory=SolverConfig, description="the forward solve")
    gradient: GradientConfig = Field(default_factory=GradientConfig, description="the backward")

    @model_validator(mode="after")
    def _z_is_there_to_solve_for(self):
        if self.solve_for == "z" and self.states == 1:
            raise InputError("solve_for z needs two states: set states to 2")
        return self

    @classmethod
    def at_scale(cls, scale: str, puzzle: str) -> dict[str, Any]:
        """Damped phantom steps: without damping the map learns to swing between two states of
        which only every second is an answer, and no fixed point is there to be found. The solver
        mixes by as much: the map learns to contract when damped, and undamped steps can lead away.
        """
        damped = GradientConfig(steps=3, damping=0.5)
        return super().at_scale(scale, puzzle) | {
            "inner_steps": 1 if scale in SMALL_SCALES else 2,
            "gradient": damped,
            "solver": SolverConfig(mixing=damped.damping, damping=damped.damping),
        }

    def shallow(self) -> Depth:
        """Without solver evaluations: the phantom steps backpropagate from the carry."""
        return Depth(evaluations=0)

    def most_net_calls(self) -> int:
        most = self.solver.max_evaluations + self.gradient.forward_steps
        if self.solve_for == "joint":
            return most * (self.inner_steps + 1)
        return self.sweeps * (most * self.inner_steps + 1)

    def solver_settings(self) -> SolverConfig:
        return self.solver

    def has_map(self) -> bool:
        return self.solve_for == "joint"

    def idles_at(self, depth: Depth) -> str | None:
        most = self.solver.max_evaluations if depth.evaluations is None else depth.evaluations
        if most or self.gradient.forward_steps:
            return None
        return (
            f"without solver evaluations a {self.gradient.kind} gradient leaves a segment's state "
            "as it was: give model.solver.max_evaluations and every supervision.curriculum "
            "stage's evaluations 1 or more"
        )
