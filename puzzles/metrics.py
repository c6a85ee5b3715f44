"""How good predictions are: cell, exact, valid and valid-shortest accuracy with standard errors.

Exact match asks for the label itself. A maze has many shortest paths and the label is one of them,
so exact also asks for the tie-break of the labels; `valid_shortest` does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import NamedTuple

import numpy as np

from puzzles.errors import InputError
from puzzles.kinds import puzzle_of
from puzzles.puzzle_set import PAD


@dataclass(frozen=True)
class Scores:
    """Scores of N predictions, one entry a puzzle.

    cell: share of all cells with a label (PAD is none) that equal it, given cells included, float64
        in [0, 1].
    exact: whether all do. valid: see `is_valid`. more: what else the puzzle measures; mazes:
        valid_shortest, valid and no longer than a shortest path. All bool.
    """

    cell: np.ndarray
    exact: np.ndarray
    valid: np.ndarray
    more: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def valid_shortest(self) -> np.ndarray | None:
        """None but for mazes."""
        return self.more.get("valid_shortest")


class Metric(NamedTuple):
    """The mean of a score over n puzzles and its standard error."""

    mean: float
    stderr: float
    n: int


def score(kind: str, inputs: np.ndarray, labels: np.ndarray, predictions: np.ndarray) -> Scores:
    """Score predicted tokens, `predictions` (N, L), against questions, `inputs`, and labels (N, L).

    Predictions may hold any integers. Raises ValueError for empty or mismatched arrays and for an
    unknown kind, DataError for malformed questions.
    """
    _check(kind, inputs=inputs, labels=labels, predictions=predictions)
    cell, exact = agreement_with(labels, predictions)
    valid = is_valid(kind, inputs, predictions)
    more = puzzle_of(kind).more_scores(inputs, predictions, valid)
    return Scores(cell, exact, valid, more)


def agreement_with(labels: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of predictions against labels (..., L), which numpy may spread over them: the share of cells
    with a label that equal it, float64 (...), and whether all do, bool (...). PAD is no label, as
    in training."""
    scored = labels != PAD
    right = (predictions == labels) & scored
    counts = right.sum(axis=-1)
    of = scored.sum(axis=-1)
    return counts / of, counts == of


def is_valid(kind: str, inputs: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Whether each prediction (N, L) answers its question (N, L) by the rules; bool (N,).

    sudoku: every unit holds each digit once and the givens are kept.
    maze: the cells off the path are those of the question, and the `o` cells, all free in the
        question, join S to G as exactly one simple path: they have no branch, no loop, and no two
        of them touch unless they follow one another. Every shortest path is such a path.

    Raises ValueError for empty or mismatched arrays, DataError for malformed questions.
    """
    _check(kind, inputs=inputs, predictions=predictions)
    return puzzle_of(kind).validity(inputs, predictions)


def summarise(scores: Scores) -> dict[str, Metric]:
    """Mean and standard error of cell, exact, valid and what else the puzzle measures.

    The standard error is the standard deviation over the puzzles divided by sqrt(n), for a share
    of puzzles the binomial sqrt(p (1 - p) / n). It covers the choice of puzzles, not of seeds, and
    is 0 where all puzzles score alike. Raises ValueError for empty, mismatched or NaN scores, and
    where a further one has the name of these.
    """
    arrays = {"cell": scores.cell, "exact": scores.exact, "valid": scores.valid}
    if taken := arrays.keys() & scores.more.keys():
        raise InputError(f"more_scores: {min(taken)} is measured already; call it otherwise")
    arrays |= scores.more
    shapes = {name: np.shape(values) for name, values in arrays.items()}
    n = len(scores.cell)
    if n == 0 or set(shapes.values()) != {(n,)}:
        raise InputError(f"scores must be arrays (N,) of one length N >= 1, got {shapes}")
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise InputError(f"{name} scores hold NaN or infinity")
    return {
        name: Metric(float(np.mean(values)), float(np.std(values)) / sqrt(n), n)
        for name, values in arrays.items()
    }


def _check(kind: str, **arrays: np.ndarray) -> None:
    puzzle_of(kind)  # refused unless there is such a puzzle
    shapes = {name: array.shape for name, array in arrays.items()}
    first = arrays["inputs"].shape
    if len(first) != 2 or 0 in first or set(shapes.values()) != {first}:
        raise InputError(f"arrays must have one shape (N, L) and not be empty, got {shapes}")
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, np.integer):
            raise InputError(f"{name} must hold integer tokens, got {array.dtype}")
