"""Passes through the core of a language model, which the FLOP rules charge."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Passes:
    """Passes through the core per token: forward, and backward ones to weights and inputs
    (infinite, of a gradient: one through every evaluation there is)."""

    forward: float
    backward: float

    def __add__(self, other: "Passes") -> "Passes":
        return Passes(self.forward + other.forward, self.backward + other.backward)


NO_CORE = Passes(0, 0)
