"""The quickstart: puzzles, three models at equal width, one table, in minutes on two CPU cores.

Everything lands in one folder (default runs/quickstart): data/, a run per model, comparison.md and
.json, report.html with its pictures, and solving.png. Each part is skipped if it is there already,
and an interrupted training goes on from its last checkpoint.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from puzzles.sources import generate_into, sudoku
from reasoning.training.distribution import join_world
from scripts.models.presets import RunConfig, preset
from scripts.runs.session import read_puzzles
from scripts.studies.compare import planned_runs, train_and_compare
from scripts.studies.plan import lanes_of
from scripts.terminal.guard import run_guarded
from scripts.usage import UsageError, parse

PRESETS = ("attractor-cpu", "trm-cpu", "transformer-cpu")


def quickstart(
    out: Path = Path("runs/quickstart"),
    size: int = 6,
    seeds: int = 1,
    steps: int | None = None,
    test: int = 500,
    jobs: int | None = None,
) -> None:
    """Generate puzzles, train the Attractor, TRM and the one-pass Transformer, compare them.

    Args:
        out: folder for everything.
        size: side of the sudokus, 4, 6 or 9 cells.
        seeds: seeds per model, 0 upwards.
        steps: optimiser steps per run; none: the presets' own.
        test: held-out puzzles.
        jobs: runs that train at a time, by one thread each, with the same results however many;
            none: as many as cores and memory allow.
    """
    if seeds < 1:
        raise UsageError(f"--seeds: must be at least 1 (got {seeds})")
    console, world, data = Console(), join_world("cpu"), out / "data"
    began = time.perf_counter()
    if not data.exists():
        console.print(f"generating 1000 + {test} sudokus of size {size}")
    generate_into(data, sudoku, size=size, train=1000, test=test, seed=0)
    train = read_puzzles(data, "train")
    changes = {"data": str(data), "device": "cpu"} | ({} if steps is None else {"steps": steps})
    configs = [RunConfig.model_validate(preset(name).model_dump() | changes) for name in PRESETS]
    runs = planned_runs(configs, seeds, out, train)
    made = train_and_compare(runs, lanes_of(jobs, runs, world), data, world, console)
    text = made.write(out, f"Quickstart: {size}x{size} sudoku")
    Console(width=max(190, console.width)).print(Markdown(text))
    minutes = (time.perf_counter() - began) / 60
    console.print(f"{minutes:.1f} minutes; the table, report.html and pictures are in {out}")


def _run(words: Sequence[str]) -> int:
    parse(quickstart, words, "scripts/quickstart")()
    return 0


def main(words: Sequence[str]) -> int:
    """The script; its exit code."""
    return run_guarded(_run, words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
