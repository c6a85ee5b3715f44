"""The symmetry group: its elements, its order, and what it preserves."""

import sys
from collections import Counter
from math import factorial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzles.sudoku import rules, solver, symmetry
from puzzles.sudoku.generator import generate

sys.path.insert(0, str(Path(__file__).parent))
import sudoku_oracle as oracle

seeds = st.integers(0, 2**63)
sizes = st.sampled_from([4, 6, 9])


def test_group_order_of_9x9_is_the_published_one():
    assert symmetry.group_order(9) == 2 * 6**8 * factorial(9) == 1_218_998_108_160


def test_group_order_and_elements_of_4x4_by_brute_force():
    expected = set(oracle.cell_symmetries(4))
    assert symmetry.group_order(4) == len(expected) * factorial(4)
    drawn = symmetry.random_symmetry(20_000, 4, np.random.default_rng(0))
    assert set(map(tuple, drawn.cells.tolist())) == expected
    elements = Counter(
        (tuple(cells), tuple(digits))
        for cells, digits in zip(drawn.cells.tolist(), drawn.digits.tolist(), strict=True)
    )
    # Uniform over the group: chi-square of 20,000 draws over 3,072 elements, mean 3,071, sd 78.
    mean = 20_000 / 3072
    chi2 = sum((n - mean) ** 2 / mean for n in elements.values())
    chi2 += (3072 - len(elements)) * mean
    assert abs(chi2 - 3071) < 5 * 78


def test_group_order_of_6x6_by_brute_force():
    # Row orders and column orders act independently, and no transposition keeps 2x3 boxes.
    assert symmetry.group_order(6) == 48 * 72 * factorial(6)
    drawn = symmetry.random_symmetry(60_000, 6, np.random.default_rng(0)).cells
    assert len(np.unique(drawn, axis=0)) == 48 * 72


@settings(deadline=None, max_examples=60)
@given(sizes, seeds)
def test_units_map_to_units(size, seed):
    drawn = symmetry.random_symmetry(1, size, np.random.default_rng(seed))
    units = {frozenset(unit) for unit in oracle.units(size)}
    image = drawn.cells[0]
    assert {frozenset(image[list(unit)].tolist()) for unit in units} == units
    assert sorted(drawn.digits[0].tolist()) == list(range(size + 1))
    assert drawn.digits[0, 0] == 0


@settings(deadline=None, max_examples=40)
@given(sizes, seeds)
def test_an_inverse_undoes(size, seed):
    rng = np.random.default_rng(seed)
    grids = rng.integers(0, size + 1, size=(3, size * size), dtype=np.uint8)
    drawn = symmetry.random_symmetry(3, size, rng)
    assert (symmetry.apply(symmetry.inverse(drawn), symmetry.apply(drawn, grids)) == grids).all()


@settings(deadline=None, max_examples=40)
@given(sizes, seeds)
def test_solution_counts_are_preserved(size, seed):
    rng = np.random.default_rng(seed)
    puzzles, solutions = generate(4, size, seed)
    puzzles[rng.random(puzzles.shape) < 0.1] = 0  # some lose uniqueness
    drawn = symmetry.random_symmetry(4, size, rng)
    images = symmetry.apply(drawn, puzzles)
    assert (solver.solve(images, 20).count == solver.solve(puzzles, 20).count).all()
    assert rules.is_solution(symmetry.apply(drawn, solutions)).all()


@pytest.mark.parametrize("size", [4, 6, 9])
def test_augment_moves_input_and_label_together(size):
    puzzles, solutions = generate(500, size, seed=1)
    inputs, labels = symmetry.augment(
        rules.to_tokens(puzzles), rules.to_tokens(solutions), np.random.default_rng(2)
    )
    new_puzzles, new_solutions = rules.from_tokens(inputs), rules.from_tokens(labels)
    assert (solver.solve_unique(new_puzzles) == new_solutions).all()
    assert (inputs != rules.to_tokens(puzzles)).any(axis=1).mean() > 0.99
    assert ((new_puzzles > 0).sum(axis=1) == (puzzles > 0).sum(axis=1)).all()


def test_augment_leaves_padding_and_its_arguments_alone():
    tokens = np.zeros((4, 81), dtype=np.uint8)
    puzzles = rules.to_tokens(generate(4, 9, seed=3)[0])
    before = puzzles.copy()
    inputs, labels = symmetry.augment(puzzles, tokens, np.random.default_rng(0))
    assert (labels == 0).all()
    assert (puzzles == before).all()
    assert inputs.dtype == labels.dtype == np.uint8


def test_augment_owns_its_generator():
    puzzles, solutions = (rules.to_tokens(grid) for grid in generate(20, 9, seed=3))
    first, again, other = (
        symmetry.augment(puzzles, solutions, np.random.default_rng(seed))[0] for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_wrong_shapes_are_refused():
    drawn = symmetry.random_symmetry(2, 9, np.random.default_rng(0))
    with pytest.raises(ValueError, match="do not fit"):
        symmetry.apply(drawn, np.zeros((3, 81), dtype=np.uint8))
    with pytest.raises(ValueError, match="must both have shape"):
        symmetry.augment(
            np.zeros((2, 81), np.uint8), np.zeros((3, 81), np.uint8), np.random.default_rng(0)
        )
