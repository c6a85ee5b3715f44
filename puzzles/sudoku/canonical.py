"""Canonical forms: one representative of every class of grids under the whole symmetry group.

A solution grid's canonical form is the lexicographically least of its images, row by row. Its
first row is 1, 2, ..., size, so an image is fixed by the row that becomes first, the order of the
columns, and transposition: labels follow from the first row, and the other rows are sorted. For
each choice of the first two rows, the second is compared over all column orders, and only the
orders that reach the least one are written out in full.

A puzzle's canonical form is the least image among those that bring its (one) solution to
canonical form: a minimum over the group with the solution compared first, the puzzle second.
"""

from functools import cache
from itertools import permutations, product
from typing import NamedTuple

import numpy as np
from numba import njit

from puzzles.errors import DataError, InputError
from puzzles.rows import row_keys
from puzzles.sudoku.rules import Geometry, as_grids, geometry, geometry_of, is_solution
from puzzles.sudoku.solver import solve_unique


class Orders(NamedTuple):
    """The geometry of one size as the kernels read it."""

    size: int
    box_height: int
    box_width: int
    transposable: bool
    columns: np.ndarray  # (K, size) uint8, every column order: the old column at each place
    places: np.ndarray  # (K, size) uint8, its inverse: the place of each old column


@cache
def orders(size: int) -> Orders:
    """The column orders of a size: stacks permuted, and columns within each stack."""
    geo = geometry(size)
    columns = np.array(list(_column_orders(geo)), dtype=np.uint8)
    places = np.argsort(columns, axis=1).astype(np.uint8)
    return Orders(size, geo.box_height, geo.box_width, geo.transposable, columns, places)


def _column_orders(geo: Geometry):
    stacks = [range(s * geo.box_width, (s + 1) * geo.box_width) for s in range(geo.box_height)]
    for stack_order in permutations(stacks):
        for parts in product(*(permutations(stack) for stack in stack_order)):
            yield [column for part in parts for column in part]


@njit(cache=True)
def _image(o, grid, puzzle, row, second, order, rows, image, puzzle_image):
    """The image with these first two rows and this column order, other rows sorted."""
    size, height = o.size, o.box_height
    label = np.zeros(size + 1, dtype=np.uint8)
    for place in range(size):
        label[grid[row, order[place]]] = place + 1
    # rows[i]: the old row at place i. Within a band, and among bands by their first row, rows are
    # ordered by their label in the first column; the first band is `row`, `second`, the rest.
    first = order[0]
    band = row // height
    rows[0], rows[1] = row, second
    filled = 2
    for other in range(band * height, (band + 1) * height):
        if other != row and other != second:
            rows[filled] = other
            filled += 1
    for start in range(0, size, height):
        if start == band * height:
            continue
        for other in range(start, start + height):  # insertion sort within the band
            at = filled + other - start
            while at > filled and label[grid[rows[at - 1], first]] > label[grid[other, first]]:
                rows[at] = rows[at - 1]
                at -= 1
            rows[at] = other
        at = filled  # move the band before earlier bands with a larger first label
        while at > height and label[grid[rows[at - height], first]] > label[grid[rows[at], first]]:
            for i in range(height):
                rows[at - height + i], rows[at + i] = rows[at + i], rows[at - height + i]
            at -= height
        filled += height
    for i in range(size):
        for place in range(size):
            image[i * size + place] = label[grid[rows[i], order[place]]]
            puzzle_image[i * size + place] = label[puzzle[rows[i], order[place]]]


@njit(cache=True)
def _compare(a, b):
    """-1, 0 or 1 as the array a is less than, equal to or greater than b."""
    for i in range(len(a)):
        if a[i] != b[i]:
            return -1 if a[i] < b[i] else 1
    return 0


@njit(cache=True)
def _least_second_row(o, source, best, ties):
    """Column orders that make the second row least, given where its digits come from.

    source[c]: the column whose first-row digit stands in column c of the second row. `best` (size)
    holds the least second row so far, as places; returns (the orders are better, their number),
    the orders being written to `ties` when they equal or improve on `best`.
    """
    better = False
    found = 0
    for k in range(len(o.columns)):
        sign = 0
        for place in range(o.size):
            value = o.places[k, source[o.columns[k, place]]]
            if sign == 0:
                if value > best[place]:
                    sign = 1
                    break
                if value < best[place]:
                    sign = -1
            if sign < 0:
                best[place] = value
        if sign < 0:
            better = True
            found = 0
        if sign <= 0:
            ties[found] = k
            found += 1
    return better, found


