"""Progress bars on a terminal's error stream."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)


@contextmanager
def stage_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars, one a stage, gone when the work is done; nothing where there is no terminal.

    Gives a function of the stage's name, what is done and what there is in all.
    """
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),  # turns where a stage tells only its beginning and its end
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, rows: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=rows)
            bars.update(tasks[stage], completed=done)

        yield show
