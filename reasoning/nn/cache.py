"""What decoding keeps of the positions so far, so that a new token costs itself alone.

A layer applied once keeps its keys and values (KV). A stack applied repeatedly has others at every
evaluation, and a LoopCache offers two ways to keep them:

* "trajectory": one set per evaluation. Evaluation k of a new token attends to evaluation k of the
  earlier ones; past the last kept set they have all stopped, and that set is of their solutions.
  Equal to the forward pass over the whole sequence; memory grows with the most evaluations any
  token took.
* "solution": one set, of the earlier tokens' solutions, which every evaluation attends to. An
  approximation, equal where the earlier tokens converge: the fixed point is the same, the way to it
  is not.

Shapes: B sequences, H heads, S positions, K head width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reasoning.errors import InputError
from reasoning.names import CacheKind


class KV:
    """One layer's keys and values (B, H, S, K) of the positions so far."""

    def __init__(self, keys: Tensor | None = None, values: Tensor | None = None):
        self.keys, self.values = keys, values

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append those of new positions; returns all."""
        if self.keys is not None:
            keys = torch.cat((self.keys, keys), dim=2)
            values = torch.cat((self.values, values), dim=2)
        self.keys, self.values = keys, values
        return keys, values

    def prefix(self, length: int) -> "KV":
        """Those of the first `length` positions, which must be present."""
        if self.keys is None:
            return KV()
        return KV(self.keys[:, :, :length], self.values[:, :, :length])


class LoopCache:
    """Keys and values of a stack of `layers` at each of its evaluations; see the module."""

    def __init__(self, layers: int, kind: CacheKind):
        if kind not in ("trajectory", "solution"):
            raise InputError(f"a cache keeps a 'trajectory' or a 'solution', not {kind!r}")
        self.kind = kind
        self.levels: list[list[KV]] = [[KV() for _ in range(layers)]]

    def at(self, evaluation: int, position: int) -> list[KV]:
        """What evaluation number `evaluation` of the tokens from `position` on reads and extends.

        Ask in order, from 0. For a "solution" it is a draft that `keep` makes the cache.
        """
        if self.kind == "solution":
            return [kv.prefix(position) for kv in self.levels[0]]
        if evaluation == len(self.levels):
            self.levels.append([kv.prefix(position) for kv in self.levels[-1]])
        return self.levels[evaluation]

    def keep(self, kvs: list[KV]) -> None:
        """Tokens have stopped at the states whose keys and values these are."""
        if self.kind == "solution":
            self.levels[0] = kvs

    def unfilled(self, evaluations: int, most: int) -> range:
        """Evaluations still to make of tokens that all stopped after `evaluations` of `most`, for
        later ones to see them at rest."""
        if self.kind == "solution":
            return range(evaluations, evaluations + 1)
        return range(evaluations, max(len(self.levels), min(evaluations + 1, most)))


@dataclass
class ModelCache:
    """A model's cache: the layers applied once, the repeated ones, and the positions so far.

    budget: what the first forward pass iterated; later ones must do the same.
    """

    once: list[KV]
    loop: LoopCache | None = None
    length: int = 0
    budget: object = None

    def agree(self, budget: object) -> None:
        """ValueError if earlier positions were computed under another budget."""
        if self.length and budget != self.budget:
            raise InputError(
                f"the cache holds positions computed with {self.budget}, not {budget}: "
                "start a new cache to change the budget"
            )
        self.budget = budget