@njit(cache=True, nogil=True)
def _canonical_batch(o, grids, puzzles, out, out_puzzles, automorphisms):
    size, height = o.size, o.box_height
    grid, puzzle = np.empty((size, size), np.uint8), np.empty((size, size), np.uint8)
    image, puzzle_image = np.empty(size * size, np.uint8), np.empty(size * size, np.uint8)
    rows, source = np.empty(size, np.int64), np.empty(size, np.int64)
    where = np.empty(size + 1, np.int64)
    best = np.empty(size, np.uint8)
    ties = np.empty(len(o.columns), np.int64)
    for n in range(len(grids)):
        best[:] = size
        count = 0
        for transposed in range(2 if o.transposable else 1):
            for i in range(size):
                for j in range(size):
                    cell = j * size + i if transposed else i * size + j
                    grid[i, j] = grids[n, cell]
                    puzzle[i, j] = puzzles[n, cell]
            for row in range(size):
                for column in range(size):
                    where[grid[row, column]] = column
                start = row // height * height
                for second in range(start, start + height):
                    if second == row:
                        continue
                    for column in range(size):
                        source[column] = where[grid[second, column]]
                    better, found = _least_second_row(o, source, best, ties)
                    if better:
                        count = 0
                    for k in ties[:found]:
                        _image(
                            o, grid, puzzle, row, second, o.columns[k], rows, image, puzzle_image
                        )
                        sign = -1 if count == 0 else _compare(image, out[n])
                        if sign < 0:
                            count = 0
                            out[n] = image
                        if sign <= 0:
                            if count == 0 or _compare(puzzle_image, out_puzzles[n]) < 0:
                                out_puzzles[n] = puzzle_image
                            count += 1
        automorphisms[n] = count


class CanonicalForm(NamedTuple):
    """Canonical forms of N pairs of puzzle and solution."""

    solutions: np.ndarray  # uint8 (N, L), canonical solution grids
    puzzles: np.ndarray  # uint8 (N, L), the puzzles carried along
    automorphisms: np.ndarray  # int64 (N,), symmetries that map the solution grid to itself


def canonicalise(solutions: np.ndarray, puzzles: np.ndarray | None = None) -> CanonicalForm:
    """Canonical forms of solution grids (N, L), and of their puzzles where given.

    Without puzzles, the solutions stand in for them. Raises DataError naming the first row that is
    not a solution grid.
    """
    solutions = as_grids(solutions, "solutions")
    bad = np.flatnonzero(~is_solution(solutions))
    if len(bad):
        raise DataError(
            f"solutions, row {bad[0]}: not a solution grid; only full, valid grids have a "
            "canonical form, solve the puzzle first"
        )
    puzzles = solutions if puzzles is None else as_grids(puzzles, "puzzles")
    if puzzles.shape != solutions.shape:
        raise InputError(f"puzzles {puzzles.shape} and solutions {solutions.shape} differ")
    out, out_puzzles = np.empty_like(solutions), np.empty_like(solutions)
    automorphisms = np.empty(len(solutions), dtype=np.int64)
    size = geometry_of(solutions).size
    _canonical_batch(orders(size), solutions, puzzles, out, out_puzzles, automorphisms)
    return CanonicalForm(out, out_puzzles, automorphisms)


def classes_of(solutions: np.ndarray | None) -> np.ndarray:
    """The classes of solution grids (N, L) as sorted keys, `row_keys` of their canonical forms; of
    None, none."""
    if solutions is None or not len(solutions):
        return np.zeros(0, "S1")
    return np.unique(row_keys(canonicalise(solutions).solutions))


def canonical_grid(solutions: np.ndarray) -> np.ndarray:
    """The lexicographically least image of each solution grid, uint8 (N, L)."""
    return canonicalise(solutions).solutions


def canonical_puzzle(puzzles: np.ndarray) -> np.ndarray:
    """The representative of each puzzle's class, uint8 (N, L).

    Two puzzles are equivalent exactly when their representatives are equal. Raises DataError for a
    puzzle that does not have exactly one solution.
    """
    puzzles = as_grids(puzzles, "puzzles")
    return canonicalise(solve_unique(puzzles), puzzles).puzzles
