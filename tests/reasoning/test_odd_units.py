"""Mixers along units of a puzzle of one's own: in any order, and not as many as each has cells."""

import math

import numpy as np
import torch
from test_mixers import attention, together

from reasoning.nn.layers import AxialAttention, UnitSums

# Of a puzzle of one's own: units in any order of cells, and not as many as each has cells.
ODD = tuple(
    np.random.default_rng(i).permutation(36).reshape(shape)
    for i, shape in enumerate(((9, 4), (3, 12), (6, 6)))
)


def test_units_of_any_cells_and_number_are_mixed_alike():
    x = torch.randn(2, 36, 24, dtype=torch.float64)
    sums, axial = UnitSums(24, ODD).double(), AxialAttention(24, 3, ODD).double()
    values, (q, k, v) = x @ sums.v_proj.weight.T, axial.qkv_proj(x).chunk(3, -1)
    summed, attended = torch.zeros_like(values), []
    for i, family in enumerate(ODD):
        part, mask = slice(8 * i, 8 * i + 8), together(family)
        summed[..., part] = mask.double() @ values[..., part] / math.sqrt(family.shape[1])
        attended.append(attention(q[..., part], k[..., part], v[..., part], mask))
    torch.testing.assert_close(sums(x), summed @ sums.o_proj.weight.T)
    torch.testing.assert_close(axial(x, None), axial.o_proj(torch.cat(attended, -1)))
