"""What a puzzle's rules leave to a model's structure: units of cells, and symbols that are alike.

Sudoku has rows, columns and boxes, mazes rows and columns; the digits of a sudoku may be exchanged.
A model is given both as arrays and knows nothing of the puzzle they come from.
"""

import numpy as np

from puzzles.errors import DataError
from puzzles.kinds import puzzle_of


def unit_families(kind: str, size: int) -> tuple[np.ndarray, ...]:
    """Families of units of a size x size grid, each (units, cells of a unit) int64.

    Every family holds every cell once. Order: rows, columns and, for sudoku, boxes. DataError for
    a kind of puzzle that is not known, and for a family that does not hold every cell once.
    """
    families = puzzle_of(kind).families(size)
    for number, family in enumerate(families):
        if not np.array_equal(np.sort(family, axis=None), np.arange(size * size)):
            raise DataError(f"{kind}: family {number} of units does not hold every cell once")
    return families


def interchangeable_tokens(kind: str, size: int) -> tuple[int, ...]:
    """Tokens that every permutation of a puzzle's symbols maps among themselves; () if none."""
    return puzzle_of(kind).symbols(size)
