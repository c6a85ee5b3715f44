"""The symmetries of a square maze: the dihedral group of order 8.

Elements are 0 to 7: element e turns the maze by e % 4 quarter turns counter-clockwise, then
mirrors it left to right if e >= 4. Element 0 is the identity.

A map of a question keeps the length of its shortest paths but not which of them comes first in
the move order of `search.label`: a mapped label is a shortest path, mostly not the published one.
So `augment` maps the question and labels it afresh.
"""

from functools import cache

import numpy as np

from puzzles.errors import InputError
from puzzles.maze.rules import size_of

ORDER = 8


@cache
def _sources(size: int) -> np.ndarray:
    """(8, L): the cell that each cell of the image is taken from."""
    grid = np.arange(size * size).reshape(size, size)
    turns = [np.rot90(grid, k) for k in range(4)]
    sources = np.stack([*turns, *(np.fliplr(turn) for turn in turns)]).reshape(ORDER, -1)
    sources.flags.writeable = False  # shared by every caller
    return sources


def apply(inputs: np.ndarray, elements: np.ndarray) -> np.ndarray:
    """Images (N, L) of grids (N, L) under one element (N,) of 0..7 each; ValueError for others."""
    elements = np.asarray(elements)
    if inputs.ndim != 2 or elements.shape != (len(inputs),):
        raise InputError(
            f"need grids (N, L) and elements (N,), got {inputs.shape} {elements.shape}"
        )
    if len(elements) and not 0 <= elements.min() <= elements.max() < ORDER:
        raise InputError(f"elements must be 0 to 7, got {elements.min()} to {elements.max()}")
    return np.take_along_axis(inputs, _sources(size_of(inputs))[elements], axis=1)


def inverse(elements: np.ndarray) -> np.ndarray:
    """The elements (N,) that undo these: a turn back for a turn; a reflection undoes itself."""
    elements = np.asarray(elements)
    return np.where(elements < 4, -elements % 4, elements)


def augment(
    inputs: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Questions (N, L) under uniformly random elements, with the first shortest paths of those.

    The labels given only have to match the inputs in shape: new ones are searched.
    """
    if inputs.shape != labels.shape or inputs.ndim != 2:
        raise InputError(
            f"inputs {inputs.shape} and labels {labels.shape} must both have shape (N, L)"
        )
    from puzzles.maze.search import label  # numba with it; see `puzzles.maze.puzzle`

    images = apply(inputs, rng.integers(0, ORDER, size=len(inputs)))
    return images, label(images)
