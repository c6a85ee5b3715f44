"""A task in a process of its own that ends on time, watched while it runs."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_TICK = 2.0

# Runs a module with words until the end, a reading of time.monotonic(), asked to stop so many
# seconds before; returns the exit code.
Launch = Callable[[str, Sequence[str], float, float, Path, Callable[[], None]], int]


def launch(
    module: str,
    words: Sequence[str],
    end: float,
    grace: float,
    log: Path,
    watch: Callable[[], None],
) -> int:
    """Run to its end, or ask it to stop `grace` seconds before `end` and make it at `end`; `watch`
    is called every other second. Returns its exit code. An exception here, such as of a signal,
    stops it too.

    module: run by this Python; words: of its command line; end: a reading of time.monotonic(); log:
    the file that what it says is added to.
    """
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *words], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while (left := end - grace - time.monotonic()) > 0:
                try:
                    return process.wait(timeout=min(_TICK, left))
                except subprocess.TimeoutExpired:
                    watch()
            return _stopped(process, max(0.1, end - time.monotonic()))
        finally:
            if process.poll() is None:
                _stopped(process, grace)


def _stopped(process: subprocess.Popen, patience: float) -> int:
    """The exit code of a process that was asked to stop."""
    process.terminate()
    try:
        return process.wait(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@contextlib.contextmanager
def alongside(module: str, words: Sequence[str], log: Path) -> Iterator[None]:
    """A process, and those that it starts, for as long as the block takes; then they are killed."""
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # all of them have ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
