"""Neighbours of hard sudokus: other puzzles, one given away, that are hard too.

Random minimal puzzles are easy, and hard ones lie close together: collectors of hard sudokus find
new ones by exchanging a given of a known one. A net that treats all symmetries of a puzzle alike
sees no more puzzles than its training set holds, however they are augmented; neighbours are more.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from puzzles.errors import InputError
from puzzles.parallel import Progress, map_rows
from puzzles.rows import row_keys
from puzzles.sudoku import splitmix
from puzzles.sudoku.canonical import canonicalise, classes_of
from puzzles.sudoku.generator import mutate_batch
from puzzles.sudoku.rules import as_grids, geometry_of
from puzzles.sudoku.search import tables
from puzzles.sudoku.solver import rate, solve_unique

MOST = 1000  # neighbours of one puzzle: what an hour on one core looks for
ENOUGH = 10.0  # guesses that make a neighbour hard, whatever its parent needs
_CHUNK = 20  # parents a thread works on at a time; the neighbours depend on it
TRIED = 1000  # most children looked at for each neighbour wanted
_AT_ONCE = 4096  # children made together


class Neighbours(NamedTuple):
    """M puzzles with their solutions, uint8 (M, L) digits, and the row of each one's parent."""

    puzzles: np.ndarray
    solutions: np.ndarray
    parents: np.ndarray  # int64 (M,), ascending


def neighbours(
    puzzles: np.ndarray,
    each: int,
    seed: int,
    *,
    enough: float = ENOUGH,
    exclude_solutions: np.ndarray | None = None,
    isomorphs: int = 10,
    progress: Progress | None = None,
) -> Neighbours:
    """Up to `each` neighbours of every puzzle (N, L), each with one solution.

    A child has one given of its parent dropped, random ones added until the solution is unique
    again (it may be another than the parent's), and every given that is not needed taken away. It
    is a neighbour if it needs as many guesses as its parent, or `enough` (`solver.rate`), its
    solution grid is in no class of `exclude_solutions` (K, L), and no equivalent puzzle was there
    before. A parent has fewer than `each` where TRIED children for each wanted do not hold them.

    puzzles: digits, the parents; seed: of all that is drawn; isomorphs: over which guesses are
    counted; progress: told of the parents done, and all of them, None: nobody is.

    ValueError for neighbours not 1 to MOST or a negative `enough`, DataError for a puzzle that has
    not one solution.
    """
    check_each(each)
    if not enough >= 0:
        raise InputError(f"enough is {enough}, expected guesses, 0 or more")
    puzzles = as_grids(puzzles, "puzzles")
    if progress is not None:
        progress(0, len(puzzles))
    solutions = solve_unique(puzzles, "puzzles, row {}".format)
    wanted = np.minimum(rate(puzzles, seed, isomorphs), enough)
    banned = classes_of(exclude_solutions)
    known = set(row_keys(canonicalise(solutions, puzzles).puzzles).tolist())
    work = partial(_of_chunk, puzzles, wanted, each, seed, banned, known, isomorphs)
    rows = map_rows(work, len(puzzles), progress, _CHUNK)
    # Parents of different chunks may have equivalent neighbours: the first stays.
    keys = row_keys(canonicalise(rows["solution"], rows["puzzle"]).puzzles)
    rows = rows[np.sort(np.unique(keys, return_index=True)[1])]
    return Neighbours(rows["puzzle"].copy(), rows["solution"].copy(), rows["parent"].copy())


def check_each(each: int) -> None:
    """ValueError for a number of neighbours that none can have."""
    if not 1 <= each <= MOST:
        raise InputError(f"neighbours of each puzzle is {each}, expected 1 to {MOST:,}")


def _of_chunk(
    puzzles: np.ndarray,
    wanted: np.ndarray,
    each: int,
    seed: int,
    banned: np.ndarray,
    known: set[bytes],
    isomorphs: int,
    chunk: slice,
) -> np.ndarray:
    """The neighbours of a chunk of parents, as records (puzzle, solution, parent), by parent.

    wanted (N,): guesses that each one's need; known: keys of puzzles that are no new ones.
    """
    cells = puzzles.shape[1]
    record = np.dtype([("puzzle", "u1", (cells,)), ("solution", "u1", (cells,)), ("parent", "i8")])
    t, known = tables(geometry_of(puzzles).size), set(known)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1, chunk.start)))
    missing = np.full(chunk.stop - chunk.start, each)
    left = len(missing) * each * TRIED
    found = []
    while missing.any() and left > 0:
        open_parents = np.flatnonzero(missing)
        parents = chunk.start + np.repeat(open_parents, -(-_AT_ONCE // len(open_parents)))
        left -= len(parents)
        children = np.empty((len(parents), cells), np.uint8)
        solutions = np.empty_like(children)
        draw = splitmix.as_seed(rng.integers(2**63))
        mutate_batch(t, draw, puzzles[parents], 1, 1, children, solutions)
        hard = rate(children, int(rng.integers(2**63)), isomorphs) >= wanted[parents]
        children, solutions, parents = children[hard], solutions[hard], parents[hard]
        forms = canonicalise(solutions, children)
        allowed = ~np.isin(row_keys(forms.solutions), banned)
        for row, key in enumerate(row_keys(forms.puzzles).tolist()):
            place = parents[row] - chunk.start
            if allowed[row] and missing[place] and key not in known:
                known.add(key)
                missing[place] -= 1
                found.append(np.array((children[row], solutions[row], parents[row]), record))
    rows = np.array(found, record)
    return rows[np.argsort(rows["parent"], kind="stable")]
