"""Canonical forms: invariant, least, and separating exactly the classes that exist."""

import sys
from itertools import permutations
from math import factorial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzles.errors import DataError
from puzzles.sudoku.canonical import canonical_grid, canonical_puzzle, canonicalise
from puzzles.sudoku.generator import generate
from puzzles.sudoku.symmetry import apply, group_order, random_symmetry

sys.path.insert(0, str(Path(__file__).parent))
import sudoku_oracle as oracle


def orbit_4x4(grid):
    """Every image of a 4x4 grid under the 3,072 symmetries, (3072, 16)."""
    cells = np.array(oracle.cell_symmetries(4))
    digits = np.array([(0, *order) for order in permutations(range(1, 5))])
    return digits[:, np.asarray(grid)[cells]].reshape(-1, 16)


def test_4x4_grids_fall_into_two_classes_with_the_least_image_as_form():
    grids = np.array(oracle.solutions([0] * 16, 4), dtype=np.uint8)
    form = canonicalise(grids)
    for row in (0, 1, 50, 123, 287):
        assert tuple(form.solutions[row].tolist()) == min(
            map(tuple, orbit_4x4(grids[row]).tolist())
        )
    least, rows, sizes = np.unique(form.solutions, axis=0, return_index=True, return_counts=True)
    assert len(least) == 2
    assert (sizes * form.automorphisms[rows] == group_order(4)).all()


def test_4x4_puzzles_have_equal_forms_exactly_in_one_orbit():
    puzzles, _ = generate(60, 4, seed=1)
    forms = [tuple(form) for form in canonical_puzzle(puzzles).tolist()]
    orbits = [min(map(tuple, orbit_4x4(puzzle).tolist())) for puzzle in puzzles]
    assert len(set(forms)) == len(set(orbits)) == len(set(zip(forms, orbits, strict=True)))
    assert 1 < len(set(forms)) < 60


def test_6x6_grids_fall_into_49_classes_that_make_up_every_grid():
    # All grids with first row 1..6, by backtracking; relabelling gives the rest.
    grids = np.array(oracle.solutions([1, 2, 3, 4, 5, 6] + [0] * 30, 6), dtype=np.uint8)
    form = canonicalise(grids)
    _, rows, sizes = np.unique(form.solutions, axis=0, return_index=True, return_counts=True)
    assert len(rows) == 49
    # Orbit and stabiliser, class by class.
    assert (sizes * factorial(6) * form.automorphisms[rows] == group_order(6)).all()
    assert sizes.sum() * factorial(6) == 28_200_960


def test_9x9_form_of_a_grid_with_many_automorphisms():
    # The most canonical grid of all (Russell and Jarvis 2006): 648 symmetries, the most there are.
    text = "123456789456789123789123456231564897564897231897231564312645978645978312978312645"
    grid = np.array([[int(character) for character in text]], dtype=np.uint8)
    form = canonicalise(grid)
    assert (form.solutions == grid).all()
    assert form.automorphisms[0] == 648


@settings(deadline=None, max_examples=25)
@given(st.sampled_from([4, 6, 9]), st.integers(0, 2**63))
def test_forms_are_invariant_and_idempotent(size, seed):
    puzzles, solutions = generate(8, size, seed)
    symmetry = random_symmetry(8, size, np.random.default_rng(seed))
    form = canonicalise(solutions, puzzles)
    assert (canonical_grid(apply(symmetry, solutions)) == form.solutions).all()
    assert (canonical_puzzle(apply(symmetry, puzzles)) == form.puzzles).all()
    assert (canonical_grid(form.solutions) == form.solutions).all()
    assert (canonical_puzzle(form.puzzles) == form.puzzles).all()


@settings(deadline=None, max_examples=25)
@given(st.sampled_from([4, 6, 9]), st.integers(0, 2**63))
def test_no_random_image_is_less_than_the_form(size, seed):
    _, solutions = generate(1, size, seed)
    form = canonical_grid(solutions)[0].tobytes()
    symmetry = random_symmetry(300, size, np.random.default_rng(seed))
    images = apply(symmetry, np.repeat(solutions, 300, axis=0))
    assert min(image.tobytes() for image in images) >= form


def test_9x9_form_is_an_image_of_the_puzzle():
    puzzles, solutions = generate(20, 9, seed=4)
    form = canonicalise(solutions, puzzles)
    assert ((form.puzzles > 0).sum(axis=1) == (puzzles > 0).sum(axis=1)).all()
    assert ((form.puzzles == 0) | (form.puzzles == form.solutions)).all()


def test_distinct_random_9x9_grids_have_distinct_forms():
    _, solutions = generate(300, 9, seed=5)  # of 5.47e9 classes
    assert len(np.unique(canonical_grid(solutions), axis=0)) == 300


def test_bad_input_is_refused_with_the_row():
    _, solutions = generate(3, 9, seed=6)
    solutions[2, 0] = solutions[2, 1]
    with pytest.raises(DataError, match="solutions, row 2: not a solution grid"):
        canonical_grid(solutions)
    with pytest.raises(DataError, match="puzzles, row 0: more than one solution"):
        canonical_puzzle(np.zeros((1, 81), dtype=np.uint8))
