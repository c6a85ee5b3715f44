"""A lock that two commands at work on one thing both ask for."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(path: Path, busy: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of a file or folder, be it there or not, which ends with the process however it
    ends; while another command has it, wait. It is on a file beside it, .NAME.lock, open to be
    written: a network's file system locks no other.

    path: of the file or folder; busy: called before waiting, and may raise instead.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
