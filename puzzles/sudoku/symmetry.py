"""The symmetry group of sudoku: what maps solutions to solutions and keeps the rules.

Permutations of the digits, of the bands, of the rows in each band, of the stacks, of the columns
in each stack, and transposition where boxes are square. Order 2 * 6^8 * 9! = 1.22e12 for 9x9.
"""

from dataclasses import dataclass
from math import factorial

import numpy as np
from numba import njit

from puzzles.errors import InputError
from puzzles.sudoku import splitmix
from puzzles.sudoku.rules import as_grids, geometry, geometry_of


@dataclass(frozen=True)
class Symmetry:
    """N symmetries: out[n, i] = digits[n, grid[n, cells[n, i]]].

    cells (N, L): the cell that each cell is taken from. digits (N, size + 1): the new digit of
    each digit; a blank stays blank, digits[:, 0] = 0.
    """

    cells: np.ndarray
    digits: np.ndarray

    def __len__(self) -> int:
        return len(self.cells)


def group_order(size: int) -> int:
    """Number of symmetries of a size: of cells and digits together."""
    geo = geometry(size)
    bands = factorial(geo.box_width) * factorial(geo.box_height) ** geo.box_width
    stacks = factorial(geo.box_height) * factorial(geo.box_width) ** geo.box_height
    return (2 if geo.transposable else 1) * bands * stacks * factorial(size)


@njit(cache=True)
def _shuffle_lines(rng, blocks, length, lines):
    """A random order of `blocks * length` lines that keeps blocks of `length` together."""
    order = np.arange(blocks)
    splitmix.shuffle(rng, order)
    for block in range(blocks):
        part = lines[block * length : (block + 1) * length]
        for i in range(length):
            part[i] = order[block] * length + i
        splitmix.shuffle(rng, part)


@njit(cache=True)
def _draw(rng, size, height, width, rows, columns, digits, cells):
    """Write one uniformly random symmetry into `cells` (L,) and `digits` (size + 1,)."""
    _shuffle_lines(rng, width, height, rows)
    _shuffle_lines(rng, height, width, columns)
    digits[0] = 0
    for digit in range(1, size + 1):
        digits[digit] = digit
    splitmix.shuffle(rng, digits[1:])
    across, down = 1, size
    if height == width and splitmix.below(rng, 2):
        across, down = size, 1
    for row in range(size):
        for column in range(size):
            cells[row * size + column] = rows[row] * down + columns[column] * across


@njit(cache=True, nogil=True)
def _draw_batch(seeds, size, height, width, cells, digits):
    rows, columns = np.empty(size, np.int64), np.empty(size, np.int64)
    rng = np.empty(1, np.uint64)
    for n in range(len(seeds)):
        rng[0] = seeds[n]
        _draw(rng, size, height, width, rows, columns, digits[n], cells[n])


@njit(cache=True, nogil=True)
def _augment_batch(seeds, size, height, width, inputs, labels, new_inputs, new_labels):
    rows, columns = np.empty(size, np.int64), np.empty(size, np.int64)
    cells = np.empty(size * size, np.int64)
    digits = np.empty(size + 1, np.int64)
    token = np.arange(256).astype(np.uint8)  # padding and blank stay
    rng = np.empty(1, np.uint64)
    for n in range(len(seeds)):
        rng[0] = seeds[n]
        _draw(rng, size, height, width, rows, columns, digits, cells)
        for digit in range(size + 1):
            token[digit + 1] = digits[digit] + 1
        for i in range(size * size):
            new_inputs[n, i] = token[inputs[n, cells[i]]]
            new_labels[n, i] = token[labels[n, cells[i]]]


def _seeds(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 2**64, size=n, dtype=np.uint64)


def random_symmetry(n: int, size: int, rng: np.random.Generator) -> Symmetry:
    """`n` independent, uniformly random symmetries of a size."""
    return seeded_symmetry(_seeds(n, rng), size)


def seeded_symmetry(seeds: np.ndarray, size: int) -> Symmetry:
    """Random symmetries of a size, row n a function of seeds[n] alone, uint64 (N,)."""
    geo = geometry(size)
    cells = np.empty((len(seeds), geo.cells), dtype=np.int64)
    digits = np.empty((len(seeds), size + 1), dtype=np.uint8)
    _draw_batch(seeds, size, geo.box_height, geo.box_width, cells, digits)
    return Symmetry(cells, digits)


def apply(symmetry: Symmetry, grids: np.ndarray) -> np.ndarray:
    """The images (N, L) of grids (N, L) in digit form, one symmetry each."""
    grids = as_grids(grids)
    if grids.shape != symmetry.cells.shape:
        raise InputError(f"grids {grids.shape} do not fit symmetries {symmetry.cells.shape}")
    moved = np.take_along_axis(grids, symmetry.cells, axis=1)
    return np.take_along_axis(symmetry.digits, moved.astype(np.int64), axis=1)


def inverse(symmetry: Symmetry) -> Symmetry:
    """The symmetries that undo these."""
    return Symmetry(
        np.argsort(symmetry.cells, axis=1),
        np.argsort(symmetry.digits, axis=1).astype(np.uint8),
    )


def augment(
    inputs: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Random isomorphs of token grids (N, L): the same symmetry for an input and its label.

    Padding and blanks stay what they are. New uint8 arrays of the same shape.
    """
    if inputs.shape != labels.shape or inputs.ndim != 2:
        raise InputError(
            f"inputs {inputs.shape} and labels {labels.shape} must both have shape (N, L)"
        )
    geo = geometry_of(inputs)
    inputs = np.ascontiguousarray(inputs, dtype=np.uint8)
    labels = np.ascontiguousarray(labels, dtype=np.uint8)
    new_inputs, new_labels = np.empty_like(inputs), np.empty_like(labels)
    seeds = _seeds(len(inputs), rng)
    _augment_batch(
        seeds, geo.size, geo.box_height, geo.box_width, inputs, labels, new_inputs, new_labels
    )
    return new_inputs, new_labels
