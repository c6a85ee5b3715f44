"""Random numbers as a function of a seed per sample: no generator, no state, no order of calls.

Entry k of sample b is a hash of (seed of b, k), by SplitMix64's finaliser (Steele et al. 2014). So
a sample's noise does not depend on its batch-mates, on micro-batches or on the number of processes,
and it is drawn on the device. Shapes: B samples.
"""

import math

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64
# Deviation of a unit normal cut at +-2, and the mass below -2.
TRUNCATED_STD = 0.87962566103423978
_BELOW = 0.5 * math.erfc(math.sqrt(2))


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _FIRST
    x = (x ^ _shift(x, 27)) * _SECOND
    return x ^ _shift(x, 31)


def fold(seeds: Tensor, number: int) -> Tensor:
    """New seeds from seeds (any shape, int64) and a number that tells their use apart."""
    step = ((number + 1) * _GOLDEN + 2**63) % 2**64 - 2**63  # wrapped, as int64 does
    return _mix(_mix(seeds) + step)


def content_seeds(rows: Tensor, seed: int) -> Tensor:
    """One seed (N,) int64 a row from what it holds (N, C), tokens 0 to 255, and one seed for all.

    By content, not by place: a puzzle draws the same numbers in any batch, subset or process.
    """
    places = 256 * torch.arange(1, rows.shape[1] + 1, device=rows.device)
    return fold(_mix(rows.to(torch.int64) + places).sum(1), seed)


def _uniform(seeds: Tensor, shape: tuple[int, ...]) -> Tensor:
    """fp32 (B, *shape) in the open interval (0, 1), 2^-23 apart."""
    count = torch.arange(math.prod(shape), device=seeds.device)
    bits = _shift(_mix(_mix(seeds)[:, None] + count * _GOLDEN), 41)
    return ((bits.float() + 0.5) / 2**23).view(len(seeds), *shape)


def _quantile(u: Tensor) -> Tensor:
    return math.sqrt(2) * torch.erfinv(2 * u - 1)


def normal(seeds: Tensor, shape: tuple[int, ...]) -> Tensor:
    """fp32 (B, *shape), standard normal, from seeds (B,) int64."""
    return _quantile(_uniform(seeds, shape))


def truncated_normal(seeds: Tensor, shape: tuple[int, ...]) -> Tensor:
    """fp32 (B, *shape), normal cut at two of its deviations, of deviation 1 after the cut."""
    return _quantile(_BELOW + (1 - 2 * _BELOW) * _uniform(seeds, shape)) / TRUNCATED_STD


def poisson(seeds: Tensor, mean: float) -> Tensor:
    """int64 (B,), Poisson of that mean: the quantile of a uniform number."""
    most = math.ceil(mean + 20 * math.sqrt(mean) + 20)  # mass beyond: none in fp32
    k = torch.arange(most, dtype=torch.float64)
    below = (k * math.log(mean) - mean - torch.lgamma(k + 1)).exp().cumsum(0).to(seeds.device)
    return torch.searchsorted(below, _uniform(seeds, ()).double())
