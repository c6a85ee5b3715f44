"""Random minimal puzzles: proper, minimal, reproducible, distributed as expected."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzles.errors import DataError
from puzzles.sudoku import rules, solver
from puzzles.sudoku.canonical import canonical_puzzle
from puzzles.sudoku.generator import generate, search_hard

sys.path.insert(0, str(Path(__file__).parent))
import sudoku_oracle as oracle


def test_4x4_puzzles_are_minimal_by_brute_force():
    puzzles, solutions = generate(40, 4, seed=1)
    for puzzle, solution in zip(puzzles.tolist(), solutions.tolist(), strict=True):
        assert oracle.solutions(puzzle, 4) == [tuple(solution)]
        for cell in np.flatnonzero(puzzle):
            fewer = puzzle.copy()
            fewer[cell] = 0
            assert len(oracle.solutions(fewer, 4)) > 1


@settings(deadline=None, max_examples=20)
@given(st.sampled_from([6, 9]), st.integers(-(2**70), 2**70))
def test_puzzles_are_proper_and_minimal(size, seed):
    puzzles, solutions = generate(3, size, seed)
    result = solver.solve(puzzles)
    assert (result.count == 1).all()
    assert (result.solution == solutions).all()
    for puzzle in puzzles:
        fewer = np.repeat(puzzle[None], np.count_nonzero(puzzle), axis=0)
        fewer[np.arange(len(fewer)), np.flatnonzero(puzzle)] = 0
        assert (solver.solve(fewer).count == 2).all()


def test_distribution_of_random_minimal_9x9():
    puzzles, solutions = generate(1500, 9, seed=2)
    clues = (puzzles > 0).sum(axis=1)
    assert abs(clues.mean() - 24.4) < 0.15
    assert abs((solver.solve(puzzles).guesses == 0).mean() - 0.54) < 0.05
    # Every digit is as frequent in every cell: 1,500 grids, 167 expected, sd 12.
    counts = np.array([np.bincount(column, minlength=10)[1:] for column in solutions.T])
    assert abs(counts - 1500 / 9).max() < 6 * 12


def test_distribution_of_random_minimal_6x6():
    puzzles, _ = generate(1500, 6, seed=2)
    assert abs((puzzles > 0).sum(axis=1).mean() - 10.1) < 0.1


@pytest.mark.parametrize("size", [4, 6, 9])
def test_an_item_depends_on_seed_and_index_alone(size):
    puzzles, solutions = generate(20, size, seed=3)
    head, _ = generate(5, size, seed=3)
    tail, tail_solutions = generate(12, size, seed=3, first=8)
    assert (head == puzzles[:5]).all()
    assert (tail == puzzles[8:]).all()
    assert (tail_solutions == solutions[8:]).all()
    assert (generate(20, size, seed=4)[0] != puzzles).any()


GOLDEN = {
    4: "4.3..3.2..2.....",
    6: "1.....5.6......6....4..1.1.4.....5.2",
    9: "5...4.9..4.6...1...1.9.5.....8...5323...6..4............5.......6.4..81....13..5.",
}


@pytest.mark.parametrize("size", [4, 6, 9])
def test_the_bytes_of_a_seed_stay_what_they_are(size):
    assert rules.format_grid(generate(1, size, seed=0, first=5)[0][0]) == GOLDEN[size]


def test_search_finds_harder_puzzles():
    start, _ = generate(60, 9, seed=5)
    pool = search_hard(start, rounds=12, seed=1, isomorphs=5)
    assert (solver.solve_unique(pool.puzzles) == pool.solutions).all()
    assert len(np.unique(canonical_puzzle(pool.puzzles), axis=0)) == 60
    # Rated by a seed of our own, so luck in the search's ratings does not count.
    before, after = (solver.rate(puzzles, seed=77).mean() for puzzles in (start, pool.puzzles))
    assert after > 2 * before
    assert abs(pool.difficulty.mean() - after) < 0.25 * after
    assert (np.diff(pool.difficulty) <= 0).all()


def test_search_owns_its_seed_and_leaves_its_argument_alone():
    start, _ = generate(10, 6, seed=5)
    before = start.copy()
    first, again = (search_hard(start, 3, seed=1, isomorphs=2) for _ in range(2))
    assert (first.puzzles == again.puzzles).all()
    assert (first.difficulty == again.difficulty).all()
    assert (start == before).all()
    assert (search_hard(start, 3, seed=2, isomorphs=2).puzzles != first.puzzles).any()


def test_search_refuses_improper_pools():
    pool, _ = generate(3, 9, seed=6)
    pool[1] = 0
    with pytest.raises(DataError, match="pool, row 1: more than one solution"):
        search_hard(pool, 1, seed=0)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="not supported"):
        generate(1, 8, seed=0)
    with pytest.raises(ValueError, match="negative"):
        generate(-1, 9, seed=0)
