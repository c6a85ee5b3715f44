"""`loopbench solve`: answer one puzzle with a trained run, or with the weights that ship."""

import math
from pathlib import Path

import numpy as np
from rich.console import Console

from puzzles.errors import DataError
from puzzles.maze import rules as maze_rules
from puzzles.maze import search as maze_search
from puzzles.metrics import is_valid
from puzzles.puzzle_set import Kind
from puzzles.render import to_text
from puzzles.sudoku import rules as sudoku_rules
from puzzles.sudoku.solver import solve as count_solutions
from puzzles.sudoku.solver import two_solutions, why_not_unique
from reasoning.training.distribution import join_world
from reasoning.training.evaluation import predict
from scripts.choices import Device, Shipped
from scripts.pretrained import load_pretrained
from scripts.session import TrainedRun, not_finite, open_run

_SHOWN = 4  # cells in which two solutions differ


def size_of(text: str, kind: Kind) -> int:
    """Cells along a side of the puzzle. DataError unless it is square."""
    cells = len("".join(text.split()) if kind == "sudoku" else maze_rules.parse(text))
    size = math.isqrt(cells)
    if not cells or size * size != cells:
        raise DataError(f"the puzzle has {cells} cells, which make no square")
    return size


def tokens_of(text: str, run: TrainedRun) -> np.ndarray:
    """The puzzle as tokens (1, L). DataError unless it is one of the run's kind and size."""
    if run.kind == "sudoku":
        grid = sudoku_rules.parse("".join(text.split()), size=run.size)
        if not count_solutions(grid[None], limit=1).count[0]:
            raise DataError(f"this puzzle has no right answer: {why_not_unique(grid, 0)}")
        return sudoku_rules.to_tokens(grid[None])
    grids = maze_rules.parse(text)[None]
    if grids.shape[1] != run.size**2:
        raise DataError(
            f"the maze has {grids.shape[1]} cells, {run.folder} was trained on {run.size**2}"
        )
    if not maze_search.path_cells(grids)[0]:
        raise DataError("this maze has no path from S to G")
    return grids


def ambiguity(puzzle: np.ndarray) -> str | None:
    """Where two solutions of a sudoku (L,), in digits, differ; None if it has only one."""
    two = two_solutions(puzzle)
    if two is None:
        return None
    first, second = two
    cells, size = np.flatnonzero(first != second), math.isqrt(len(puzzle))
    shown = [
        f"row {cell // size + 1} column {cell % size + 1} ({first[cell]} or {second[cell]})"
        for cell in cells[:_SHOWN]
    ]
    more = f" and {len(cells) - _SHOWN} more cells" if len(cells) > _SHOWN else ""
    return f"this puzzle has more than one solution; two of them differ at {', '.join(shown)}{more}"


def answer(text: str, run: Path | Shipped, segments: int | None, device: Device) -> int:
    """Print the answer of a run, or of the weights that ship for a task, to a puzzle's characters;
    0 if it keeps the rules, 1 if it breaks one."""
    world = join_world(device)
    if isinstance(run, str):
        trained = load_pretrained(run, size_of(text, run), world)
    else:
        trained = open_run(run, world)
    inputs = tokens_of(text, trained)
    count = segments or trained.config.supervision.segments
    console = Console(highlight=False)
    warning = ambiguity(sudoku_rules.from_tokens(inputs[0])) if trained.kind == "sudoku" else None
    if warning is not None:
        console.print(f"warning: {warning}", soft_wrap=True)
    ids = np.zeros(1, dtype=np.int32)
    said = predict(trained.model, inputs, ids, count, 1, world, trained.config.precision)
    if not said.finite.all():
        raise not_finite(trained)
    answered = said.tokens[-1]
    valid = bool(is_valid(trained.kind, inputs, answered)[0])
    console.print(to_text(trained.kind, answered[0], inputs[0]))
    verdict = "valid: every rule holds" if valid else "NOT valid: a rule is broken"
    residual = said.diagnostics.get("residual")
    if residual is not None:
        verdict += f"; residual {residual[-1, 0]:.2g} after segment {count}"
    console.print(f"{verdict}; {int(said.net_calls[0])} net calls")
    return 0 if valid else 1
