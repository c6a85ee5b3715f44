"""Random minimal sudokus, and a search for harder ones.

A puzzle is minimal when taking away any given leaves more than one solution. Puzzle i of a seed
draws from its own stream, so it is the same whatever n is and however many threads share the work.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from puzzles.errors import InputError
from puzzles.rows import row_keys
from puzzles.sudoku import splitmix
from puzzles.sudoku.canonical import canonicalise
from puzzles.sudoku.rules import as_grids, geometry, geometry_of
from puzzles.sudoku.search import open_boards, place_givens, search, tables, write_digits
from puzzles.sudoku.solver import rate, solve_unique

# All minimal puzzles that there are, where they are few enough to be asked for: on the 288 grids of
# size 4, in 36 classes.
MINIMAL_PUZZLES = {4: 85_632}


@njit(cache=True)
def _needed(t, givens, digit, band, bit, stack, fixed, solved, rng):
    """Whether taking away this given admits a second solution.

    With the given gone and its digit forbidden in that cell, any solution at all is a second one:
    one satisfiability question instead of a count to two.
    """
    givens[digit, band] &= ~bit
    open_boards(t, givens, stack[0])
    stack[0, digit, band] &= ~bit
    found, _ = search(t, stack, fixed, solved, 1, rng, False)
    return found > 0


@njit(cache=True)
def _minimise(t, givens, order, stack, fixed, solved, rng):
    """Take away in random order every given that is not needed."""
    splitmix.shuffle(rng, order)
    band_cells = t.box_height * t.size
    for cell in order:
        band, bit = cell // band_cells, 1 << (cell % band_cells)
        for digit in range(t.size):
            if givens[digit, band] & bit:
                if _needed(t, givens, digit, band, bit, stack, fixed, solved, rng):
                    givens[digit, band] |= bit
                break


@njit(cache=True, nogil=True)
def _generate_batch(t, seed, first, puzzles, solutions):
    shape = (t.size, t.box_width)
    stack = np.empty((t.size * t.size + 1, t.size, t.box_width), dtype=np.int64)
    givens, fixed = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    solved = np.zeros(shape, dtype=np.int64)
    order = np.empty(t.size * t.size, dtype=np.int64)
    rng = np.empty(1, dtype=np.uint64)
    for n in range(len(puzzles)):
        splitmix.start(rng, seed, first + n)
        givens[:] = 0
        open_boards(t, givens, stack[0])
        search(t, stack, fixed, givens, 1, rng, True)
        write_digits(t, givens, solutions[n])
        for i in range(len(order)):
            order[i] = i
        _minimise(t, givens, order, stack, fixed, solved, rng)
        write_digits(t, givens, puzzles[n])


def generate(n: int, size: int, seed: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`n` random minimal puzzles with one solution: (puzzles, solutions), uint8 (n, L) digits.

    size: of `rules.geometry`. Items `first` to `first + n - 1` of the seed's sequence. A random
    full grid, then givens taken away in random order as long as the solution stays unique. Small
    sizes repeat: 4x4 has 288 solution grids.
    """
    if n < 0 or first < 0:
        raise InputError(f"n and first must not be negative, got n={n}, first={first}")
    cells = geometry(size).cells
    puzzles = np.zeros((n, cells), dtype=np.uint8)
    solutions = np.zeros((n, cells), dtype=np.uint8)
    _generate_batch(tables(size), splitmix.as_seed(seed), first, puzzles, solutions)
    return puzzles, solutions


# --- harder puzzles ----------------------------------------------------------------------------


@njit(cache=True)
def _recomplete(t, givens, order, stack, fixed, target, solved, rng):
    """Add givens of a random solution (`target`), in random order, until it is the only one."""
    open_boards(t, givens, stack[0])
    search(t, stack, fixed, target, 1, rng, True)
    splitmix.shuffle(rng, order)
    band_cells = t.box_height * t.size
    for cell in order:
        band, bit = cell // band_cells, 1 << (cell % band_cells)
        if (givens[:, band] & bit).any():
            continue
        open_boards(t, givens, stack[0])
        count, _ = search(t, stack, fixed, solved, 2, rng, False)
        if count == 1:
            return
        for digit in range(t.size):
            givens[digit, band] |= target[digit, band] & bit


