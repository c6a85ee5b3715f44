"""`loopbench solve`: answer one puzzle with a trained run, or with the weights that ship."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from rich.console import Console

from puzzles.errors import DataError
from puzzles.kinds import puzzle_of
from puzzles.metrics import is_valid
from puzzles.render import to_text
from reasoning.training.distribution import join_world
from reasoning.training.evaluation import predict
from scripts.pretrained import Shipped, load_pretrained
from scripts.session import TrainedRun, not_finite, open_run
from scripts.texts import file_text, standard_input
from scripts.usage import UsageError, parse

_LETTERS = "SG"  # of a maze's ends


def read_puzzle(argument: str, known: str) -> str:
    """The puzzle's characters, of these: the argument itself, a file's text, or standard input for
    '-'. DataError for a name of no file."""
    if argument == "-":
        return standard_input()
    # Path.exists raises where a name is as long as a maze.
    if not os.path.exists(argument) or os.path.isdir(argument):
        if any(c in "/\\" or (c.isalpha() and c not in known) for c in argument):
            what = "is a folder" if os.path.isdir(argument) else "no such file"
            raise DataError(f"{argument}: {what}, and no puzzle's characters")
        return argument
    try:
        return file_text(argument)
    except OSError as error:
        raise DataError(f"{argument}: cannot be read as text ({error})") from error


def size_of(text: str, kind: str) -> int:
    """Cells along a side of the puzzle. DataError unless it is square."""
    cells = puzzle_of(kind).cells_in(text)
    size = math.isqrt(cells)
    if not cells or size * size != cells:
        raise DataError(f"the puzzle has {cells} cells, which make no square")
    return size


def tokens_of(text: str, run: TrainedRun) -> np.ndarray:
    """The puzzle as tokens (1, L). DataError unless it is one of the run's kind and size."""
    puzzle = puzzle_of(run.kind)
    tokens = puzzle.parse(text, run.size)
    if len(tokens) != run.size**2:
        raise DataError(
            f"the {run.kind} has {len(tokens)} cells, {run.folder} was trained on {run.size**2}"
        )
    fault = puzzle.unanswerable(tokens)
    if fault is not None:
        raise DataError(fault)
    return tokens[None]


def solve(
    arguments: Annotated[tuple[str, ...], tyro.conf.Positional],
    pretrained: Shipped | None = None,
    segments: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> int:
    """Answer one puzzle; exit 0 if the answer keeps the rules, 1 if it breaks one.

    Args:
        arguments: the folder of a trained run (none with --pretrained), and the puzzle: the
            characters of a sudoku ('.' or 0 blank) or a maze (# SG), a file, or - for standard
            input.
        pretrained: answer with the weights that ship for its kind, of the puzzle's size.
        segments: segments to run; none: as the run was configured.
        device: where to run; auto: the best present.
    """
    if segments is not None and segments < 1:
        raise UsageError(f"--segments: must be at least 1 (got {segments})")
    if len(arguments) != (1 if pretrained else 2):
        expected = "PUZZLE alone with --pretrained" if pretrained else "RUN PUZZLE"
        raise UsageError(f"give {expected} (got {len(arguments)} arguments)")
    world = join_world(device)
    if pretrained:
        text = read_puzzle(arguments[-1], _LETTERS)
        trained = load_pretrained(pretrained, size_of(text, pretrained), world)
    else:
        trained = open_run(Path(arguments[0]), world)
        known = puzzle_of(trained.kind).characters(trained.size)
        text = read_puzzle(arguments[-1], _LETTERS + known)
    inputs = tokens_of(text, trained)
    count = segments or trained.config.supervision.segments
    console = Console(highlight=False)
    warning = puzzle_of(trained.kind).ambiguity(inputs[0])
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
