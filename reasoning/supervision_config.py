"""Settings of deep supervision (`reasoning.supervision`): segments, halting, depth."""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field, model_validator

from reasoning.errors import InputError
from reasoning.frozen import Frozen


@dataclass(frozen=True)
class Depth:
    """Overrides of a model's own depth for one segment; None keeps the model's. 0 evaluations: the
    solver returns its start, and only the gradient's own steps run."""

    evaluations: int | None = None
    cycles: int | None = None
    inner_steps: int | None = None


class Stage(Frozen):
    """One stage of the curriculum, in force until a fraction of training has passed."""

    until: float = Field(gt=0, le=1, description="end of the stage, fraction of all steps")
    segments: int = Field(gt=0, description="most segments a puzzle may take")
    evaluations: int | None = Field(None, ge=0, description="solver evaluations per segment")
    cycles: int | None = Field(None, gt=0, description="TRM's T, repetitions per segment")
    inner_steps: int | None = Field(None, gt=0, description="n, z updates per y update")

    @property
    def depth(self) -> Depth:
        return Depth(self.evaluations, self.cycles, self.inner_steps)


class SupervisionConfig(Frozen):
    """Segments, halting and the curriculum."""

    segments: int = Field(16, gt=0, description="most segments per puzzle, training and evaluation")
    halting: Literal["halt", "q-learning"] = Field(
        "halt", description="halt on a positive score (TRM), or on halt > continue (HRM)"
    )
    exploration: float = Field(
        0.1, ge=0, le=1, description="chance of a random minimum of segments"
    )
    curriculum: tuple[Stage, ...] = Field(
        (), description="stages of growing depth; empty: full depth throughout"
    )

    @model_validator(mode="after")
    def _stages_grow(self):
        ends = [stage.until for stage in self.curriculum]
        if ends and (sorted(set(ends)) != ends or ends[-1] != 1.0):
            raise InputError(f"curriculum ends must grow and finish at 1.0, got {ends}")
        return self

    def stage_at(self, step: int, total: int) -> Stage:
        """The stage in force at `step` of `total` steps."""
        for stage in self.curriculum:
            if step < stage.until * total:
                return stage
        return Stage(until=1.0, segments=self.segments)

    def cost_of(self, stage: Stage) -> tuple[Depth, bool]:
        """What the cost of a step depends on: the depth, and whether a segment ahead is run."""
        return stage.depth, self.halting == "q-learning" and stage.segments > 1
