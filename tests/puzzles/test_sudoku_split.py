"""The report of what two parts share."""

import numpy as np
import pytest

from puzzles.sudoku.canonical import canonical_grid
from puzzles.sudoku.generator import generate
from puzzles.sudoku.split import overlap
from puzzles.sudoku.symmetry import apply, random_symmetry


def test_puzzles_of_one_part_alone_are_refused():
    _, solutions = generate(2, 9, seed=0)
    with pytest.raises(ValueError, match="both parts"):
        overlap(solutions, solutions, train_puzzles=solutions)


def test_overlap_counts_what_was_planted():
    rng = np.random.default_rng(0)
    puzzles, solutions = generate(12, 9, seed=3)
    assert len(np.unique(canonical_grid(solutions), axis=0)) == 12
    images = random_symmetry(12, 9, rng)
    moved_puzzles, moved = apply(images, puzzles), apply(images, solutions)
    # Train holds grids 0-7. Test holds 6 twice and 7 (shared), 8-11 (new). Puzzle 7 gets one more
    # given, so only puzzle 6 is shared.
    blank = np.flatnonzero(moved_puzzles[7] == 0)[0]
    moved_puzzles[7, blank] = moved[7, blank]
    test = [6, 6, 7, 8, 9, 10, 11]
    report = overlap(solutions[:8], moved[test], puzzles[:8], moved_puzzles[test])
    assert (report.train_grids, report.test_grids) == (8, 6)
    assert (report.shared_grids, report.test_rows_with_shared_grid) == (2, 3)
    assert (report.shared_puzzles, report.test_rows_with_shared_puzzle) == (1, 2)
    assert overlap(solutions[:8], moved[test]).shared_puzzles is None
