"""Isomorphs of questions, and the way back: symmetries of a puzzle as test-time augmentation.

A model may be asked an image of a question under a symmetry of the puzzle and its answer mapped
back. Image 0 is the question itself. Further images of a sudoku are random, drawn from the
puzzle's own seed; a maze has its eight dihedral images, in order. Mapping back keeps the rules, but
not the tie-break of maze labels (see `puzzles.maze.symmetry`): score those by valid shortest paths.
"""

from dataclasses import dataclass

import numpy as np

from puzzles.maze import symmetry as maze_symmetry
from puzzles.puzzle_set import Kind, vocab_size_of
from puzzles.sudoku import symmetry as sudoku_symmetry


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
            raise ValueError(f"grids {grids.shape} do not fit maps of {self.cells.shape}")
        flat = grids.reshape(len(grids), -1, grids.shape[-1])
        moved = np.take_along_axis(flat, self.cells[:, None], axis=2)
        rows = np.arange(len(grids))[:, None, None]
        return self.tokens[rows, moved].reshape(grids.shape)

    def inverse(self) -> "Isomorphism":
        """The maps that undo these."""
        return Isomorphism(
            np.argsort(self.cells, axis=1), np.argsort(self.tokens, axis=1).astype(np.uint8)
        )


def isomorphism(kind: Kind, size: int, index: int, seeds: np.ndarray) -> Isomorphism:
    """Image number `index` of N puzzles, drawn from seeds uint64 (N,); 0 is the identity.

    ValueError for an index the puzzle has no image for: a maze has 8.
    """
    count, cells = len(seeds), np.arange(size * size)
    tokens = np.tile(np.arange(vocab_size_of(kind, size), dtype=np.uint8), (count, 1))
    if kind == "maze":
        moved = maze_symmetry.apply(cells[None], np.array([index]))
        return Isomorphism(np.tile(moved, (count, 1)), tokens)
    if index == 0:
        return Isomorphism(np.tile(cells, (count, 1)), tokens)
    drawn = sudoku_symmetry.seeded_symmetry(seeds, size)
    tokens[:, 1:] = drawn.digits + 1  # a blank, token 1, stays
    return Isomorphism(drawn.cells, tokens)
