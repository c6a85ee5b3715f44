"""`loopbench solve`: answer one puzzle with a trained run, or with the weights that ship."""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
import tyro
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
from scripts.extras import need
from scripts.hub import PREFIX, load_hub
from scripts.pretrained import Shipped, load_pretrained
from scripts.session import TrainedRun, not_finite, open_run
from scripts.texts import file_text, standard_input
from scripts.usage import UsageError, parse


def read_puzzle(argument: str) -> str:
    """The puzzle's characters: the argument itself, a file's text, or standard input for '-'."""
    if argument == "-":
        return standard_input()
    # Path.exists raises where a name is as long as a maze.
    if not os.path.exists(argument) or os.path.isdir(argument):
        if _NAME.search(argument):
            what = "is a folder" if os.path.isdir(argument) else "no such file"
            raise DataError(f"{argument}: {what}, and no puzzle's characters")
        return argument
    try:
        return file_text(argument)
    except OSError as error:
        raise DataError(f"{argument}: cannot be read as text ({error})") from error


_SHOWN = 4  # cells in which two solutions differ
# What stands in no puzzle: a separator of folders, a letter but those of a maze's ends.
_NAME = re.compile(r"[/\\]|[^\W\d_SG]")


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


def solve(
    arguments: Annotated[tuple[str, ...], tyro.conf.Positional],
    pretrained: str | None = None,
    segments: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> int:
    """Answer one puzzle; exit 0 if the answer keeps the rules, 1 if it breaks one.

    Args:
        arguments: the folder of a trained run (none with --pretrained), and the puzzle: the
            characters of a sudoku ('.' or 0 blank) or a maze (# SG), a file, or - for standard
            input.
        pretrained: answer with the weights that ship for its kind (sudoku), of the puzzle's size,
            or with those of hub:USER/NAME, a run that was pushed to the Hugging Face hub.
        segments: segments to run; none: as the run was configured.
        device: where to run; auto: the best present.
    """
    if segments is not None and segments < 1:
        raise UsageError(f"--segments: must be at least 1 (got {segments})")
    if len(arguments) != (1 if pretrained else 2):
        expected = "PUZZLE alone with --pretrained" if pretrained else "RUN PUZZLE"
        raise UsageError(f"give {expected} (got {len(arguments)} arguments)")
    if pretrained and not pretrained.startswith(PREFIX) and pretrained not in get_args(Shipped):
        known = ", ".join(get_args(Shipped))
        raise UsageError(
            f"--pretrained: no weights ship for {pretrained!r}; give {known} or hub:USER/NAME"
        )
    world = join_world(device)
    text = read_puzzle(arguments[-1])
    if pretrained and pretrained.startswith(PREFIX):
        need("--pretrained hub:", "hub", "huggingface_hub")
        trained = load_hub(pretrained.removeprefix(PREFIX), world)
    elif pretrained:
        trained = load_pretrained(pretrained, size_of(text, pretrained), world)
    else:
        trained = open_run(Path(arguments[0]), world)
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
    answer = said.tokens[-1]
    valid = bool(is_valid(trained.kind, inputs, answer)[0])
    console.print(to_text(trained.kind, answer[0], inputs[0]))
    verdict = "valid: every rule holds" if valid else "NOT valid: a rule is broken"
    residual = said.diagnostics.get("residual")
    if residual is not None:
        verdict += f"; residual {residual[-1, 0]:.2g} after segment {count}"
    console.print(f"{verdict}; {int(said.net_calls[0])} net calls")
    return 0 if valid else 1


def main(words: Sequence[str]) -> int:
    return parse(solve, words, "loopbench solve")()
