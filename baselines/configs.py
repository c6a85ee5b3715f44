"""Settings of the baselines, apart from their nets: a command reads its words by them without
torch."""

import math
from typing import Any, ClassVar, Literal

from pydantic import Field

from reasoning.attractor_config import AttractorConfig
from reasoning.language_config import EquilibriumConfig, LanguageConfig
from reasoning.model_config import SMALL_SCALES
from reasoning.net_config import LoopConfig, ReasonerConfig
from reasoning.pretraining.passes import NO_CORE, Passes
from reasoning.supervision_config import Depth


class TRMConfig(LoopConfig):
    """TRM's sizes and its two loop counts."""

    depths: ClassVar[tuple[str, ...]] = ("cycles", "inner_steps")
    kind: Literal["trm"] = "trm"
    cycles: int = Field(3, gt=0, description="T, cycles per segment")
    gradient_cycles: int = Field(1, gt=0, description="last cycles, which carry the gradient")
    inner_steps: int = Field(6, gt=0, description="n, z updates per y update")

    @classmethod
    def at_scale(cls, scale: str, puzzle: str) -> dict[str, Any]:
        """The paper's n: 6, for mazes 4."""
        small = {"cycles": 2, "inner_steps": 3}
        loop = small if scale in SMALL_SCALES else {"inner_steps": 4 if puzzle == "maze" else 6}
        return super().at_scale(scale, puzzle) | loop

    def shallow(self) -> Depth:
        """The cycles that have a gradient."""
        return Depth(cycles=self.gradient_cycles)

    def most_net_calls(self) -> int:
        return self.cycles * (self.inner_steps + 1)


class HRMConfig(ReasonerConfig):
    """HRM's sizes (layers of each net) and its two loop counts."""

    nets: ClassVar[int] = 2
    depths: ClassVar[tuple[str, ...]] = ("cycles", "inner_steps")
    kind: Literal["hrm"] = "hrm"
    puzzle_tokens: int = Field(1, ge=0, description="positions that hold the puzzle embedding")
    cycles: int = Field(2, gt=0, description="N, high updates per segment")
    inner_steps: int = Field(2, gt=0, description="T, low updates per high update")

    @classmethod
    def at_scale(cls, scale: str, puzzle: str) -> dict[str, Any]:
        """Two nets share the layers of the scale."""
        sizes = super().at_scale(scale, puzzle)
        return sizes | {"layers": max(1, sizes["layers"] // cls.nets), "puzzle_tokens": 1}

    def recipe(self, scale: str) -> dict[str, Any]:
        """Q-learning; at the published sizes 20k epochs of 1,000 puzzles at its batch and rate."""
        halting = {"supervision": {"halting": "q-learning"}}
        if scale in SMALL_SCALES:
            return halting
        rates = {"lr": 7e-5, "embedding_lr": 7e-5}
        return halting | {"steps": 52_083, "batch": 384, "optimizer": rates}

    def shallow(self) -> Depth:
        """The last cycle, which has a gradient."""
        return Depth(cycles=1)

    def most_net_calls(self) -> int:
        return self.cycles * (self.inner_steps + 1)


class TransformerConfig(ReasonerConfig):
    """The net's sizes; nothing else to set."""

    depths: ClassVar[tuple[str, ...]] = ()
    kind: Literal["transformer"] = "transformer"

    def recipe(self, scale: str) -> dict[str, Any]:
        """One segment a puzzle: every step takes a new one."""
        return {"supervision": {"segments": 1, "exploration": 0.0, "curriculum": ()}}

    def most_net_calls(self) -> int:
        return 1

    def reads_carry(self) -> bool:
        return False


class TwoStepConfig(TRMConfig):
    """TRM's settings: cycles are the sweeps, inner_steps the z updates from zero."""

    kind: Literal["two-step"] = "two-step"
    inner_steps: int = Field(2, gt=0, description="n, z updates from zero per y update")
    states: Literal[2] = Field(2, description="(y, z)")

    @classmethod
    def at_scale(cls, scale: str, puzzle: str) -> dict[str, Any]:
        """Its loop is the same at every scale."""
        return super().at_scale(scale, puzzle) | {"cycles": 3, "inner_steps": 2}


class AttractorResetConfig(AttractorConfig):
    """The Attractor's settings."""

    kind: Literal["attractor-reset"] = "attractor-reset"

    def reads_carry(self) -> bool:
        return False


class GPTConfig(LanguageConfig):
    """Depth, how often the stack is applied, and whether values are looked up."""

    kind: Literal["transformer"] = "transformer"
    layers: int = Field(6, gt=0, description="blocks")
    loops: int = Field(1, gt=0, description="times the stack is applied, by the same weights")
    value_embeddings: bool = Field(
        True, description="add a table's row to the values of every second layer"
    )

    def mean_evaluations(self) -> float | None:
        return float(self.loops) if self.loops > 1 else None

    def published_passes(self) -> Passes:
        return Passes(self.loops, self.loops) if self.loops > 1 else NO_CORE

    def gradient_passes(self) -> Passes:
        return Passes(0, math.inf) if self.loops > 1 else NO_CORE  # through every loop


class ParcaeConfig(LanguageConfig):
    """Depths of the three parts and the numbers of steps."""

    kind: Literal["parcae"] = "parcae"
    prelude_layers: int = Field(2, gt=0, description="blocks before the loop")
    core_layers: int = Field(2, gt=0, description="blocks of the loop")
    coda_layers: int = Field(2, gt=0, description="blocks after the loop")
    value_embeddings: bool = Field(
        True, description="add a table's row to the values of every second layer"
    )
    steps: int = Field(8, gt=0, description="steps in evaluation, mean of those in training")
    gradient_steps: int = Field(4, gt=0, description="last steps that carry the gradient")
    start_seed: int = Field(0, ge=0, description="seed of h0 in evaluation")

    def mean_evaluations(self) -> float:
        return float(self.steps)

    def published_passes(self) -> Passes:
        return Passes(8, 4)

    def gradient_passes(self) -> Passes:
        return Passes(0, self.gradient_steps)


class DEQConfig(EquilibriumConfig):
    """Depth, and what decodes the equilibrium."""

    kind: Literal["deq"] = "deq"
    width: int = Field(640, gt=0, description="D, channels of the residual stream")
    layers: int = Field(8, gt=0, description="blocks of the map")
    tied: bool = Field(False, description="read out with the embedding, not with a matrix apart")
