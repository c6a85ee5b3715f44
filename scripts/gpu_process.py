"""A chunk's tasks as processes: started, stopped, and alone at work in a folder."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from scripts.usage import UsageError

GRACE = 30.0  # seconds a stopped task has to save

# Runs a module with words until done or the seconds are over; returns the exit code.
Launch = Callable[[str, Sequence[str], float, Path], int]


def launch(module: str, words: Sequence[str], seconds: float, log: Path) -> int:
    """Run in a process of its own; past its seconds, or when this process is interrupted, it is
    asked to stop, then made to."""
    with log.open("a") as said:
        # Descriptors stay open: a task that outlives this process holds OUT's lock.
        process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            stdout=said,
            stderr=subprocess.STDOUT,
            close_fds=False,
        )
        try:
            return process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return _stopped(process)
        except KeyboardInterrupt:
            _stopped(process)
            raise


def _stopped(process: subprocess.Popen) -> int:
    """The exit code of a process that was asked to stop."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout=GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@contextlib.contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold OUT against other chunks, and have a signal to end this one end its task first.

    UsageError while another chunk, or a task that one left behind, is at work there.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (out / "lock").open("w") as lock:
            os.set_inheritable(lock.fileno(), True)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"{out}: another chunk, or a task that one left behind, is at work there: wait "
                    "for it, or stop it"
                ) from error
            yield
    finally:
        signal.signal(signal.SIGTERM, before)
