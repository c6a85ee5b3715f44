"""Train and test parts that have no solution grid in common, up to symmetry.

Published lists hold families of puzzles one clue apart, on one solution grid: a split by rows would
put near copies of the training puzzles in the test part. Here whole classes of equivalent solution
grids go to one side.
"""

from dataclasses import dataclass

import numpy as np

from puzzles.errors import DataError, InputError
from puzzles.rows import row_keys
from puzzles.sudoku.canonical import canonicalise
from puzzles.sudoku.rules import as_grids


@dataclass(frozen=True)
class OverlapReport:
    """What a train and a test part share, up to symmetry. All are counts.

    `shared_puzzles` and `test_rows_with_shared_puzzle` are None when no puzzles were given.
    """

    train_grids: int  # classes of solution grids in train
    test_grids: int  # classes of solution grids in test
    shared_grids: int  # classes in both
    test_rows_with_shared_grid: int
    shared_puzzles: int | None = None  # classes of puzzles in both
    test_rows_with_shared_puzzle: int | None = None


def split_by_grid(
    solutions: np.ndarray, test: int | float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (train, test), each sorted, with no class of solution grids in both.

    `test` is a number of rows (int) or a fraction of them (float). Classes are drawn in random
    order; one that would overshoot is passed over. Raises DataError if the exact number cannot be
    met this way, with the number that can.
    """
    solutions = as_grids(solutions, "solutions")
    rows = len(solutions)
    if isinstance(test, float):
        if not 0 <= test <= 1:
            raise InputError(f"test fraction must lie in 0 to 1, got {test}")
        wanted = round(test * rows)
    else:
        wanted = int(test)
    if not 0 <= wanted <= rows:
        raise InputError(f"test must be 0 to {rows} rows, got {wanted}")
    keys = row_keys(canonicalise(solutions).solutions)
    _, family, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    is_test = np.zeros(len(sizes), dtype=bool)
    missing = wanted
    for index in np.random.default_rng(seed).permutation(len(sizes)):
        if sizes[index] <= missing:
            is_test[index] = True
            missing -= sizes[index]
        if missing == 0:
            break
    if missing:
        raise DataError(
            f"solutions: {wanted} test rows cannot be made of whole classes of solution grids "
            f"({len(sizes)} classes in {rows} rows); ask for {wanted - missing}, or another seed"
        )
    in_test = is_test[family]
    return np.flatnonzero(~in_test), np.flatnonzero(in_test)


def overlap(
    train_solutions: np.ndarray,
    test_solutions: np.ndarray,
    train_puzzles: np.ndarray | None = None,
    test_puzzles: np.ndarray | None = None,
) -> OverlapReport:
    """Count what two parts share, up to symmetry: solution grids, and puzzles where given."""
    if (train_puzzles is None) != (test_puzzles is None):
        raise InputError("give the puzzles of both parts or of neither")
    train = canonicalise(train_solutions, train_puzzles)
    test = canonicalise(test_solutions, test_puzzles)
    train_grids, test_grids = row_keys(train.solutions), row_keys(test.solutions)
    puzzles = None, None
    if train_puzzles is not None:
        # Equivalent puzzles have equivalent solutions, so the puzzle's form alone identifies it.
        puzzles = _shared(row_keys(train.puzzles), row_keys(test.puzzles))
    return OverlapReport(
        len(np.unique(train_grids)),
        len(np.unique(test_grids)),
        *_shared(train_grids, test_grids),
        *puzzles,
    )


def _shared(train: np.ndarray, test: np.ndarray) -> tuple[int, int]:
    """Number of distinct keys in both, and of test rows that hold one."""
    return len(np.intersect1d(train, test)), int(np.isin(test, train).sum())
