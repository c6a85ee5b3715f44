"""How this process holds memory, for as long as it lives, and how much there is."""

import ctypes
import os
import sys
from pathlib import Path

# Of glibc's malloc.h. The largest values an int takes.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Have glibc hand freed tensors out again; returns whether it will.

    Otherwise it gives large ones back to Linux, which zeroes the pages of the next: up to 8 % of a
    training step on a CPU. Left alone elsewhere, and where MALLOC_* variables say what to do.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # no other C library has to have it
    if mallopt is None:
        return False
    return all(mallopt(what, _LARGEST) == 1 for what in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))


def available_memory(
    machine: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Bytes that new processes may take without swapping, here and within the container's limit;
    None where that is not told, as on other systems than Linux."""
    limits = []
    if machine.is_file():
        lines = (line.split() for line in machine.read_text().splitlines())
        limits += [1024 * int(words[1]) for words in lines if words[0] == "MemAvailable:"]
    limit, used = group / "memory.max", group / "memory.current"
    if limit.is_file() and used.is_file() and (most := limit.read_text().strip()) != "max":
        limits.append(max(0, int(most) - int(used.read_text())))
    return min(limits, default=None)
