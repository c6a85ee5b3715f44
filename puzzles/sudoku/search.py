"""Depth-first search on bit boards: the kernels of the solver and the generator.

State. For each digit and band one word with a bit for each cell of the band where the digit may
still stand: `boards` int64 (size, bands), bit = row in band * size + column.

Propagation, to a fixed point:
  locked candidates  A digit takes one cell of every row and box of a band, so the set of (row,
                     box) segments it may use is cut down to the union of the permutations it
                     contains, by table; the same for the (box, column) segments of a stack.
  hidden singles     A digit with one cell left in a box clears that cell of other digits. Locking
                     has already turned a single in a row or column into a single in a box.
  naked singles      A cell with one digit left clears that digit from the rest of its box;
                     locking clears the row and the column.

Search: depth first on a cell with the fewest candidates, first cell and lowest digit on ties.
A guess is binary as in tdoku (Dillon 2019): try the digit, and if that fails forbid it and
propagate before choosing again.

numba's cache of a caller in another file does not notice a change here: delete __pycache__ after
editing a kernel.
"""

from functools import cache
from itertools import permutations
from typing import NamedTuple

import numpy as np
from numba import njit

from puzzles.sudoku import splitmix
from puzzles.sudoku.rules import geometry


class Tables(NamedTuple):
    """The geometry of one size as the kernels read it."""

    size: int
    box_height: int
    box_width: int
    row_segments: np.ndarray  # (2^size,) bits of a row -> which of its boxes they touch
    band_allowed: np.ndarray  # (2^(bh*bh),) (row, box) segments -> allowed cells of the band
    stack_allowed: np.ndarray  # (2^(bw*bw),) (box, column) segments -> allowed segments
    box_mask: np.ndarray  # (box_height,) the cells of each box in a band


