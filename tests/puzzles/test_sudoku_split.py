"""Splits by solution grid, and the report of what two parts share."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzles.errors import DataError
from puzzles.sudoku.canonical import canonical_grid
from puzzles.sudoku.generator import generate
from puzzles.sudoku.split import overlap, split_by_grid
from puzzles.sudoku.symmetry import apply, random_symmetry


def families(sizes, size=9, seed=0):
    """Isomorphs of len(sizes) solution grids, so many of each, shuffled; and their family."""
    rng = np.random.default_rng(seed)
    family = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    _, grids = generate(len(sizes), size, seed)
    return apply(random_symmetry(len(family), size, rng), grids[family]), family


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32))
def test_families_are_never_torn(seed):
    sizes = np.random.default_rng(seed).integers(1, 5, size=20).tolist() + [1] * 4
    solutions, family = families(sizes, seed=seed)
    train, test = split_by_grid(solutions, 10, seed)
    assert len(test) == 10
    assert sorted([*train, *test]) == list(range(len(solutions)))
    assert not set(family[train]) & set(family[test])


def test_split_by_fraction_and_seed():
    solutions, _ = families([1] * 40)
    train, test = split_by_grid(solutions, 0.25, seed=1)
    assert (len(train), len(test)) == (30, 10)
    assert (split_by_grid(solutions, 0.25, seed=1)[1] == test).all()
    assert (split_by_grid(solutions, 0.25, seed=2)[1] != test).any()
    assert [len(part) for part in split_by_grid(solutions, 0, seed=1)] == [40, 0]
    assert [len(part) for part in split_by_grid(solutions, 1.0, seed=1)] == [0, 40]


def test_a_number_no_families_add_up_to_is_refused():
    solutions, _ = families([3, 3, 3])
    with pytest.raises(DataError, match=r"4 test rows .*\(3 classes in 9 rows\); ask for 3"):
        split_by_grid(solutions, 4, seed=0)


def test_wrong_arguments_are_refused():
    solutions, _ = families([1, 1])
    with pytest.raises(ValueError, match="0 to 2 rows"):
        split_by_grid(solutions, 3, seed=0)
    with pytest.raises(ValueError, match="fraction"):
        split_by_grid(solutions, 1.5, seed=0)
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


def test_a_split_has_no_overlap():
    solutions, _ = families([1, 2, 3, 4] * 6, size=9, seed=9)
    train, test = split_by_grid(solutions, 20, seed=0)
    report = overlap(solutions[train], solutions[test])
    assert report.shared_grids == report.test_rows_with_shared_grid == 0
    assert report.train_grids + report.test_grids == 24
