"""Scores against brute force: every simple path of small mazes, every 4x4 sudoku grid."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzles.errors import DataError
from puzzles.maze import generator as maze_generator
from puzzles.maze import rules as maze_rules
from puzzles.maze import search
from puzzles.metrics import Metric, Scores, agreement_with, is_valid, score, summarise
from puzzles.sudoku import generator as sudoku_generator
from puzzles.sudoku import rules as sudoku_rules

WALL, FREE, START, GOAL, PATH = 1, 2, 3, 4, 5


def cells_of(text: str) -> np.ndarray:
    """A batch of one maze, rows separated by '/'."""
    return maze_rules.parse("\n".join(text.split("/")))[None]


def paths_between(cells: set[int], size: int, start: int, goal: int) -> list[frozenset[int]]:
    """The cells of every simple path from start to goal inside a set of cells."""

    def extend(path: list[int]) -> list[frozenset[int]]:
        if path[-1] == goal:
            return [frozenset(path)]
        row, column = divmod(path[-1], size)
        found = []
        for r, c in ((row + 1, column), (row, column - 1), (row, column + 1), (row - 1, column)):
            step = r * size + c
            if 0 <= r < size and 0 <= c < size and step in cells and step not in path:
                found += extend([*path, step])
        return found

    return extend([start])


# ------------------------------------------------------------------------------------------- mazes


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_maze_validity_is_one_simple_path_over_all_marked_cells(data):
    size = data.draw(st.integers(2, 4))
    tokens = st.sampled_from([WALL, FREE, FREE, FREE])
    maze = np.array(data.draw(st.lists(tokens, min_size=size**2, max_size=size**2)), np.uint8)
    ends = data.draw(st.lists(st.integers(0, size**2 - 1), min_size=2, max_size=2, unique=True))
    maze[ends] = START, GOAL
    free = set(np.flatnonzero(maze != WALL))
    paths = paths_between(free, size, *ends)
    if paths and data.draw(st.booleans()):
        marked = set(data.draw(st.sampled_from(sorted(paths, key=sorted)))) - set(ends)
        for cell in data.draw(st.lists(st.sampled_from(sorted(free)), max_size=1)):
            marked ^= {cell}
        marked -= set(ends)
    else:
        marked = {c for c in free - set(ends) if data.draw(st.booleans())}
    answer = maze.copy()
    answer[sorted(marked)] = PATH
    inside = paths_between(marked | set(ends), size, *ends)
    valid = len(inside) == 1 and inside[0] == marked | set(ends)
    assert is_valid("maze", maze[None], answer[None])[0] == valid
    scores = score("maze", maze[None], answer[None], answer[None])
    shortest = valid and len(marked) + 2 == min(map(len, paths))
    assert (scores.valid[0], scores.valid_shortest[0]) == (valid, shortest)


@pytest.mark.parametrize(
    ("answer", "valid", "shortest"),
    [
        ("So  / o# / oG#", True, True),
        ("S   /oo# / oG#", True, True),  # another one as short
        ("Soo / o# / oG#", False, False),  # a branch
        ("So o/ o# / oG#", False, False),  # a cell apart
        ("S   /oo# /ooG#", False, False),  # a thick path
        ("S   / o# / oG#", False, False),  # a gap
        ("So  / oo / oG#", False, False),  # a wall on the path
        ("So  / o  / oG#", False, False),  # a wall taken away
        ("So# / o# / oG#", False, False),  # a wall put up
        ("oo  / o# / oG#", False, False),  # S lost
        ("So S/ o# / oG#", False, False),  # S twice
        ("S   /  # /  G#", False, False),  # the question itself
    ],
)
def test_faults_of_maze_answers(answer, valid, shortest):
    question, prediction = ("S   /  # /  G#/####", f"{answer}/####")
    scores = score("maze", cells_of(question), cells_of(question), cells_of(prediction))
    assert (scores.valid.tolist(), scores.valid_shortest.tolist()) == ([valid], [shortest])


def test_a_detour_is_valid_and_not_shortest():
    question = cells_of("S    / ### / # # / # # /G    ")
    detour = cells_of("Soooo/ ###o/ # #o/ # #o/Goooo")
    scores = score("maze", question, detour, detour)
    assert (scores.exact.tolist(), scores.valid.tolist()) == ([True], [True])
    assert scores.valid_shortest.tolist() == [False]


def test_maze_labels_score_full_and_tokens_out_of_range_do_not_crash():
    inputs, labels = maze_generator.generate_hard(12, 9, seed=0)
    full = summarise(score("maze", inputs, labels, labels.astype(np.int64)))
    assert list(full) == ["cell", "exact", "valid", "valid_shortest"]
    assert all(metric == Metric(1.0, 0.0, 12) for metric in full.values())
    for token in (0, 6, -1, 261):  # 261 is PATH in eight bits
        strange = np.where(labels == PATH, token, labels.astype(np.int64))
        assert not score("maze", inputs, labels, strange).valid.any()
    assert not is_valid("maze", inputs, np.zeros_like(inputs)).any()


def test_a_question_without_a_path_has_no_valid_answer():
    question = cells_of("S#G/ # / # ")
    assert not is_valid("maze", question, cells_of("S#G/o#o/ # "))[0]


def test_adjacent_ends_need_no_marks():
    question = cells_of("SG/  ")
    for answer, valid in (("SG/  ", True), ("SG/oo", False)):
        assert score("maze", question, question, cells_of(answer)).valid_shortest[0] == valid


# ------------------------------------------------------------------------------------------ sudoku


def all_4x4_grids() -> np.ndarray:
    """The 288 solution grids by brute force over the permutations of every row."""
    rows = list(permutations(range(1, 5)))
    grids = []

    def place(above: list[tuple[int, ...]]) -> None:
        if len(above) == 4:
            grids.append(np.concatenate(above))
            return
        for row in rows:
            if all(row[c] != old[c] for old in above for c in range(4)):
                if len(above) % 2 and (
                    {*above[-1][:2]} & {*row[:2]} or {*above[-1][2:]} & {*row[2:]}
                ):
                    continue
                place([*above, row])

    place([])
    return np.array(grids, dtype=np.uint8)


def test_valid_4x4_answers_are_the_solution_grids_with_the_givens():
    grids = all_4x4_grids() + 1  # tokens
    assert len(grids) == 288
    puzzle = np.ones(16, dtype=np.uint8)
    puzzle[[0, 5]] = grids[7, [0, 5]]
    valid = is_valid("sudoku", np.tile(puzzle, (288, 1)), grids)
    assert valid.tolist() == [g[0] == puzzle[0] and g[5] == puzzle[5] for g in grids]
    assert 0 < valid.sum() < 288
    changed = grids.copy()  # one other digit in one cell breaks any grid
    cells = np.arange(288) % 16
    changed[np.arange(288), cells] = changed[np.arange(288), cells] % 4 + 2
    assert not is_valid("sudoku", np.ones_like(grids), changed).any()


@pytest.mark.parametrize("size", [4, 6, 9])
def test_sudoku_scores(size):
    puzzles, solutions = sudoku_generator.generate(10, size, seed=0)
    inputs, labels = sudoku_rules.to_tokens(puzzles), sudoku_rules.to_tokens(solutions)
    predictions = labels.astype(np.int64)
    predictions[1, 0] = 0
    predictions[2, 0] = 1
    predictions[3, 0] += 256  # the label in eight bits
    predictions[4] = inputs[4]
    scores = score("sudoku", inputs, labels, predictions)
    right = [row not in (1, 2, 3, 4) for row in range(10)]
    assert scores.exact.tolist() == right
    assert scores.valid.tolist() == right
    assert scores.valid_shortest is None
    assert scores.cell[1] == pytest.approx(1 - 1 / size**2)
    assert scores.cell[4] == pytest.approx((puzzles[4] > 0).mean())
    assert list(summarise(scores)) == ["cell", "exact", "valid"]


# --------------------------------------------------------------------------------------- summaries


def test_standard_errors_are_binomial_for_shares():
    exact = np.array([True] * 30 + [False] * 70)
    cell = np.linspace(0.5, 1.0, 100)
    summary = summarise(Scores(cell, exact, exact))
    assert summary["exact"] == Metric(0.3, pytest.approx((0.3 * 0.7 / 100) ** 0.5), 100)
    assert summary["cell"].mean == pytest.approx(0.75)
    rng = np.random.default_rng(0)
    spread = rng.choice(cell, (20_000, 100)).mean(axis=1).std()  # bootstrap
    assert summary["cell"].stderr == pytest.approx(spread, rel=0.03)


@pytest.mark.parametrize(
    "arrays",
    [
        (np.ones((0, 16), int),) * 3,
        (np.ones((2, 16), int), np.ones((3, 16), int), np.ones((2, 16), int)),
        (np.ones((2, 16), int), np.ones((2, 16), int), np.ones((2, 36), int)),
        (np.ones(16, int),) * 3,
        (np.ones((2, 16), int), np.ones((2, 16), int), np.ones((2, 16))),
    ],
)
@pytest.mark.parametrize("kind", ["sudoku", "maze"])
def test_empty_and_mismatched_arrays_are_refused(kind, arrays):
    with pytest.raises(ValueError, match=r"one shape \(N, L\) and not be empty|integer tokens"):
        score(kind, *arrays)


def test_unknown_kinds_and_malformed_questions_are_refused():
    maze = cells_of("S G/   /   ")
    with pytest.raises(ValueError, match='kind is "chess"'):
        score("chess", maze, maze, maze)
    with pytest.raises(DataError, match="row 0 "):
        is_valid("maze", search.label(maze), search.label(maze))


def test_empty_or_undefined_scores_are_refused():
    empty = np.empty(0)
    flags = np.ones(2, bool)
    with pytest.raises(ValueError, match="N >= 1"):
        summarise(Scores(empty, empty, empty))
    with pytest.raises(ValueError, match="one length"):
        summarise(Scores(np.ones(2), flags, flags, {"more": np.ones(3, bool)}))
    with pytest.raises(ValueError, match="cell scores hold NaN"):
        summarise(Scores(np.array([1.0, np.nan]), flags, flags))


def test_a_further_score_takes_no_name_that_is_taken():
    right = np.array([True])
    with pytest.raises(ValueError, match="more_scores: exact is measured already"):
        summarise(Scores(np.array([1.0]), right, right, {"exact": right}))


def test_a_cell_without_an_answer_is_not_scored():
    """PAD as a label, as training takes it."""
    labels = np.array([[2, 3, 0, 0], [2, 3, 4, 5]])
    predictions = np.array([[[2, 3, 5, 5], [2, 2, 0, 0]], [[2, 3, 4, 0], [2, 3, 4, 5]]])
    cell, exact = agreement_with(labels[:, None], predictions)
    np.testing.assert_array_equal(cell, [[1.0, 0.5], [0.75, 1.0]])
    np.testing.assert_array_equal(exact, [[True, False], [False, True]])
