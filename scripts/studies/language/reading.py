"""How a trained language model is read out, apart from the reading: what a table asks for is told
without torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Reading:
    """How a trained model is read out; None keeps the model's own.

    max_evaluations, tolerance: see SolveBudget; start: where the Attractor's solver begins.
    """

    max_evaluations: int | None = None
    tolerance: float | None = None
    start: Literal["proposal", "zero", "gaussian"] | None = None


OWN = Reading()
PROPOSAL = Reading(max_evaluations=0)
