"""`loopbench quickstart`; see `scripts.studies.quickstart`."""

from collections.abc import Sequence
from pathlib import Path

from scripts.usage import UsageError, parse


def quickstart(
    out: Path = Path("runs/quickstart"),
    size: int = 6,
    seeds: int = 1,
    steps: int = 300,
    test: int = 500,
    jobs: int | None = None,
) -> None:
    """Generate puzzles, train the Attractor, TRM and the one-pass Transformer, compare them.

    Args:
        out: folder for everything.
        size: side of the sudokus, 4, 6 or 9 cells.
        seeds: seeds per model, 0 upwards.
        steps: optimiser steps per run.
        test: held-out puzzles.
        jobs: runs that train at a time, by one thread each, with the same results however many;
            none: as many as cores and memory allow.
    """
    if seeds < 1:
        raise UsageError(f"--seeds: must be at least 1 (got {seeds})")

    from scripts.studies import quickstart as study

    study.quickstart(out, size, seeds, steps, test, jobs)


def main(words: Sequence[str]) -> int:
    parse(quickstart, words, "loopbench quickstart")()
    return 0
