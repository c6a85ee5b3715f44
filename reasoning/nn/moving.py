"""Tokens of causal sequences that still move, while others rest.

A block computes everything for the moving tokens alone but attention, which is computed at every
place by the kernel that whole sequences get: so a token's numbers are those of whole sequences, and
attention is the smaller part (a seventh of a block of width 128 at a context of 128). Keys and
values of those at rest are kept.

Which tokens move depends on later ones, and how a matrix product rounds may depend on its number of
rows: so rows are filled up to a multiple of 64, where it does not, or to all.

Shapes: B sequences, S tokens, A moving tokens filled up, H heads, K head width, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

ROWS = 64


def filled_up(places: Tensor, most: int) -> Tensor:
    """(A,) places, of which the first is repeated up to a multiple of 64, or to `most`."""
    more = min(-len(places) % ROWS, most - len(places))
    return torch.cat((places, places[:1].expand(more)))


@dataclass(frozen=True)
class Moving:
    """places (A,) of the moving tokens, sequence by sequence (B S); keys and values (B, H, S, K) of
    all tokens, those of moving ones from before."""

    places: Tensor
    keys: Tensor
    values: Tensor

    def among_all(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Moving tokens' (1, H, A, K) put among all (B, H, S, K), with queries of zeros at rest."""
        nothing = torch.zeros_like(self.keys)
        return self._put(nothing, q), self._put(self.keys, k), self._put(self.values, v)

    def _put(self, all_: Tensor, moving: Tensor) -> Tensor:
        batch, _, length, _ = all_.shape
        rows = all_.transpose(1, 2).flatten(0, 1)
        rows = rows.index_copy(0, self.places, moving[0].transpose(0, 1))
        return rows.unflatten(0, (batch, length)).transpose(1, 2)

    def alone(self, mixed: Tensor) -> Tensor:
        """(B, S, D) to the moving tokens' (1, A, D)."""
        return mixed.flatten(0, 1)[self.places][None]
