"""What was summed since the last log line travels with a checkpoint, so that a run may stop after
any step and its resume writes the same lines.

Every process's sums are kept: on as many processes each takes its own again, and on another number
the first takes them all.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from reasoning.training.distribution import World

Sums = dict[str, Tensor]
_ALIKE = ("grad_norm",)  # of the global batch: the same on every process
_LARGEST = ("saved_bytes",)  # of the process that took most


def gather_pending(pending: Sequence[Sums], world: World) -> list[list[Sums]]:
    """Every process's sums of the pending steps, on the CPU, by rank."""
    here = [{name: value.detach().cpu() for name, value in sums.items()} for sums in pending]
    return world.gather_objects(here)


def share_pending(parts: Sequence[Sequence[Sums]], world: World) -> list[Sums]:
    """This process's part of what `gather_pending` gave, on its device."""
    if len(parts) == world.size:
        mine = parts[world.rank]
    else:
        mine = [_merged(steps, world.is_main) for steps in zip(*parts, strict=True)]
    return [{name: value.to(world.device) for name, value in sums.items()} for sums in mine]


def _merged(parts: Sequence[Sums], is_main: bool) -> Sums:
    """One step's sums over all processes, on the first; zeros on the others."""
    merged = {}
    for name, value in parts[0].items():
        every = torch.stack([sums[name] for sums in parts])
        if name in _ALIKE:
            merged[name] = value
        elif is_main:
            merged[name] = every.amax(0) if name in _LARGEST else every.sum(0)
        else:
            merged[name] = torch.zeros_like(value)
    return merged
