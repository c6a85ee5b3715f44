"""Random streams inside numba kernels: splitmix64, one stream an item.

Item i of a batch draws from the stream (seed, i) alone, so its bytes depend neither on the size
of the batch nor on the number of threads. A stream is a uint64 array of one element, its state.
Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014.
"""

import numpy as np
from numba import njit

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_A = np.uint64(0xBF58476D1CE4E5B9)
MIX_B = np.uint64(0x94D049BB133111EB)
S27, S30, S31, S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


def as_seed(seed: int) -> np.uint64:
    """Any Python integer as the 64-bit seed of the kernels."""
    return np.uint64(int(seed) % 2**64)


@njit(cache=True, inline="always")
def mix(x):
    """The output function of splitmix64, a bijection of 64-bit words."""
    x = (x ^ (x >> S30)) * MIX_A
    x = (x ^ (x >> S27)) * MIX_B
    return x ^ (x >> S31)


@njit(cache=True)
def start(stream, seed, item):
    """Set `stream` to the beginning of the stream (seed, item)."""
    stream[0] = mix(mix(seed + GOLDEN) ^ (np.uint64(item) * GOLDEN))


@njit(cache=True)
def below(stream, n):
    """A uniform integer in 0..n-1 (bias below 2^-28 for the small n used here)."""
    stream[0] += GOLDEN
    return np.int64(((mix(stream[0]) >> S32) * np.uint64(n)) >> S32)


@njit(cache=True)
def shuffle(stream, values):
    """Fisher-Yates shuffle of a 1-d array, in place."""
    for i in range(len(values) - 1, 0, -1):
        j = below(stream, i + 1)
        values[i], values[j] = values[j], values[i]