@njit(cache=True, nogil=True)
def mutate_batch(t, seed, parents, fewest, most, children, solutions):
    """Write a child of every parent (N, L) and its solution: fewest to most givens dropped, random
    ones added until the solution is unique again, minimised. Child i draws from (seed, i), and
    shuffles the order of cells that the children before it left.

    t: tables of the size; parents: digits, each with one solution; children, solutions: uint8 (N,
    L), written to.
    """
    shape = (t.size, t.box_width)
    cells = t.size * t.size
    stack = np.empty((cells + 1, t.size, t.box_width), dtype=np.int64)
    givens, fixed = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    target, solved = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    order = np.arange(cells)
    rng = np.empty(1, dtype=np.uint64)
    for n in range(len(parents)):
        splitmix.start(rng, seed, n)
        child = children[n]
        child[:] = parents[n]
        splitmix.shuffle(rng, order)
        dropped = fewest + splitmix.below(rng, most - fewest + 1)
        for cell in order:
            if dropped and child[cell]:
                child[cell] = 0
                dropped -= 1
        place_givens(t, child, givens)
        _recomplete(t, givens, order, stack, fixed, target, solved, rng)
        write_digits(t, target, solutions[n])
        _minimise(t, givens, order, stack, fixed, solved, rng)
        child[:] = 0
        write_digits(t, givens, child)


class HardPool(NamedTuple):
    """What `search_hard` ends with: N puzzles, the hardest first."""

    puzzles: np.ndarray  # uint8 (N, L) digits
    solutions: np.ndarray  # uint8 (N, L) digits
    difficulty: np.ndarray  # float64 (N,), rated afresh: free of the bias of selection


def search_hard(pool: np.ndarray, rounds: int, seed: int, isomorphs: int = 10) -> HardPool:
    """Harder puzzles by evolving a pool (N, L) of puzzles with one solution.

    Each round gives every member a child: 2 or 3 givens dropped, random ones added until the
    solution is unique again, minimised, rated over `isomorphs` isomorphs. The N hardest of members
    and children remain; equivalent puzzles count once. rounds: how many, 0 or more; seed: of all
    that is drawn.
    """
    if rounds < 0:
        raise InputError(f"rounds must not be negative, got {rounds}")
    pool = as_grids(pool, "pool")
    rng = np.random.default_rng(seed)
    t = tables(geometry_of(pool).size)
    members = _rated(pool, solve_unique(pool, "pool, row {}".format), rng, isomorphs)
    for _ in range(rounds):
        children, solutions = np.empty_like(pool), np.empty_like(pool)
        mutation_seed = splitmix.as_seed(rng.integers(2**63))
        mutate_batch(t, mutation_seed, members.puzzles, 2, 3, children, solutions)
        members = members.rated_again(rng, isomorphs)
        candidates = members.join(_rated(children, solutions, rng, isomorphs))
        _, distinct = np.unique(candidates.keys, return_index=True)
        hardest = np.argsort(-candidates.difficulty[distinct], kind="stable")
        members = candidates.take(distinct[hardest[: len(pool)]])
    difficulty = rate(members.puzzles, int(rng.integers(2**63)), isomorphs)
    order = np.argsort(-difficulty, kind="stable")
    return HardPool(members.puzzles[order], members.solutions[order], difficulty[order])


class _Members(NamedTuple):
    """Rated puzzles during the search; `keys` are equal for equivalent puzzles."""

    puzzles: np.ndarray
    solutions: np.ndarray
    keys: np.ndarray
    difficulty: np.ndarray  # geometric mean over all ratings so far
    ratings: np.ndarray  # int64, their number

    def take(self, rows: np.ndarray) -> "_Members":
        return _Members(*(field[rows] for field in self))

    def join(self, other: "_Members") -> "_Members":
        return _Members(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))

    def rated_again(self, rng: np.random.Generator, isomorphs: int) -> "_Members":
        """Every member rated once more: those let in by a lucky rating fall back."""
        fresh = np.log1p(rate(self.puzzles, int(rng.integers(2**63)), isomorphs))
        mean = (np.log1p(self.difficulty) * self.ratings + fresh) / (self.ratings + 1)
        return self._replace(difficulty=np.expm1(mean), ratings=self.ratings + 1)


def _rated(
    puzzles: np.ndarray, solutions: np.ndarray, rng: np.random.Generator, isomorphs: int
) -> _Members:
    keys = row_keys(canonicalise(solutions, puzzles).puzzles)
    difficulty = rate(puzzles, int(rng.integers(2**63)), isomorphs)
    return _Members(puzzles, solutions, keys, difficulty, np.ones(len(puzzles), dtype=np.int64))
