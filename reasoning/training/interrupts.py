"""SIGINT and SIGTERM as a note that the loop reads after every step."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SAID = {
    signal.SIGINT: "saving after this step (Ctrl-C again: stop without)",
    signal.SIGTERM: "saving after this step",
}


@contextmanager
def interrupts(quiet: bool = False) -> Iterator[list[int]]:
    """A list that a first SIGINT or SIGTERM fills, with a line on standard error at once; a second
    one acts at once.

    quiet: without the line, for all but one of several processes.
    """
    received: list[int] = []
    previous: dict[int, Any] = {}

    def note(number, frame):
        received.append(number)
        signal.signal(number, previous[number])
        if not quiet:  # unbuffered: print may be what was interrupted
            os.write(2, f"\nloopbench: {_SAID[number]}\n".encode())

    if threading.current_thread() is threading.main_thread():  # handlers can be set nowhere else
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
