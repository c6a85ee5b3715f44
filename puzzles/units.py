"""What a puzzle's rules leave to a model's structure: units of cells, and symbols that are alike.

Sudoku has rows, columns and boxes, mazes rows and columns; the digits of a sudoku may be exchanged.
A model is given both as arrays and knows nothing of the puzzle they come from.
"""

import numpy as np

from puzzles.errors import DataError
from puzzles.sudoku.rules import geometry


def unit_families(kind: str, size: int) -> tuple[np.ndarray, ...]:
    """Families of units of a size x size grid, each (units, cells of a unit) int64.

    Every family holds every cell once. Order: rows, columns and, for sudoku, boxes. DataError for
    a kind of puzzle that is not known.
    """
    if kind == "sudoku":
        return tuple(geometry(size).units.reshape(3, size, size))
    if kind == "maze":
        cells = np.arange(size * size).reshape(size, size)
        return cells, cells.T.copy()
    raise DataError(f"no units are known of puzzles of kind {kind!r}")


def interchangeable_tokens(kind: str, size: int) -> tuple[int, ...]:
    """Tokens that every permutation of a puzzle's symbols maps among themselves; () if none."""
    return tuple(range(2, size + 2)) if kind == "sudoku" else ()
