"""`loopbench solve`: answer one puzzle; see `scripts.runs.solve`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from puzzles.errors import DataError
from puzzles.kinds import puzzle_of
from reasoning.names import Device
from reasoning.training.runs import RunError, read_config
from scripts.runs.hub_names import expect_weights
from scripts.terminal.choices import PACKAGED
from scripts.terminal.folders import expect
from scripts.terminal.texts import file_text, standard_input
from scripts.usage import UsageError, at_least, parse

_LETTERS = "SG"  # of a maze's ends


def read_puzzle(argument: str, known: str = _LETTERS) -> str:
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


def solve(
    arguments: Annotated[tuple[str, ...], tyro.conf.Positional],
    pretrained: str | None = None,
    segments: int | None = None,
    starts: int = 1,
    device: Device = "auto",
) -> int:
    """Answer one puzzle; exit 0 if the answer keeps the rules, 1 if it breaks one.

    Args:
        arguments: the folder of a trained run, or a .safetensors file that `package` wrote (neither
            with --pretrained), and the puzzle: the characters of a sudoku ('.' or 0 blank) or a
            maze (# SG), a file, or - for standard input.
        pretrained: answer with the weights that ship for its kind (sudoku or maze), of the puzzle's
            size, or with those of hub:USER/NAME, a run that was pushed to the Hugging Face hub.
        segments: segments to run; none: as the run was configured.
        starts: starts at most, one after another until one claims an answer that stands: the
            model's own, then random ones.
        device: where to run; auto: the best present.
    """
    at_least(1, segments=segments, starts=starts)
    if len(arguments) != (1 if pretrained else 2):
        expected = "PUZZLE alone with --pretrained" if pretrained else "RUN PUZZLE"
        raise UsageError(f"give {expected} (got {len(arguments)} arguments)")
    if pretrained:
        expect_weights(pretrained)
    known = _LETTERS
    if not pretrained:
        known += _characters(Path(arguments[0]))
    text = read_puzzle(arguments[-1], known)

    from scripts.runs.solve import answer

    return answer(text, pretrained or Path(arguments[0]), segments, device, starts)


def _characters(run: Path) -> str:
    """Those of the puzzles that a run, or a file of packaged weights, answers."""
    if run.suffix == PACKAGED:
        from scripts.runs.pretrained import read_card

        place = run.with_suffix(".json")
        card = read_card(place)
        kind, size = card.task, card.size
    else:
        expect(run, "puzzle run")
        place, grid = f"{run}/config.json: grid", read_config(run)["grid"]
        kind, size = grid["kind"], grid["size"]
    try:
        return puzzle_of(kind).characters(size)
    except DataError as error:
        raise RunError(f"{place}: {error}") from error


def main(words: Sequence[str]) -> int:
    return parse(solve, words, "loopbench solve")()
