"""Settings of causal language models (`reasoning.nn`), apart from their nets: a command reads its
words by them without torch."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from reasoning.errors import InputError
from reasoning.frozen import Frozen
from reasoning.pretraining.passes import NO_CORE, Passes
from reasoning.solver_config import GradientConfig, SolverConfig

Injection = Literal["additive", "concatenation", "initial"]
_MOST_OPEN = 0.99  # of a gate's range: at 1 its sigmoid is saturated and its gradient 1e-7


class LanguageFacts(Frozen):
    """What the suite asks of a language model's settings, so that nothing is decided by its name.

    A model is a class that meets `reasoning.pretraining.protocol.LanguageModel`, is made by
    `Model(config, vocabulary)` and carries its settings' class as `Config`, any pydantic model with
    a field `context`. What a `Config` does not answer itself is answered here.
    """

    @classmethod
    def at_size(cls, size: str) -> dict[str, Any]:
        """Settings that a size, such as mini or 140m, asks for; by default none."""
        return {}

    def recipe(self, size: str) -> dict[str, Any]:
        """Fields of the run, nested, in which its recipe at a size differs from the common one."""
        return {}

    def has_map(self) -> bool:
        """Whether a map is solved, whose Jacobian may be looked at."""
        return False

    def proposes(self) -> bool:
        """Whether a budget of no evaluations reads out a proposal of its own."""
        return False

    def mean_evaluations(self) -> float | None:
        """Evaluations of its core that a token takes in training on average, where the settings say
        so; None: it has none, or its solver decides."""
        return None

    def least_evaluations(self) -> int:
        """Evaluations of its core that every token takes."""
        return 0

    def tolerance(self) -> float | None:
        """Relative residual at which its solver stops; None: it has none."""
        return None

    def published_passes(self) -> Passes:
        """Core passes that the published FLOP rule charges."""
        return NO_CORE

    def gradient_passes(self) -> Passes:
        """Core passes of a training step beyond the evaluations that the model reports.

        A product with J^T alone costs half a backward pass. An adjoint solve does not report how
        many it made: its least is counted. Recomputation is not.
        """
        return NO_CORE


@dataclass(frozen=True)
class BlockShape:
    """Sizes of a block: width, heads and the MLP's inner width, in channels."""

    width: int
    heads: int
    inner: int


class LanguageConfig(LanguageFacts):
    """Sizes every language model has; the vocabulary comes from the tokenizer."""

    width: int = Field(768, gt=0, description="D, channels of the residual stream")
    head_width: int = Field(128, gt=0, description="channels of an attention head")
    expansion: float = Field(4.0, gt=0, description="inner width of an MLP, in widths")
    context: int = Field(2048, gt=0, description="longest sequence, in tokens")
    checkpoint: bool = Field(
        False, description="keep only blocks' inputs for the backward pass and recompute the rest"
    )

    @model_validator(mode="after")
    def _heads_divide_width(self):
        if self.width % self.head_width or self.head_width % 2:
            raise InputError(
                f"head_width {self.head_width} must be even and divide width {self.width}"
            )
        return self

    @property
    def block(self) -> BlockShape:
        """Sizes of one block."""
        return BlockShape(
            self.width, self.width // self.head_width, round(self.expansion * self.width)
        )


class GateConfig(Frozen):
    """Gate = max x sigmoid(raw), one per channel."""

    initial: float = Field(
        0.75, gt=0, description="gate before training; where it equals max, 0.99 of max is taken"
    )
    maximum: float = Field(0.75, gt=0, description="upper bound of a gate")

    @model_validator(mode="after")
    def _within_the_bound(self):
        if self.initial > self.maximum:
            raise InputError(f"initial {self.initial} exceeds the gate's maximum {self.maximum}")
        return self

    @property
    def raw(self) -> float:
        """The parameter's value before training, in logits."""
        share = min(self.initial / self.maximum, _MOST_OPEN)
        return math.log(share / (1 - share))


class EquilibriumConfig(LanguageConfig):
    """A language model that solves for a fixed point. Defaults: the paper's at 140M."""

    gate: GateConfig = Field(default_factory=GateConfig, description="gates of the solved blocks")
    solver: SolverConfig = Field(
        default_factory=lambda: SolverConfig(tolerance=3e-4, max_evaluations=64, min_evaluations=6),
        description="the forward solve, per token",
    )
    gradient: GradientConfig = Field(
        default_factory=lambda: GradientConfig(kind="one-step"), description="the backward pass"
    )

    def has_map(self) -> bool:
        return True

    def least_evaluations(self) -> int:
        return self.solver.min_evaluations

    def tolerance(self) -> float | None:
        return self.solver.tolerance if self.has_map() else None

    def published_passes(self) -> Passes:
        return Passes(7, 1)

    def gradient_passes(self) -> Passes:
        return Passes(*self.gradient.passes()) if self.has_map() else NO_CORE
