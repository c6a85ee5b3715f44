"""How far a long command has come, on the error stream: bars on a terminal, else plain lines."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from scripts.terminal.console import Console

FIRST, EVERY = 10.0, 30.0  # seconds to the first plain line of a stage, and between two


class PlainLines:
    """Lines for a log file: of a stage that lasts, every so often, and its last. What is done in
    a moment says nothing, unless every end is asked for.

    say: takes a line; clock: seconds from anywhere.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        every_end: bool = False,
    ):
        self._say, self._clock, self._every_end = say, clock, every_end
        self._began: dict[str, tuple[float, int]] = {}  # when, and what was done already
        self._next: dict[str, float] = {}  # when the next line is due
        self._told: dict[str, int] = {}  # what the newest line said was done

    def __call__(self, stage: str, done: int, total: int, more: str = "") -> None:
        now = self._clock()
        began, before = self._began.setdefault(stage, (now, done))
        due = now >= self._next.setdefault(stage, now + FIRST)
        ends = done == total and (self._every_end or stage in self._told)
        if not (due or ends) or self._told.get(stage) == done:
            return
        self._next[stage], self._told[stage] = now + EVERY, done
        line = f"{stage}: {done:,} of {total:,}" + (f"  {more}" if more else "")
        if before < done < total:
            line += f"  about {_spelled((now - began) * (total - done) / (done - before))} left"
        self._say(line)


def _spelled(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def plain_lines(console: Console, every_end: bool = False) -> PlainLines:
    """Plain lines on a console, each whole whatever its width."""

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False)

    return PlainLines(say, every_end=every_end)


@contextmanager
def stage_progress(
    quiet: bool = False, console: Console | None = None
) -> Iterator[Callable[..., None]]:
    """Progress bars, one a stage, gone when the work is done; plain lines where there is no
    terminal.

    Gives a function of the stage's name, what is done, what there is in all, and, if anything, what
    more there is to say, which stays as a line when the stage is done. quiet: tells nothing, for
    all but one of several processes. console: where it is told; None: the error stream.
    """
    console = console or Console(stderr=True, quiet=quiet)
    if not console.is_terminal:
        yield plain_lines(console)
        return
    columns = (
        SpinnerColumn(),  # turns where a stage tells only its beginning and its end
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[more]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=console.quiet) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, rows: int, more: str = "") -> None:
            """Bring a stage's bar up to date. done: of its rows; more: what else there is to
            say."""
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=rows, more=more)
            bars.update(tasks[stage], completed=done, more=more)
            if more and done == rows:
                bars.remove_task(tasks.pop(stage))
                line = f"{stage}: {done:,} of {rows:,}  {more}"
                console.print(line, soft_wrap=True, highlight=False)

        yield show
