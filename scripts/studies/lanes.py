"""How many runs of a study train at a time, and by how many threads each.

The number of threads decides how sums are split, and so the last bits of a run. Runs that may train
side by side therefore train by one thread however many there are at a time, one at a time included:
`Lanes.one_thread` is what makes their weights equal.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from reasoning.training.distribution import World
from scripts.terminal.memory import available_memory
from scripts.usage import UsageError, at_least

# Multiply-adds of a net call, from which on a second thread is worth a core: nets of the small
# scales stand at 1e7 to 1.4e9, the published sizes above 2e11.
SMALL = 4e9
_ROOM = 3 * 2**29  # bytes for a process; those of the small scales take 0.5 to 1 GiB


@dataclass(frozen=True)
class Lanes:
    """How many runs of a study train at a time, and whether by one thread each."""

    at_once: int = 1
    one_thread: bool = False

    @contextmanager
    def threads(self) -> Iterator[None]:
        """What is computed inside is computed as the runs are."""
        before = torch.get_num_threads()
        if self.one_thread:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def choose_lanes(asked: int | None, runs: int, small: Callable[[], bool], world: World) -> Lanes:
    """The lanes of a study of so many runs.

    asked: --jobs; None: as many as there are cores and memory for, where all nets are `small`;
    otherwise one run at a time on every core; world: the processes that compute. UsageError for a
    number that cannot be had.
    """
    at_least(1, jobs=asked)
    if world.size > 1 or world.device.type != "cpu":
        if asked not in (None, 1):
            where = "several processes" if world.size > 1 else f"a {world.device.type} device"
            raise UsageError(f"--jobs: a run has {where} to itself: leave it out, or --device cpu")
        return Lanes()
    if asked is not None:
        return Lanes(min(asked, runs), True)
    if runs < 2 or not small():
        return Lanes()
    memory = available_memory()
    fit = runs if memory is None else max(1, memory // _ROOM)
    return Lanes(min(runs, torch.get_num_threads(), fit), True)