@cache
def tables(size: int) -> Tables:
    """The tables of a size; ValueError if the size is not supported."""
    geo = geometry(size)
    height, width = geo.box_height, geo.box_width
    segment = (1 << width) - 1  # the cells of one box in one row
    row_segments = np.zeros(1 << size, dtype=np.int64)
    for box in range(height):
        touched = (np.arange(1 << size) >> (box * width)) & segment
        row_segments |= np.where(touched > 0, 1 << box, 0)
    box_mask = [
        sum(segment << (row * size + box * width) for row in range(height)) for box in range(height)
    ]
    band_allowed = _union_of_permutations(height)
    cells = [segment << ((s // height) * size + (s % height) * width) for s in range(height**2)]
    band_cells = sum(((band_allowed >> s) & 1) * mask for s, mask in enumerate(cells))
    return Tables(
        size,
        height,
        width,
        row_segments,
        np.asarray(band_cells, dtype=np.int64),
        _union_of_permutations(width),
        np.array(box_mask, dtype=np.int64),
    )


def _union_of_permutations(n: int) -> np.ndarray:
    """For every subset of an n x n board, the union of the permutation matrices inside it."""
    subsets = np.arange(1 << (n * n), dtype=np.int64)
    union = np.zeros_like(subsets)
    for columns in permutations(range(n)):
        matrix = sum(1 << (row * n + column) for row, column in enumerate(columns))
        union |= np.where(subsets & matrix == matrix, matrix, 0)
    return union


# --- kernels -----------------------------------------------------------------------------------


@njit(cache=True)
def place_givens(t, puzzle, givens):
    """Bit boards (size, bands) of the givens of a puzzle (L,)."""
    givens[:] = 0
    band_cells = t.box_height * t.size
    for cell in range(t.size * t.size):
        if puzzle[cell]:
            givens[puzzle[cell] - 1, cell // band_cells] |= 1 << (cell % band_cells)


@njit(cache=True)
def open_boards(t, givens, boards):
    """Candidate boards of a puzzle's givens; False if a box holds a digit twice."""
    full = (1 << (t.box_height * t.size)) - 1
    for band in range(t.box_width):
        taken = 0
        for digit in range(t.size):
            taken |= givens[digit, band]
        for digit in range(t.size):
            given = givens[digit, band]
            word = (full & ~taken) | given
            for box in range(t.box_height):
                here = given & t.box_mask[box]
                if here & (here - 1):
                    return False
                if here:
                    word &= ~t.box_mask[box] | here
            boards[digit, band] = word
    return True


@njit(cache=True)
def _lock(t, boards, digit):
    """Locked candidates of one digit, to a fixed point; False if it has no place left."""
    size, height, width = t.size, t.box_height, t.box_width
    row_mask = (1 << size) - 1
    segment = (1 << width) - 1
    while True:
        stacks = 0  # (stack, band, column) bits
        for band in range(width):
            word = boards[digit, band]
            segments = 0
            for row in range(height):
                segments |= t.row_segments[(word >> (row * size)) & row_mask] << (row * height)
            word &= t.band_allowed[segments]
            if word == 0:
                return False
            boards[digit, band] = word
            columns = 0
            for row in range(height):
                columns |= (word >> (row * size)) & row_mask
            for box in range(height):
                part = (columns >> (box * width)) & segment
                stacks |= part << ((box * width + band) * width)
        allowed = 0
        for box in range(height):
            shift = box * width * width
            part = t.stack_allowed[(stacks >> shift) & ((1 << (width * width)) - 1)]
            if part == 0:
                return False
            allowed |= part << shift
        if allowed == stacks:
            return True
        for band in range(width):
            columns = 0
            for box in range(height):
                part = (allowed >> ((box * width + band) * width)) & segment
                columns |= part << (box * width)
            keep = 0
            for row in range(height):
                keep |= columns << (row * size)
            boards[digit, band] &= keep


@njit(cache=True)
def _find_placed(t, boards, fixed):
    """Write to `fixed` the digits with one cell left in a box; returns how many there are."""
    placed = 0
    for digit in range(t.size):
        for band in range(t.box_width):
            word = boards[digit, band]
            single = 0
            for box in range(t.box_height):
                here = word & t.box_mask[box]
                if here & (here - 1) == 0:
                    single |= here
                    placed += 1
            fixed[digit, band] = single
    return placed


@njit(cache=True)
def _clear_cells(t, boards, fixed, band):
    """Clear the cells of placed digits of other digits, in one band.

    Returns (digits that changed, cells with one candidate whose digit is not placed yet,
    whether every cell has a candidate).
    """
    taken = 0
    for digit in range(t.size):
        taken |= fixed[digit, band]
    once, twice, changed = 0, 0, 0
    for digit in range(t.size):
        word = boards[digit, band]
        cut = word & (~taken | fixed[digit, band])
        if cut != word:
            boards[digit, band] = cut
            changed |= 1 << digit
        twice |= once & cut
        once |= cut
    full = (1 << (t.box_height * t.size)) - 1
    return changed, once & ~twice & ~taken, once == full


@njit(cache=True)
def _place_naked(t, boards, naked, band):
    """Clear the boxes of naked singles; (digits that changed, no digit stands twice in a box)."""
    changed = 0
    for digit in range(t.size):
        word = boards[digit, band]
        if word & naked == 0:
            continue
        changed |= 1 << digit
        for box in range(t.box_height):
            here = word & naked & t.box_mask[box]
            if here & (here - 1):
                return changed, False
            if here:
                word &= ~t.box_mask[box] | here
        boards[digit, band] = word
    return changed, True


@njit(cache=True)
def _propagate(t, boards, fixed, dirty):
    """Propagate to a fixed point, starting from the digits in the bit set `dirty`.

    The other digits must be locked already. `fixed` (size, bands) is scratch. Returns -1 for a
    contradiction, else the number of (digit, box) pairs placed: size * size make a solution.
    """
    while True:
        for digit in range(t.size):
            if (dirty >> digit) & 1 and not _lock(t, boards, digit):
                return -1
        placed = _find_placed(t, boards, fixed)
        dirty = 0
        for band in range(t.box_width):
            changed, naked, possible = _clear_cells(t, boards, fixed, band)
            if not possible:
                return -1
            dirty |= changed
            if naked:
                changed, possible = _place_naked(t, boards, naked, band)
                if not possible:
                    return -1
                dirty |= changed
        if dirty == 0:
            return placed


@njit(cache=True)
def _lowest_bit(word):
    """Index of the lowest set bit of a non-zero word."""
    index = 0
    while (word >> index) & 1 == 0:
        index += 1
    return index


@njit(cache=True)
def _fewest_in_band(t, boards, band):
    """The open cells of a band with the fewest candidates: (their candidates, the cells).

    Five candidates or more count alike; (size + 1, 0) if no cell is open.
    """
    one, two, three, four, five = 0, 0, 0, 0, 0  # cells with at least so many candidates
    for digit in range(t.size):
        word = boards[digit, band]
        five |= four & word
        four |= three & word
        three |= two & word
        two |= one & word
        one |= word
    if two & ~three:
        return 2, two & ~three
    if three & ~four:
        return 3, three & ~four
    if four & ~five:
        return 4, four & ~five
    if five:
        return 5, five
    return t.size + 1, 0


@njit(cache=True)
def _choose_cell(t, boards, rng, randomise):
    """(band, bit) of an open cell with the fewest candidates: the first, or a random one."""
    fewest = t.size + 1
    chosen_band, chosen, ties = 0, 0, 0
    for band in range(t.box_width):
        count, cells = _fewest_in_band(t, boards, band)
        if count > fewest or (count == fewest and not randomise):
            continue
        if count < fewest:
            fewest, ties = count, 0
        if not randomise:
            chosen_band, chosen = band, cells & -cells
            continue
        while cells:
            ties += 1
            if splitmix.below(rng, ties) == 0:  # reservoir sampling of one cell
                chosen_band, chosen = band, cells & -cells
            cells &= cells - 1
    return chosen_band, chosen


@njit(cache=True)
def _choose_digit(t, boards, band, bit, rng, randomise):
    """A candidate of the cell: the lowest, or a random one if `randomise`."""
    chosen, count = 0, 0
    for digit in range(t.size):
        if boards[digit, band] & bit:
            count += 1
            if not randomise:
                return digit
            if splitmix.below(rng, count) == 0:
                chosen = digit
    return chosen


@njit(cache=True)
def _place(t, boards, digit, band, bit):
    """Put a digit in a cell: clear the cell of other digits and the box of this one.

    Returns the digits whose candidates changed, as a bit set.
    """
    changed = 0
    for other in range(t.size):
        if boards[other, band] & bit:
            changed |= 1 << other
        boards[other, band] &= ~bit
    for box in range(t.box_height):
        if t.box_mask[box] & bit:
            boards[digit, band] &= ~t.box_mask[box]
    boards[digit, band] |= bit
    return changed


@njit(cache=True)
def search(t, stack, fixed, solution, limit, rng, randomise):
    """Count solutions of the boards in stack[0] up to `limit`; (count, guesses to the first).

    `stack` int64 (L + 1, size, bands) is scratch below its first entry; `solution` (size, bands)
    receives the boards of the first solution. t: tables of the size; fixed: scratch (size, bands);
    rng: a stream of `splitmix`, drawn from where `randomise` asks for a random cell of the fewest
    candidates and a random digit of it.
    """
    cells = t.size * t.size
    dirty = np.empty(len(stack), dtype=np.int64)  # digits to propagate at each depth
    dirty[0] = (1 << t.size) - 1
    top, count, guesses = 0, 0, 0
    while top >= 0:
        boards = stack[top]
        placed = _propagate(t, boards, fixed, dirty[top])
        if placed == cells:
            if count == 0:
                solution[:] = boards
            count += 1
            if count >= limit:
                break
        if placed < 0 or placed == cells:
            top -= 1
            continue
        band, bit = _choose_cell(t, boards, rng, randomise)
        digit = _choose_digit(t, boards, band, bit, rng, randomise)
        if count == 0:
            guesses += 1
        stack[top + 1] = boards
        boards[digit, band] &= ~bit  # left for later: the same boards without this candidate
        dirty[top] = 1 << digit
        top += 1
        dirty[top] = _place(t, stack[top], digit, band, bit)
    return count, guesses


@njit(cache=True)
def write_digits(t, boards, grid):
    """Digits (L,) of solved boards."""
    band_cells = t.box_height * t.size
    for digit in range(t.size):
        for band in range(t.box_width):
            word = boards[digit, band]
            while word:
                grid[band * band_cells + _lowest_bit(word)] = digit + 1
                word &= word - 1
