"""How hard the puzzles of a set are, in one unit for train and test."""

from dataclasses import replace
from functools import partial

import numpy as np

from puzzles.maze import search
from puzzles.parallel import Progress, StageProgress, map_rows
from puzzles.puzzle_set import PuzzleSet
from puzzles.sudoku import rules, solver

ISOMORPHS = 10
GUESSES = f"guesses, geometric mean over {ISOMORPHS} isomorphs"
PATH_CELLS = "cells of a shortest path, with S and G"

_CHUNK = 512  # sudokus rated with one seed: fixed, so that the ratings do not depend on the cores


def with_difficulty(
    train: PuzzleSet, test: PuzzleSet, seed: int, progress: StageProgress | None = None
) -> tuple[PuzzleSet, PuzzleSet]:
    """The sets with a difficulty each: the published one if both have the same, else measured.

    Sudokus are rated by `puzzles.sudoku.solver.rate`, mazes by the length of a shortest path.
    """
    if train.difficulty_name is not None and train.difficulty_name == test.difficulty_name:
        return train, test
    rated = []
    for index, (name, part) in enumerate((("train", train), ("test", test))):
        report = None if progress is None else partial(progress, f"rating {name}")
        if part.kind == "sudoku":
            values, unit = _guesses(part, seed, index, report), GUESSES
        else:
            values, unit = search.path_cells(part.inputs), PATH_CELLS
        rated.append(replace(part, difficulty=values.astype(np.float32), difficulty_name=unit))
    return rated[0], rated[1]


def _guesses(part: PuzzleSet, seed: int, index: int, progress: Progress | None) -> np.ndarray:
    digits = rules.from_tokens(part.inputs)

    def rate(rows: slice) -> np.ndarray:
        sequence = np.random.SeedSequence(seed, spawn_key=(index, rows.start))
        chunk_seed = int(sequence.generate_state(1, np.uint64)[0])
        return solver.rate(digits[rows], chunk_seed, ISOMORPHS)

    return map_rows(rate, len(part), progress, _CHUNK)
