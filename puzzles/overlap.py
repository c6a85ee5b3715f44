"""What a train and a test set share up to symmetry, and how to split one set so that it is little.

Published sets hold families: sudokus one clue apart on one solution grid, mazes repeated turned. A
split by rows would put near copies of the training puzzles in the test part, so whole classes of
equivalent puzzles go to one side.
"""

import math

import numpy as np

from puzzles.errors import DataError
from puzzles.kinds import puzzle_of
from puzzles.puzzle_set import PuzzleSet
from puzzles.rows import row_keys


def overlap_of(train: PuzzleSet, test: PuzzleSet) -> dict[str, int]:
    """What two sets of the same puzzle share; all numbers count distinct questions or grids.

    identical_puzzles: questions in both, cell for cell.
    sudoku: equivalent_puzzles, solution_grids (in both, up to symmetry) and
        test_puzzles_on_train_grids; train_grids and test_grids count the classes of grids.
    maze: equivalent_puzzles, questions in both up to rotation and reflection.
    """
    identical = len(np.intersect1d(row_keys(train.inputs), row_keys(test.inputs)))
    return {"identical_puzzles": identical, **puzzle_of(train.kind).overlap(train, test)}


def split_groups(whole: PuzzleSet, test: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Groups (train, test) of a set, `test` of them for the test part, no class on both sides.

    Groups of the last test class that are beyond `test` go to neither side.
    Raises DataError if test is not a number of groups that leaves some, of other classes, to train.
    """
    if not 0 < test < whole.groups:
        raise DataError(
            f"{test} test puzzles cannot be split off a set of {whole.groups} puzzles. "
            f"Ask for 1 to {whole.groups - 1}"
        )
    train_groups, test_groups = split_classes(_group_keys(whole), test, seed)
    if not len(train_groups):
        raise DataError("too few inequivalent puzzles: none is left for training. Ask for fewer")
    return train_groups, test_groups[:test]


def _group_keys(whole: PuzzleSet) -> np.ndarray:
    """One key a group, (groups,): equal for groups that share a class, or that others join so; its
    first puzzle's key where none does."""
    keys = class_keys(whole)
    firsts = whole.group_offsets[:-1]
    group_of = np.repeat(np.arange(whole.groups), np.diff(whole.group_offsets))
    names, class_of = np.unique(keys, return_inverse=True)
    joined, before = np.arange(whole.groups), None  # the first group of those that hang together
    while before is None or (joined != before).any():
        before = joined
        least = np.full(len(names), whole.groups)
        np.minimum.at(least, class_of, before[group_of])
        joined = before.copy()
        np.minimum.at(joined, group_of, least[class_of])
    return keys[firsts][joined]


def class_keys(puzzles: PuzzleSet) -> np.ndarray:
    """One key (N,) a puzzle; puzzles with one key must not be on both sides of a split.

    9x9 sudokus: equal for equivalent solution grids. 4x4 and 6x6 have only 2 and 49 classes of
    grids, so there it is equal for equivalent puzzles; for mazes, up to rotation and reflection.
    """
    return puzzle_of(puzzles.kind).class_keys(puzzles.inputs, puzzles.labels)


def split_classes(
    keys: np.ndarray, test: int, seed: int, share: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (train, test), each sorted: whole classes of equal keys (N,), in random order.

    The test part gets classes until it has at least `test` rows and that share of the classes.
    seed: of their order.
    """
    _, family, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(sizes))
    enough = int(np.searchsorted(np.cumsum(sizes[order]), test)) + 1
    chosen = order[: max(enough, math.ceil(share * len(sizes)))]
    is_test = np.isin(family, chosen)
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)
