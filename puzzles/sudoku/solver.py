"""Solve, check and rate puzzles exactly: solutions up to a limit, guesses to the first."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit

from puzzles.errors import DataError, InputError
from puzzles.sudoku.rules import as_grids, geometry_of
from puzzles.sudoku.search import open_boards, place_givens, search, tables, write_digits
from puzzles.sudoku.symmetry import apply, random_symmetry


@njit(cache=True, nogil=True)
def _solve_batch(t, puzzles, limit, counts, guesses, solutions):
    bands = t.box_width
    stack = np.empty((t.size * t.size + 1, t.size, bands), dtype=np.int64)
    givens = np.empty((t.size, bands), dtype=np.int64)
    fixed = np.zeros((t.size, bands), dtype=np.int64)
    solved = np.empty((t.size, bands), dtype=np.int64)
    rng = np.zeros(1, dtype=np.uint64)
    for n in range(len(puzzles)):
        place_givens(t, puzzles[n], givens)
        if open_boards(t, givens, stack[0]):
            counts[n], guesses[n] = search(t, stack, fixed, solved, limit, rng, False)
            if counts[n]:
                write_digits(t, solved, solutions[n])


class SolveResult(NamedTuple):
    """What `solve` found, for each of N puzzles."""

    count: np.ndarray  # int32 (N,), number of solutions, counted up to the limit
    guesses: np.ndarray  # int64 (N,), guesses made before the first solution (all, if none)
    solution: np.ndarray  # uint8 (N, L), the first solution found, zeros if there is none


def solve(puzzles: np.ndarray, limit: int = 2) -> SolveResult:
    """Solve puzzles (N, L) in digit form, counting solutions up to `limit`.

    Contradictory givens simply have count 0; see `solve_unique` for an answer or an error.
    """
    if limit < 1:
        raise InputError(f"limit must be at least 1, got {limit}")
    puzzles = as_grids(puzzles, "puzzles")
    counts = np.zeros(len(puzzles), dtype=np.int32)
    guesses = np.zeros(len(puzzles), dtype=np.int64)
    solutions = np.zeros_like(puzzles)
    t = tables(geometry_of(puzzles).size)
    _solve_batch(t, puzzles, limit, counts, guesses, solutions)
    return SolveResult(counts, guesses, solutions)


def solve_unique(
    puzzles: np.ndarray, place: Callable[[int], str] = "puzzles, row {}".format
) -> np.ndarray:
    """The solutions (N, L) of puzzles that have exactly one.

    Raises DataError, with the place (a name for a row index) of the first row whose givens
    contradict each other, or that has no solution, or more than one.
    """
    puzzles = as_grids(puzzles, "puzzles")
    result = solve(puzzles, limit=2)
    bad = np.flatnonzero(result.count != 1)
    if len(bad):
        row = int(bad[0])
        others = f" ({len(bad)} such rows)" if len(bad) > 1 else ""
        reason = why_not_unique(puzzles[row], int(result.count[row]))
        raise DataError(f"{place(row)}: {reason}; remove the row or correct it{others}")
    return result.solution


def two_solutions(puzzle: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Two different solutions (L,) of a puzzle (L,) in digit form; None if it has fewer."""
    found = solve(puzzle[None], limit=2)
    if found.count[0] < 2:
        return None
    first, size = found.solution[0], geometry_of(puzzle).size
    # A second one has another digit in some blank: ask for every such digit.
    blanks = np.flatnonzero(puzzle == 0)
    cells, digits = np.repeat(blanks, size), np.tile(np.arange(1, size + 1), len(blanks))
    cells, digits = (values[digits != first[cells]] for values in (cells, digits))
    tried = np.repeat(puzzle[None], len(cells), axis=0)
    tried[np.arange(len(cells)), cells] = digits
    others = solve(tried, limit=1)
    return first, others.solution[int(np.argmax(others.count > 0))]


def why_not_unique(puzzle: np.ndarray, count: int) -> str:
    """Why a puzzle (L,) with `count` solutions (0, or 2 for more than one) is refused."""
    if count > 1:
        return "more than one solution"
    geo = geometry_of(puzzle)
    for number, unit in enumerate(geo.units):
        given = puzzle[unit][puzzle[unit] > 0]
        repeated = np.flatnonzero(np.bincount(given) > 1)
        if len(repeated):
            kind = ("row", "column", "box")[number // geo.size]
            place = f"{kind} {number % geo.size + 1}"
            return f"contradictory givens, digit {repeated[0]} stands twice in {place}"
    return "no solution"


def rate(puzzles: np.ndarray, seed: int, isomorphs: int = 10) -> np.ndarray:
    """Difficulty, float64 (N,): the geometric mean of guesses over random isomorphs.

    exp(mean(log(1 + guesses))) - 1. One isomorph alone says little: the guesses of the isomorphs
    of one puzzle range over two orders of magnitude. The isomorphs of puzzle i depend on the
    seed, i and the number of puzzles.
    """
    if isomorphs < 1:
        raise InputError(f"isomorphs must be at least 1, got {isomorphs}")
    puzzles = as_grids(puzzles, "puzzles")
    rng = np.random.default_rng(seed)
    total = np.zeros(len(puzzles))
    for _ in range(isomorphs):
        symmetry = random_symmetry(len(puzzles), geometry_of(puzzles).size, rng)
        total += np.log1p(solve(apply(symmetry, puzzles), limit=1).guesses)
    return np.expm1(total / isomorphs)
