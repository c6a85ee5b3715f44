"""Validation against brute force: all 288 grids of a 4x4 sudoku, all simple paths of a maze."""

from functools import cache
from itertools import permutations, product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzles.kinds import KINDS, puzzle_of
from puzzles.validate import describe, fault_codes, form_faults

# ------------------------------------------------------------------------------------------ sudoku

REASONS = {kind: puzzle_of(kind).reasons for kind in KINDS}


@cache
def all_grids() -> np.ndarray:
    """Every 4x4 solution grid, uint8 (288, 16): four permutations as rows, filtered."""
    units = [[r * 4 + c for r in range(4)] for c in range(4)]
    units += [[r * 4 + c for r in (a, a + 1) for c in (b, b + 1)] for a in (0, 2) for b in (0, 2)]
    rows = list(permutations(range(1, 5)))
    grids = [sum(choice, ()) for choice in product(rows, repeat=4)]
    return np.array(
        [g for g in grids if all(len({g[i] for i in unit}) == 4 for unit in units)], np.uint8
    )


def test_there_are_288_grids():
    assert len(all_grids()) == 288


@settings(max_examples=200, deadline=None)
@given(
    grid=st.integers(0, 287),
    other=st.integers(0, 287),
    given_cells=st.lists(st.booleans(), min_size=16, max_size=16),
    changed=st.one_of(st.none(), st.tuples(st.integers(0, 15), st.integers(0, 6))),
    same=st.booleans(),
)
def test_a_sudoku_is_right_exactly_if_its_answer_is_the_only_grid(
    grid, other, given_cells, changed, same
):
    puzzle = np.where(given_cells, all_grids()[grid], 0)
    answer = all_grids()[grid if same else other].copy()
    if changed is not None:
        answer[changed[0]] = changed[1] % 5
    matches = all_grids()[((all_grids() == puzzle) | (puzzle == 0)).all(axis=1)]
    right = len(matches) == 1 and (matches[0] == answer).all()
    tokens = (puzzle[None] + 1).astype(np.uint8), (answer[None] + 1).astype(np.uint8)
    assert (fault_codes("sudoku", *tokens)[0] == 0) == right


def one(kind: str, inputs: list[int], labels: list[int]) -> str | None:
    codes = fault_codes(kind, np.array([inputs], np.uint8), np.array([labels], np.uint8))
    return REASONS[kind].get(int(codes[0]))


def test_each_reason_of_a_sudoku():
    answer = all_grids()[0] + 1
    puzzle = answer.tolist()
    repeated = [answer[1], *answer[1:]]
    assert one("sudoku", [0, *puzzle[1:]], puzzle) == REASONS["sudoku"][1]
    assert one("sudoku", puzzle, [1, *puzzle[1:]]) == REASONS["sudoku"][2]
    assert one("sudoku", repeated, puzzle) == REASONS["sudoku"][3]
    assert one("sudoku", [1] * 16, repeated) == REASONS["sudoku"][4]
    assert one("sudoku", [1] * 16, puzzle) == REASONS["sudoku"][5]
    assert one("sudoku", puzzle, puzzle) is None


# -------------------------------------------------------------------------------------------- maze


def tokens_of(text: str) -> list[int]:
    return ["# SGo".index(cell) + 1 for cell in text]


def simple_paths(maze: list[int], side: int) -> list[frozenset[int]]:
    """Cell sets of every simple path from S to G, by depth-first enumeration."""
    start, goal = maze.index(3), maze.index(4)
    found: list[frozenset[int]] = []

    def walk(cell: int, path: tuple[int, ...]) -> None:
        if cell == goal:
            found.append(frozenset(path))
            return
        row, column = divmod(cell, side)
        for r, c in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            following = r * side + c
            inside = 0 <= r < side and 0 <= c < side
            if inside and maze[following] != 1 and following not in path:
                walk(following, (*path, following))

    walk(start, (start,))
    return found


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_maze_is_right_exactly_if_its_marks_are_a_shortest_path(data):
    side = 4
    maze = data.draw(st.lists(st.sampled_from([1, 2, 2]), min_size=16, max_size=16))
    start, goal = data.draw(st.permutations(range(16)))[:2]
    maze[start], maze[goal] = 3, 4
    paths = simple_paths(maze, side)
    free = [cell for cell in range(16) if maze[cell] == 2]
    anything = st.frozensets(st.sampled_from(free)) if free else st.just(frozenset())
    marks = data.draw(st.one_of(st.sampled_from(paths), anything) if paths else anything)
    marks = marks - {start, goal}
    label = [5 if cell in marks else token for cell, token in enumerate(maze)]
    shortest = min(map(len, paths), default=0)
    right = any(path == marks | {start, goal} and len(path) == shortest for path in paths)
    assert (one("maze", maze, label) is None) == right


def test_each_reason_of_a_maze():
    maze, label = "S    #  G", "So  o# oG"
    reasons = REASONS["maze"]
    assert one("maze", tokens_of(maze), tokens_of(label)) is None
    assert one("maze", [5, *tokens_of(maze)[1:]], tokens_of(label)) == reasons[1]
    assert one("maze", tokens_of("S   S    "), tokens_of("S   S    ")) == reasons[2]
    assert one("maze", tokens_of("   # G   "), tokens_of("   # G   ")) == reasons[2]
    assert one("maze", tokens_of(maze), tokens_of("So  o  oG")) == reasons[3]
    assert one("maze", tokens_of(maze), tokens_of("So  oo oG")) == reasons[3]
    assert one("maze", tokens_of("S#G ## # "), tokens_of("S#G ## # ")) == reasons[4]
    assert one("maze", tokens_of(maze), tokens_of(maze)) == reasons[5]
    assert one("maze", tokens_of("S       G"), tokens_of("SoooooooG")) == reasons[6]


# ------------------------------------------------------------------------------------------- rows


def test_the_first_bad_row_and_the_number_are_described():
    assert describe("sudoku", np.array([0, 0], np.uint8)) is None
    row, reason = describe("sudoku", np.array([0, 5, 0, 4], np.uint8))
    assert (row, reason) == (1, "the question has more than one solution (2 bad rows in all)")
    assert describe("maze", np.array([4], np.uint8))[1].endswith("(the only bad row)")


def test_every_row_is_checked_across_chunks():
    grids = np.repeat(all_grids(), 70, axis=0) + 1
    bad = [3, 8191, 8192, 20159]
    labels = grids.copy()
    labels[bad, 0] = labels[bad, 1]
    np.testing.assert_array_equal(np.flatnonzero(form_faults("sudoku", grids, labels)), bad)
    np.testing.assert_array_equal(np.flatnonzero(fault_codes("sudoku", grids, labels)), bad)
