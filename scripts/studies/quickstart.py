"""The quickstart: puzzles, three models at equal width, one table, in minutes on two CPU cores.

Everything lands in one folder: data/, a run per model, comparison.md and
.json, report.html with its pictures, and solving.png. Each part is skipped if it is there already,
and an interrupted training goes on from its last checkpoint.
"""

import time
from pathlib import Path

from puzzles.sources import generate_into, sudoku
from reasoning.training.distribution import join_world
from scripts.runs.data import read_puzzles
from scripts.studies.asked import configurations
from scripts.studies.comparison import planned_runs, train_and_compare
from scripts.studies.plan import lanes_of
from scripts.terminal.console import Console, show

# Attention along rows, columns and boxes: the structure that is worth most where minutes count.
PRESETS = ("attractor-axial-cpu", "trm-axial-cpu", "transformer-axial-cpu")


def quickstart(out: Path, size: int, seeds: int, steps: int, test: int, jobs: int | None) -> None:
    """Generate puzzles, train the three models with so many seeds, compare them; all under `out`.

    size: side of the sudokus; steps: of every run; test: held-out puzzles; jobs: runs that train at
    a time, None: as many as cores and memory allow.
    """
    console, world, data = Console(), join_world("cpu"), out / "data"
    began = time.perf_counter()
    if not data.exists():
        console.print(f"generating 1000 + {test} sudokus of size {size}")
    generate_into(data, sudoku, size=size, train=1000, test=test, seed=0)
    train = read_puzzles(data, "train")
    changes = {"data": str(data), "device": "cpu", "steps": steps}
    runs = planned_runs(configurations(PRESETS, train, changes), seeds, out, train)
    compared = train_and_compare(runs, lanes_of(jobs, runs, world), data, world, console)
    text = compared.write(out, f"Quickstart: {size}x{size} sudoku")
    show(text, 190)
    minutes = (time.perf_counter() - began) / 60
    told = f"{minutes:.1f} minutes; the table, report.html and pictures are in {out}"
    console.print(told, soft_wrap=True)
