"""What a train and a test part have in common, up to symmetry."""

from dataclasses import dataclass

import numpy as np

from puzzles.errors import InputError
from puzzles.rows import row_keys
from puzzles.sudoku.canonical import canonicalise


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


def overlap(
    train_solutions: np.ndarray,
    test_solutions: np.ndarray,
    train_puzzles: np.ndarray | None = None,
    test_puzzles: np.ndarray | None = None,
) -> OverlapReport:
    """Count what two parts share, up to symmetry: solution grids, and puzzles where given.

    train_solutions, test_solutions: digits (N, L) and (M, L); train_puzzles, test_puzzles: theirs,
    row by row, None: not counted. ValueError for those of one part alone, DataError for a row that
    is no solution grid.
    """
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
