"""The rules of sudoku: geometry, text form, validity, tokens.

A grid is a flat row-major uint8 array of L = size * size cells; a batch is (N, L).
*Digit form*: 0 is a blank, 1..size a digit. *Token form*, what datasets and models hold:
token = digit + 1, so 0 is padding, 1 a blank, 2..size + 1 the digits.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from math import isqrt

import numpy as np

from puzzles.errors import DataError, InputError

BOXES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}  # size -> (rows, columns) of a box
BLANKS = ".0_"
ILLEGAL = 255


@dataclass(frozen=True)
class Geometry:
    """A size x size grid cut into boxes of `box_height` rows and `box_width` columns.

    Rows that share boxes form a band (`box_width` bands of `box_height` rows), columns that
    share boxes a stack (`box_height` stacks of `box_width` columns).
    """

    size: int
    box_height: int
    box_width: int

    @property
    def cells(self) -> int:
        """L, the number of cells."""
        return self.size * self.size

    @property
    def vocab_size(self) -> int:
        """Number of tokens: padding, blank, digits."""
        return self.size + 2

    @property
    def transposable(self) -> bool:
        """Whether transposition maps boxes to boxes (square boxes only)."""
        return self.box_height == self.box_width

    @cached_property
    def units(self) -> np.ndarray:
        """Cells of every unit, (3 * size, size): rows, then columns, then boxes."""
        cell = np.arange(self.cells).reshape(self.size, self.size)
        boxes = cell.reshape(self.box_width, self.box_height, self.box_height, self.box_width)
        boxes = boxes.swapaxes(1, 2).reshape(self.size, self.size)
        return np.concatenate([cell, cell.T, boxes])

    @cached_property
    def peers(self) -> np.ndarray:
        """(L, L) bool: whether two different cells share a unit."""
        related = np.zeros((self.cells, self.cells), dtype=bool)
        for unit in self.units:
            related[np.ix_(unit, unit)] = True
        np.fill_diagonal(related, False)
        return related


@cache
def geometry(size: int) -> Geometry:
    """The geometry of a size (4, 6 or 9); ValueError for any other."""
    if size not in BOXES:
        raise InputError(f"sudoku size {size} is not supported; use one of {sorted(BOXES)}")
    return Geometry(size, *BOXES[size])


def geometry_of(grids: np.ndarray) -> Geometry:
    """The geometry of an array of grids, inferred from the length of its last axis."""
    length = grids.shape[-1]
    if isqrt(length) ** 2 == length and isqrt(length) in BOXES:
        return geometry(isqrt(length))
    expected = ", ".join(str(size * size) for size in BOXES)
    raise InputError(f"a sudoku grid has {expected} cells, got rows of {length}")


def as_grids(grids: np.ndarray, name: str = "grids") -> np.ndarray:
    """A contiguous uint8 (N, L) array of digits; a single grid (L,) becomes a batch of one.

    Raises DataError, naming the row, if a cell holds something other than 0..size.
    """
    array = np.atleast_2d(np.asarray(grids))
    if array.ndim != 2:
        raise InputError(f"{name} must have shape (N, L) or (L,), got {array.shape}")
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{name} must hold integers, got {array.dtype}")
    size = geometry_of(array).size
    wrong = (array < 0) | (array > size)
    if wrong.any():
        row, cell = np.argwhere(wrong)[0]
        raise DataError(
            f"{name}, row {row}: cell {cell} holds {array[row, cell]}, expected 0 to {size}; "
            "pass digits (0 = blank), not tokens"
        )
    return np.ascontiguousarray(array, dtype=np.uint8)


def parse(text: str, size: int | None = None) -> np.ndarray:
    """Digits (L,) of a one-line grid; '.', '0' and '_' are blanks.

    Raises DataError for a wrong number of characters (for `size`, or for any size if None) or
    for a character outside the alphabet.
    """
    lengths = [s * s for s in ([geometry(size).size] if size else BOXES)]
    if len(text) not in lengths:
        expected = " or ".join(str(length) for length in lengths)
        raise DataError(
            f"sudoku text has {len(text)} characters, expected {expected}; "
            "write the grid row by row on one line, '.' for a blank"
        )
    side = isqrt(len(text))
    alphabet = BLANKS + "123456789"[:side]
    codes = np.frombuffer(text.encode("latin-1", "replace"), dtype=np.uint8)
    digits = _digit_of_code(side)[codes]
    if (digits == ILLEGAL).any():
        position = int(np.argmax(digits == ILLEGAL))
        raise DataError(
            f"sudoku text, character {position + 1}: {text[position]!r} is not allowed; "
            f"use the characters {alphabet}"
        )
    return digits


@cache
def _digit_of_code(size: int) -> np.ndarray:
    """The digit of every one-byte character code, ILLEGAL outside the alphabet."""
    digits = np.full(256, ILLEGAL, dtype=np.uint8)
    digits[[ord(blank) for blank in BLANKS]] = 0
    for digit in range(1, size + 1):
        digits[ord(str(digit))] = digit
    digits.flags.writeable = False  # shared by every caller
    return digits


def format_grid(digits: np.ndarray) -> str:
    """The one-line text of a grid (L,), '.' for a blank: the inverse of `parse`."""
    return "".join(str(int(d)) if d else "." for d in as_grids(digits)[0])


def is_solution(grids: np.ndarray) -> np.ndarray:
    """Whether every row, column and box holds each digit once; bool (N,)."""
    grids = as_grids(grids)
    geo = geometry_of(grids)
    bit = np.where(grids > 0, np.int32(1) << grids.astype(np.int32), 0)
    full = (1 << (geo.size + 1)) - 2
    seen = np.bitwise_or.reduce(bit[:, geo.units], axis=2)  # (N, 3 * size)
    return (seen == full).all(axis=1)


def keeps_givens(puzzles: np.ndarray, grids: np.ndarray) -> np.ndarray:
    """Whether each grid holds the digit of every given of its puzzle; bool (N,)."""
    puzzles, grids = as_grids(puzzles, "puzzles"), as_grids(grids)
    if puzzles.shape != grids.shape:
        raise InputError(f"puzzles {puzzles.shape} and grids {grids.shape} differ in shape")
    return ((puzzles == 0) | (puzzles == grids)).all(axis=1)


def to_tokens(digits: np.ndarray) -> np.ndarray:
    """Token form of digit grids, same shape, uint8."""
    return as_grids(digits).reshape(np.shape(digits)) + np.uint8(1)


def from_tokens(tokens: np.ndarray) -> np.ndarray:
    """Digit form of token grids, same shape, uint8; DataError for padding or unknown tokens."""
    array = np.asarray(tokens)
    size = geometry_of(array).size
    if array.size and (array.min() < 1 or array.max() > size + 1):
        row = int(np.argwhere((array < 1) | (array > size + 1))[0][0]) if array.ndim > 1 else 0
        raise DataError(
            f"tokens, row {row}: expected 1 (blank) to {size + 1}; a full grid holds no padding (0)"
        )
    return (array - 1).astype(np.uint8)
