"""SIGINT and SIGTERM as a note that the loop reads between steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """A list that a first SIGINT or SIGTERM fills; a second one acts at once."""
    received: list[int] = []
    previous: dict[int, Any] = {}

    def note(number, frame):
        received.append(number)
        signal.signal(number, previous[number])

    if threading.current_thread() is threading.main_thread():  # handlers can be set nowhere else
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
