"""`loopbench quickstart`; see `scripts.studies.quickstart`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from scripts.usage import at_least, parse


def quickstart(
    out: Path = Path("runs/quickstart"),
    size: Literal[4, 6, 9] = 6,
    seeds: int = 1,
    steps: int = 300,
    test: int = 500,
    jobs: int | None = None,
) -> None:
    """Generate puzzles, train the Attractor, TRM and the one-pass Transformer, compare them.

    Args:
        out: folder for everything.
        size: side of the sudokus in cells.
        seeds: seeds per model, 0 upwards.
        steps: optimiser steps per run.
        test: held-out puzzles.
        jobs: runs that train at a time, by one thread each, with the same results however many;
            none: as many as cores and memory allow.
    """
    at_least(1, seeds=seeds, steps=steps, test=test, jobs=jobs)

    from scripts.studies import quickstart as study

    study.quickstart(out, size, seeds, steps, test, jobs)


def main(words: Sequence[str]) -> int:
    parse(quickstart, words, "loopbench quickstart")()
    return 0
