"""How hard the puzzles of a set are, in one unit for train and test."""

from dataclasses import replace
from functools import partial

import numpy as np

from puzzles.kinds import puzzle_of
from puzzles.parallel import StageProgress
from puzzles.puzzle_set import PuzzleSet

LEVELS = {"easy": 0.0, "medium": 0.5, "hard": 1.0}  # the place among puzzles sorted by difficulty
_DRAWN = 64  # puzzles that one of a level is chosen from


def with_difficulty(
    train: PuzzleSet, test: PuzzleSet, seed: int, progress: StageProgress | None = None
) -> tuple[PuzzleSet, PuzzleSet]:
    """The sets with a difficulty each: the published one if both have the same, else measured.

    Sudokus are rated by `puzzles.sudoku.solver.rate`, mazes by the length of a shortest path; a
    puzzle that has no measure leaves the sets as they are.

    train, test: of one kind; seed: of what a measure draws; progress: told of a stage's name, rows
    rated and all rows, None: nobody is.
    """
    if train.difficulty_name is not None and train.difficulty_name == test.difficulty_name:
        return train, test
    rated = []
    for index, (name, part) in enumerate((("train", train), ("test", test))):
        report = None if progress is None else partial(progress, f"rating {name}")
        measured = puzzle_of(part.kind).difficulty(part, seed, index, report)
        if measured is None:
            return train, test
        values, unit = measured
        rated.append(replace(part, difficulty=values.astype(np.float32), difficulty_name=unit))
    return rated[0], rated[1]


def at_level(kind: str, size: int, level: str, seed: int) -> PuzzleSet:
    """One puzzle of a level of LEVELS, with its difficulty where there is a measure of it.

    kind, size: the puzzle's; seed: of the puzzles that it is chosen from, and of the measure.
    """
    puzzle, place = puzzle_of(kind), LEVELS[level]
    made = puzzle.at_level(size, place, seed)
    count = _DRAWN if made is None else 1
    part = PuzzleSet.ungrouped(kind, size, *(made or puzzle.generate(size, count, seed)))
    rated = puzzle.difficulty(part, seed, 0, None)
    if rated is not None:
        values = rated[0].astype(np.float32)
        part = replace(part, difficulty=values, difficulty_name=rated[1])
        order = np.argsort(values, kind="stable")
    else:
        order = np.arange(count)
    return part.take_groups(order[[round(place * (count - 1))]])
