"""Isomorphs of questions, and the way back: symmetries of a puzzle as test-time augmentation.

A model may be asked an image of a question under a symmetry of the puzzle and its answer mapped
back. Image 0 is the question itself. Further images of a sudoku are random, drawn from the
puzzle's own seed; a maze has its eight dihedral images, in order. Mapping back keeps the rules, but
not the tie-break of maze labels (see `puzzles.maze.symmetry`): score those by valid shortest paths.
"""

from dataclasses import dataclass

import numpy as np

from puzzles.errors import InputError
from puzzles.kinds import puzzle_of


@dataclass(frozen=True)
class Isomorphism:
    """N maps of token grids: out[n, i] = tokens[n, grid[n, cells[n, i]]].

    cells (N, L): the cell that each cell is taken from; tokens uint8 (N, V): each token's image.
    """

    cells: np.ndarray
    tokens: np.ndarray

    def __call__(self, grids: np.ndarray) -> np.ndarray:
        """Images of grids (N, ..., L), row n's all under map n. ValueError if they do not fit."""
        if grids.ndim < 2 or (len(grids), grids.shape[-1]) != self.cells.shape:
            raise InputError(f"grids {grids.shape} do not fit maps of {self.cells.shape}")
        flat = grids.reshape(len(grids), -1, grids.shape[-1])
        moved = np.take_along_axis(flat, self.cells[:, None], axis=2)
        rows = np.arange(len(grids))[:, None, None]
        return self.tokens[rows, moved].reshape(grids.shape)

    def inverse(self) -> "Isomorphism":
        """The maps that undo these."""
        return Isomorphism(
            np.argsort(self.cells, axis=1), np.argsort(self.tokens, axis=1).astype(np.uint8)
        )


def isomorphism(kind: str, size: int, index: int, seeds: np.ndarray) -> Isomorphism:
    """Image number `index` of N puzzles, drawn from seeds uint64 (N,); 0 is the identity.

    kind, size: of all of them. ValueError for an index the puzzle has no image for: a maze has 8.
    """
    puzzle = puzzle_of(kind)
    if index:
        return Isomorphism(*puzzle.image(size, index, seeds))
    cells, tokens = np.arange(size * size), np.arange(puzzle.vocabulary(size), dtype=np.uint8)
    return Isomorphism(np.tile(cells, (len(seeds), 1)), np.tile(tokens, (len(seeds), 1)))
