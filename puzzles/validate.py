"""Whether a question has one right answer and the label is it, for every row of a batch.

Two passes: `form_faults` looks at the cells (vectorised, about a million rows a second);
`search_faults` solves the question (sudoku: exactly one solution; maze: the label is as short as
any path). Both return codes uint8 (N,), 0 = right, else a key of `REASONS[kind]`.
"""

import numpy as np

from puzzles.maze import search
from puzzles.maze.rules import FREE, GOAL, PATH, START, WALL
from puzzles.parallel import Progress, map_rows
from puzzles.puzzle_set import Kind
from puzzles.sudoku import rules, solver

REASONS: dict[str, dict[int, str]] = {
    "sudoku": {
        1: "the question holds something other than blanks and digits",
        2: "the answer is not filled with digits",
        3: "the answer changes a given of the question",
        4: "wrong answer: a digit stands twice in a row, column or box",
        5: "the question has more than one solution",
    },
    "maze": {
        1: "the question holds something other than walls, free cells, S and G",
        2: "the question does not hold exactly one S and one G",
        3: "the answer differs from the question in a cell that is not on the path",
        4: "the question has no path from S to G",
        5: "the answer's path does not join S to G",
        6: "the answer's path is longer than the shortest",
    },
}

_FORM_CHUNK = 8192


def form_faults(kind: Kind, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Codes uint8 (N,) of what the cells alone show; inputs and labels are tokens (N, L)."""
    checks = _sudoku_form if kind == "sudoku" else _maze_form
    codes = np.zeros(len(inputs), np.uint8)
    for first in range(0, len(inputs), _FORM_CHUNK):  # chunks only keep the temporaries in cache
        rows = slice(first, first + _FORM_CHUNK)
        codes[rows] = checks(inputs[rows], labels[rows])
    return codes


def search_faults(
    kind: Kind, inputs: np.ndarray, labels: np.ndarray, progress: Progress | None = None
) -> np.ndarray:
    """Codes uint8 (N,) of what solving the questions shows. Every row must have a right form."""
    if kind == "sudoku":  # the label is a solution, so it is the answer if there is no other
        return map_rows(lambda rows: _sudoku_search(inputs[rows]), len(inputs), progress)
    return map_rows(lambda rows: _maze_search(inputs[rows], labels[rows]), len(inputs), progress)


def fault_codes(
    kind: Kind, inputs: np.ndarray, labels: np.ndarray, progress: Progress | None = None
) -> np.ndarray:
    """Both passes: codes uint8 (N,), 0 where question and answer are right."""
    codes = form_faults(kind, inputs, labels)
    sound = np.flatnonzero(codes == 0)
    if len(sound):
        codes[sound] = search_faults(kind, inputs[sound], labels[sound], progress)
    return codes


def describe(kind: Kind, codes: np.ndarray) -> tuple[int, str] | None:
    """First bad row (from 0) and its reason with the number of bad rows; None if all are right."""
    bad = np.flatnonzero(codes)
    if not len(bad):
        return None
    row = int(bad[0])
    others = "the only bad row" if len(bad) == 1 else f"{len(bad)} bad rows in all"
    return row, f"{REASONS[kind][int(codes[row])]} ({others})"


def _first_code(tests: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """Codes uint8 (N,) of the first test that marks a row; tests are (code, bad (N,))."""
    codes = np.zeros(len(tests[0][1]), np.uint8)
    for code, bad in reversed(tests):
        codes[bad] = code
    return codes


def _sudoku_form(inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    size = rules.geometry_of(inputs).size
    stray_input = ((inputs < 1) | (inputs > size + 1)).any(axis=1)
    stray_label = ((labels < 2) | (labels > size + 1)).any(axis=1)
    readable = np.where(stray_label[:, None], 2, labels)  # `rules` takes digits only
    return _first_code(
        [
            (1, stray_input),
            (2, stray_label),
            (3, ((inputs != labels) & (inputs > 1)).any(axis=1)),
            (4, ~rules.is_solution(rules.from_tokens(readable))),
        ]
    )


def _sudoku_search(inputs: np.ndarray) -> np.ndarray:
    count = solver.solve(rules.from_tokens(inputs), limit=2).count
    return np.where(count > 1, 5, 0).astype(np.uint8)


def _maze_form(inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    ends = [(inputs == end).sum(axis=1) != 1 for end in (START, GOAL)]
    marked = (labels == PATH) & (inputs == FREE)
    return _first_code(
        [
            (1, ((inputs < WALL) | (inputs > GOAL)).any(axis=1)),
            (2, ends[0] | ends[1]),
            (3, ((labels != inputs) & ~marked).any(axis=1)),
        ]
    )


def _maze_search(inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    # The marked cells are a shortest path exactly if they join S to G on their own and are as many
    # as a shortest path needs.
    shortest = search.path_cells(inputs)
    marked = (labels == PATH).sum(axis=1) + 2  # with S and G
    alone = search.path_cells(np.where((inputs == FREE) & (labels != PATH), WALL, inputs))
    return _first_code([(4, shortest == 0), (5, alone == 0), (6, marked != shortest)])
