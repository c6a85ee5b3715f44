"""What it is worth to apply a stack of blocks again: r loops over n layers as r^phi n layers.

At iso-depth, n r layers deep in all, phi 1 would make a loop as good as layers of its own and phi 0
no better than the n once (arXiv 2604.21106 fits 0.46 over 116 runs of looped language models).
"""

import math
from collections.abc import Mapping
from itertools import pairwise

import numpy as np


def exponent(loss: float, layers: int, loops: int, once: Mapping[int, float]) -> float | None:
    """phi by which `layers` applied `loops` times have the loss of loops^phi layers once.

    loss: mean negative log-likelihood of the looped stack, in nats a token; layers: its blocks;
    loops: how often they are applied, more than once; once: that loss by depth of stacks applied
    once, between which it is taken to be linear in the logarithm of the depth. None where it
    does not fall with depth, or where the loss lies outside of it.
    """
    depths = sorted(once, reverse=True)
    losses = [once[depth] for depth in depths]
    falls = all(deep < shallow for deep, shallow in pairwise(losses))
    if not falls or not losses[0] <= loss <= losses[-1]:
        return None
    alike = float(np.interp(loss, losses, np.log(depths)))  # log of the depth with that loss
    return (alike - math.log(layers)) / math.log(loops)
