"""A lock that two commands at work on one thing both ask for.

It is on a file beside the thing, .NAME.lock, open to be written: a network's file system locks no
other. It ends with the process, however that ends.
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def held(path: Path, busy: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of a file or folder, be it there or not; while another command has it, wait.

    path: of the file or folder; busy: called before waiting.
    """
    with _opened(path) as lock:
        if not _taken(lock):
            busy()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_held(path: Path) -> bool:
    """Whether another command has the lock of a file or folder."""
    with _opened(path) as lock:
        return not _taken(lock)


def _opened(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return (path.parent / f".{path.name}.lock").open("w")


def _taken(lock: IO[str]) -> bool:
    """Whether it was free, and is this command's now."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
