"""The solver against a plain backtracking solver, and its refusals."""

import csv
import gzip
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from puzzles.errors import DataError
from puzzles.sudoku import rules, solver
from puzzles.sudoku.generator import generate
from puzzles.sudoku.symmetry import apply, random_symmetry

sys.path.insert(0, str(Path(__file__).parent))
import sudoku_oracle as oracle

# Two published puzzles: Inkala's "AI Escargot" (2006) and the first of Royle's 17-clue list.
ESCARGOT = "1....7.9..3..2...8..96..5....53..9...1..8...26....4...3......1..4......7..7...3.."
SEVENTEEN = "000000010400000000020000000000050407008000300001090000300400200050100000000806000"
EASY = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"


def test_the_empty_4x4_grid_has_288_solutions():
    empty = np.zeros((1, 16), dtype=np.uint8)
    assert len(oracle.solutions(empty[0].tolist(), 4)) == 288
    assert solver.solve(empty, limit=1000).count[0] == 288
    assert solver.solve(empty, limit=7).count[0] == 7


def test_counts_equal_brute_force_on_any_4x4_givens():
    rng = np.random.default_rng(0)
    puzzles = rng.integers(1, 5, size=(300, 16)) * (rng.random((300, 16)) < 0.2)
    result = solver.solve(puzzles, limit=1000)
    for row, puzzle in enumerate(puzzles.tolist()):
        found = oracle.solutions(puzzle, 4)
        assert result.count[row] == len(found)
        assert tuple(result.solution[row].tolist()) in (found or [(0,) * 16])
    assert (result.count == 0).any()  # the sample holds contradictions,
    assert (result.count == 1).any()  # proper puzzles,
    assert (result.count > 1).any()  # and open ones


@pytest.mark.parametrize(("size", "removed"), [(6, 3), (9, 4)])
def test_counts_equal_brute_force_after_taking_givens_from_minimal_puzzles(size, removed):
    puzzles, solutions = generate(12, size, seed=4)
    assert solver.solve(puzzles).count.tolist() == [1] * 12
    rng = np.random.default_rng(1)
    for puzzle in puzzles:
        puzzle[rng.choice(np.flatnonzero(puzzle), removed, replace=False)] = 0
    if size == 9:  # keep brute force short: give it a sixth of the solution back
        hint = rng.random(puzzles.shape) < 0.17
        puzzles = np.where(hint, solutions, puzzles)
    counts = solver.solve(puzzles, limit=50).count
    expected = [len(oracle.solutions(puzzle, size, limit=50)) for puzzle in puzzles.tolist()]
    assert counts.tolist() == expected
    assert max(expected) > 1


@pytest.mark.parametrize("size", [4, 6, 9])
def test_guesses_equal_the_plain_set_solver(size):
    puzzles, _ = generate({4: 10, 6: 40, 9: 12}[size], size, seed=2)
    if size == 9:
        puzzles = np.concatenate([puzzles, [rules.parse(ESCARGOT)]])
    expected = [oracle.guesses(puzzle, size) for puzzle in puzzles.tolist()]
    assert solver.solve(puzzles).guesses.tolist() == expected
    assert size == 4 or max(expected) > 0


def test_guesses_to_the_first_solution_do_not_depend_on_the_limit():
    puzzles, _ = generate(200, 9, seed=3)
    one, two = solver.solve(puzzles, limit=1), solver.solve(puzzles, limit=2)
    assert (one.guesses == two.guesses).all()
    assert (one.solution == two.solution).all()


def test_published_puzzles():
    puzzles = np.stack([rules.parse(text) for text in (EASY, ESCARGOT, SEVENTEEN)])
    result = solver.solve(puzzles)
    assert result.count.tolist() == [1, 1, 1]
    assert rules.is_solution(result.solution).all()
    assert rules.keeps_givens(puzzles, result.solution).all()
    assert result.guesses[0] == 0
    assert result.guesses[1] > 3


def test_solve_takes_an_empty_batch():
    assert solver.solve(np.zeros((0, 81), dtype=np.uint8)).solution.shape == (0, 81)


def test_rate_is_the_geometric_mean_over_isomorphs():
    puzzle = rules.parse(ESCARGOT)
    copies = np.repeat(puzzle[None], 600, axis=0)
    symmetry = random_symmetry(600, 9, np.random.default_rng(5))
    logs = np.log1p(solver.solve(apply(symmetry, copies)).guesses)
    rated = np.log1p(solver.rate(copies[:60], seed=6, isomorphs=10))
    spread = np.hypot(logs.std() / 600**0.5, rated.std() / 60**0.5)
    assert abs(logs.mean() - rated.mean()) < 4 * spread
    assert rated.std() < 0.6 * logs.std()  # ten isomorphs rate better than one: 1 / sqrt(10)
    assert solver.rate(rules.parse(EASY), seed=0).tolist() == [0.0]


def test_rate_owns_its_seed():
    puzzles, _ = generate(50, 9, seed=8)
    assert (solver.rate(puzzles, seed=1) == solver.rate(puzzles, seed=1)).all()
    assert (solver.rate(puzzles, seed=1) != solver.rate(puzzles, seed=2)).any()


@pytest.mark.parametrize(
    ("row", "cells", "message"),
    [
        (0, {0: 5, 4: 5}, "digit 5 stands twice in row 1"),
        (1, {0: 5, 45: 5}, "digit 5 stands twice in column 1"),
        (2, {30: 7, 40: 7}, "digit 7 stands twice in box 5"),
        (1, {0: 5}, "more than one solution"),
        (2, dict(zip(range(8), range(1, 9), strict=True)) | {17: 9}, "no solution"),
    ],
)
def test_improper_puzzles_are_refused_with_row_and_reason(row, cells, message):
    puzzles, _ = generate(3, 9, seed=9)
    puzzles[row] = 0
    puzzles[row, list(cells)] = list(cells.values())
    with pytest.raises(DataError, match=f"puzzles, row {row}: .*{message}"):
        solver.solve_unique(puzzles)


def test_limit_must_be_positive():
    with pytest.raises(ValueError, match="limit"):
        solver.solve(np.zeros((1, 16), dtype=np.uint8), limit=0)


SHARED = os.environ.get("LOOPBENCH_SHARED")


@pytest.mark.skipif(not SHARED, reason="LOOPBENCH_SHARED does not name the folder of lists")
@pytest.mark.parametrize(
    "name", ["17_clue", "forum_hardest_1905_11plus", "hardest_1106", "top1465"]
)
def test_published_lists(name):
    with gzip.open(Path(SHARED) / "data" / "sudoku-lists" / f"{name}.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    puzzles = np.stack([rules.parse(row["question"], 9) for row in rows])
    answers = np.stack([rules.parse(row["answer"], 9) for row in rows])
    assert (solver.solve_unique(puzzles) == answers).all()


def test_two_solutions_are_two_that_fit_the_givens():
    for text in ("1" + "." * 15, "12343412" + "." * 8, "." * 36):
        puzzle = rules.parse(text)
        first, second = solver.two_solutions(puzzle)
        assert (first != second).any()
        for solution in (first, second):
            assert (solution[puzzle > 0] == puzzle[puzzle > 0]).all()
            assert solver.solve(solution[None]).count[0] == 1  # full, and no digit twice in a unit
            assert (solution > 0).all()
    assert solver.two_solutions(rules.parse("1234341221434321")) is None
    assert solver.two_solutions(rules.parse("11" + "." * 14)) is None
