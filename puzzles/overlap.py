"""What a train and a test set share up to symmetry, and how to split one set so that it is little.

Published sets hold families: sudokus one clue apart on one solution grid, mazes repeated turned. A
split by rows would put near copies of the training puzzles in the test part, so whole classes of
equivalent puzzles go to one side.
"""

import math

import numpy as np

from puzzles.errors import DataError
from puzzles.maze import symmetry as maze_symmetry
from puzzles.puzzle_set import PuzzleSet, row_keys
from puzzles.sudoku import rules
from puzzles.sudoku.canonical import canonicalise
from puzzles.sudoku.split import overlap as sudoku_overlap


def overlap_of(train: PuzzleSet, test: PuzzleSet) -> dict[str, int]:
    """What two sets of the same puzzle share; all numbers count distinct questions or grids.

    identical_puzzles: questions in both, cell for cell.
    sudoku: equivalent_puzzles, solution_grids (in both, up to symmetry) and
        test_puzzles_on_train_grids; train_grids and test_grids count the classes of grids.
    maze: equivalent_puzzles, questions in both up to rotation and reflection.
    """
    shared = {"identical_puzzles": _shared(row_keys(train.inputs), row_keys(test.inputs))}
    if train.kind == "maze":
        keys = [_dihedral_keys(part.inputs) for part in (train, test)]
        return {**shared, "equivalent_puzzles": _shared(*keys)}
    digits = [
        rules.from_tokens(tokens)
        for tokens in (train.labels, test.labels, train.inputs, test.inputs)
    ]
    report = sudoku_overlap(*digits)
    return {
        **shared,
        "equivalent_puzzles": report.shared_puzzles,
        "solution_grids": report.shared_grids,
        "test_puzzles_on_train_grids": report.test_rows_with_shared_grid,
        "train_grids": report.train_grids,
        "test_grids": report.test_grids,
    }


def _shared(train: np.ndarray, test: np.ndarray) -> int:
    return len(np.intersect1d(train, test))


def _dihedral_keys(inputs: np.ndarray) -> np.ndarray:
    """One key a maze, equal for mazes that are rotations or reflections of each other."""
    images = [
        row_keys(maze_symmetry.apply(inputs, np.full(len(inputs), element)))
        for element in range(maze_symmetry.ORDER)
    ]
    return np.sort(np.stack(images), axis=0)[0]


def split_groups(whole: PuzzleSet, test: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Groups (train, test) of a set, `test` of them for the test part, no class on both sides.

    Groups of the last test class that are beyond `test` go to neither side.
    Raises DataError if test is not a number of groups that leaves some, of other classes, to train.
    """
    firsts = whole.group_offsets[:-1]
    if not 0 < test < len(firsts):
        raise DataError(
            f"{test} test puzzles cannot be split off a set of {len(firsts)} puzzles. "
            f"Ask for 1 to {len(firsts) - 1}"
        )
    originals = PuzzleSet.ungrouped(
        whole.kind, whole.size, whole.inputs[firsts], whole.labels[firsts]
    )
    train_groups, test_groups = split_classes(class_keys(originals), test, seed)
    if not len(train_groups):
        raise DataError("too few inequivalent puzzles: none is left for training. Ask for fewer")
    return train_groups, test_groups[:test]


def class_keys(puzzles: PuzzleSet) -> np.ndarray:
    """One key (N,) a puzzle; puzzles with one key must not be on both sides of a split.

    9x9 sudokus: equal for equivalent solution grids. 4x4 and 6x6 have only 2 and 49 classes of
    grids, so there it is equal for equivalent puzzles; for mazes, up to rotation and reflection.
    """
    if puzzles.kind == "maze":
        return _dihedral_keys(puzzles.inputs)
    forms = canonicalise(rules.from_tokens(puzzles.labels), rules.from_tokens(puzzles.inputs))
    return row_keys(forms.solutions if puzzles.size == 9 else forms.puzzles)


def split_classes(
    keys: np.ndarray, test: int, seed: int, share: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (train, test), each sorted: whole classes of equal keys (N,), in random order.

    The test part gets classes until it has at least `test` rows and that share of the classes.
    """
    _, family, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(sizes))
    enough = int(np.searchsorted(np.cumsum(sizes[order]), test)) + 1
    chosen = order[: max(enough, math.ceil(share * len(sizes)))]
    is_test = np.isin(family, chosen)
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)
