"""How good predictions are: cell, exact, valid and valid-shortest accuracy with standard errors.

Exact match asks for the label itself. A maze has many shortest paths and the label is one of them,
so exact also asks for the tie-break of the labels; `valid_shortest` does not.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Literal, NamedTuple

import numpy as np
from numba import njit

from puzzles.maze import rules as maze_rules
from puzzles.maze import search
from puzzles.maze.rules import FREE, GOAL, PATH, START, WALL
from puzzles.sudoku import rules as sudoku_rules

Kind = Literal["sudoku", "maze"]


@dataclass(frozen=True)
class Scores:
    """Scores of N predictions, one entry a puzzle.

    cell: share of all cells that equal the label, given cells included, float64 in [0, 1].
    exact: whether all do. valid: see `is_valid`. valid_shortest: valid and no longer than a
        shortest path; None for sudoku. All bool.
    """

    cell: np.ndarray
    exact: np.ndarray
    valid: np.ndarray
    valid_shortest: np.ndarray | None


class Metric(NamedTuple):
    """The mean of a score over n puzzles and its standard error."""

    mean: float
    stderr: float
    n: int


def score(kind: Kind, inputs: np.ndarray, labels: np.ndarray, predictions: np.ndarray) -> Scores:
    """Score predicted tokens (N, L) against questions and labels (N, L).

    Predictions may hold any integers. Raises ValueError for empty or mismatched arrays and for an
    unknown kind, DataError for malformed questions.
    """
    _check(kind, inputs=inputs, labels=labels, predictions=predictions)
    right = predictions == labels
    valid = is_valid(kind, inputs, predictions)
    shortest = None
    if kind == "maze":
        cells = np.count_nonzero(predictions == PATH, axis=1) + 2  # with S and G
        shortest = valid & (cells == search.path_cells(inputs))
    return Scores(right.mean(axis=1), right.all(axis=1), valid, shortest)


def is_valid(kind: Kind, inputs: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Whether each prediction (N, L) answers its question (N, L) by the rules; bool (N,).

    sudoku: every unit holds each digit once and the givens are kept.
    maze: the cells off the path are those of the question, and the `o` cells, all free in the
        question, join S to G as exactly one simple path: they have no branch, no loop, and no two
        of them touch unless they follow one another. Every shortest path is such a path.

    Raises ValueError for empty or mismatched arrays, DataError for malformed questions.
    """
    _check(kind, inputs=inputs, predictions=predictions)
    if kind == "maze":
        return _valid_mazes(inputs, predictions)
    size = sudoku_rules.geometry_of(inputs).size
    filled = (predictions >= 2) & (predictions <= size + 1)
    digits = np.where(filled, predictions - 1, 0).astype(np.uint8)  # 0, a blank, is never right
    kept = sudoku_rules.keeps_givens(sudoku_rules.from_tokens(inputs), digits)
    return kept & sudoku_rules.is_solution(digits)


def _valid_mazes(inputs: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    maze_rules.check_inputs(inputs)
    marked = (inputs == FREE) & (predictions == PATH)
    kept = (marked | (inputs == predictions)).all(axis=1)
    size = maze_rules.size_of(inputs)
    on_path = np.where(marked | (inputs == START) | (inputs == GOAL), inputs, WALL)
    joined = np.empty(len(inputs), dtype=np.bool_)
    _one_path(on_path.astype(np.uint8), size, search.offsets(size), joined)
    return kept & joined


@njit(cache=True, nogil=True)
def _one_path(on_path, size, steps, joined):
    """Whether the cells that are no walls form one path from S to G, for every row.

    S and G must touch one such cell, every other one two. A walk from S that meets these counts
    cannot branch or return, so it ends in G or at a fault; it must have met all cells.
    """
    framed = np.full((size + 2) * (size + 2), WALL, np.uint8)
    for n in range(len(on_path)):
        search.set_frame(on_path[n], size, framed)
        cell, previous, met = search.find(framed, START), -1, 1
        while True:
            touching, following = 0, -1
            for step in steps:
                if framed[cell + step] != WALL:
                    touching += 1
                    if cell + step != previous:
                        following = cell + step
            is_end = framed[cell] != FREE
            if touching != (1 if is_end else 2):
                joined[n] = False
                break
            if framed[cell] == GOAL:
                joined[n] = met == np.count_nonzero(on_path[n] != WALL)
                break
            previous, cell = cell, following
            met += 1


def summarise(scores: Scores) -> dict[str, Metric]:
    """Mean and standard error of cell, exact, valid and, for mazes, valid_shortest.

    The standard error is the standard deviation over the puzzles divided by sqrt(n), for a share
    of puzzles the binomial sqrt(p (1 - p) / n). It covers the choice of puzzles, not of seeds, and
    is 0 where all puzzles score alike. Raises ValueError for empty, mismatched or NaN scores.
    """
    arrays = {"cell": scores.cell, "exact": scores.exact, "valid": scores.valid}
    if scores.valid_shortest is not None:
        arrays["valid_shortest"] = scores.valid_shortest
    shapes = {name: np.shape(values) for name, values in arrays.items()}
    n = len(scores.cell)
    if n == 0 or set(shapes.values()) != {(n,)}:
        raise ValueError(f"scores must be arrays (N,) of one length N >= 1, got {shapes}")
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{name} scores hold NaN or infinity")
    return {
        name: Metric(float(np.mean(values)), float(np.std(values)) / sqrt(n), n)
        for name, values in arrays.items()
    }


def _check(kind: Kind, **arrays: np.ndarray) -> None:
    if kind not in ("sudoku", "maze"):
        raise ValueError(f'kind is "{kind}", expected "sudoku" or "maze"')
    shapes = {name: array.shape for name, array in arrays.items()}
    first = arrays["inputs"].shape
    if len(first) != 2 or 0 in first or set(shapes.values()) != {first}:
        raise ValueError(f"arrays must have one shape (N, L) and not be empty, got {shapes}")
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"{name} must hold integer tokens, got {array.dtype}")
