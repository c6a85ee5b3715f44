"""Mazes as a kind of puzzle: the answer marks a shortest path from S to G.

What searches is imported where it is called: numba takes as long to load as a refusal may take.
"""

from math import isqrt
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from puzzles import painting
from puzzles.maze import rules, symmetry
from puzzles.maze.rules import FREE, GOAL, PATH, START, WALL
from puzzles.painting import INK, PAPER, RIGHT, UNKNOWN, WRONG, WRONG_FIELD
from puzzles.parallel import Progress, map_rows
from puzzles.puzzle import Broken, Puzzle, places
from puzzles.puzzle_set import MAZE_VOCAB_SIZE, PuzzleSet
from puzzles.rows import first_code, row_keys

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PATH_CELLS = "cells of a shortest path, with S and G"
STONE, MISSED = "#a3aeb8", "#c6dbef"
START_FIELD, GOAL_FIELD = "#2a9d5c", "#e39b16"
_GLYPHS = {WALL: "██", FREE: "  ", START: "S ", GOAL: "G ", PATH: "· "}


class Maze(Puzzle):
    reasons: ClassVar = {
        1: "the question holds something other than walls, free cells, S and G",
        2: "the question does not hold exactly one S and one G",
        3: "the answer differs from the question in a cell that is not on the path",
        4: "the question has no path from S to G",
        5: "the answer's path does not join S to G",
        6: "the answer's path is longer than the shortest",
    }
    images = symmetry.ORDER
    images_note = (
        "an image's answer mapped back is a shortest path with another tie-break than the label: "
        "read valid shortest, not exact"
    )
    first_answer = "first shortest path (D, L, R, U)"
    local = True
    panel = 3.6

    def vocabulary(self, size: int) -> int:
        return MAZE_VOCAB_SIZE

    def check_size(self, cells: int) -> None:
        rules.size_of(np.empty(cells))

    def is_valid(self, inputs: np.ndarray, answers: np.ndarray) -> np.ndarray:
        from puzzles.maze import search

        return search.is_one_path(inputs, answers)

    def broken(self, question: np.ndarray, answer: np.ndarray) -> list[Broken]:
        """Changed cells; where the path ends early, branches, or lies apart from S."""
        rules.check_inputs(question[None])
        size = rules.size_of(question)
        marked = (question == FREE) & (answer == PATH)
        ends = (question == START) | (question == GOAL)
        path = np.pad((marked | ends).reshape(size, size), 1)
        beside = [np.roll(path, step, axis)[1:-1, 1:-1] for step in (1, -1) for axis in (0, 1)]
        touching = np.sum(beside, axis=0).ravel()
        joined = _joined(marked | ends, int(np.flatnonzero(question == START)[0]), size)
        found = []
        for clause, cells in (
            ("what the question fixes is changed at", self.contradicts(answer, question)),
            ("no path leaves S at", (question == START) & (touching == 0)),
            ("no path reaches G at", (question == GOAL) & (touching == 0)),
            ("the path ends short at", marked & (touching < 2)),
            ("the path branches at", (marked & (touching > 2)) | (ends & (touching > 1))),
            ("the path is not joined to S at", marked & ~joined),
        ):
            where = np.flatnonzero(cells).tolist()
            if where:
                found.append(Broken(f"{clause} {places(where, size)}", tuple(where)))
        return found

    def more_scores(
        self, inputs: np.ndarray, answers: np.ndarray, valid: np.ndarray
    ) -> dict[str, np.ndarray]:
        from puzzles.maze import search

        cells = np.count_nonzero(answers == PATH, axis=1) + 2  # with S and G
        return {"valid_shortest": valid & (cells == search.path_cells(inputs))}

    def form_faults(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        ends = [(inputs == end).sum(axis=1) != 1 for end in (START, GOAL)]
        marked = (labels == PATH) & (inputs == FREE)
        return first_code(
            [
                (1, ((inputs < WALL) | (inputs > GOAL)).any(axis=1)),
                (2, ends[0] | ends[1]),
                (3, ((labels != inputs) & ~marked).any(axis=1)),
            ]
        )

    def search_faults(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The marked cells are a shortest path exactly if they join S to G on their own and are as
        many as a shortest path needs."""
        from puzzles.maze import search

        shortest = search.path_cells(inputs)
        marked = (labels == PATH).sum(axis=1) + 2  # with S and G
        alone = search.path_cells(np.where((inputs == FREE) & (labels != PATH), WALL, inputs))
        return first_code([(4, shortest == 0), (5, alone == 0), (6, marked != shortest)])

    def labelled_first(self, part: PuzzleSet) -> int:
        from puzzles.maze import search

        def is_first(rows: slice) -> np.ndarray:
            return (search.label(part.inputs[rows]) == part.labels[rows]).all(axis=1)

        return int(map_rows(is_first, len(part)).sum())

    def generate(self, size: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Mazes with one shortest path."""
        from puzzles.maze import generator

        return generator.generate_unique(count, size=size, seed=seed)

    def at_level(self, size: int, place: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """As Maze-Hard's, with a shortest path at least half as long to as long."""
        from puzzles.maze import generator

        least = round((1 + place) / 2 * generator.default_min_path(size))
        return generator.generate_hard(1, size, seed, max(2, least))

    def difficulty(
        self, part: PuzzleSet, seed: int, index: int, progress: Progress | None
    ) -> tuple[np.ndarray, str]:
        from puzzles.maze import search

        return search.path_cells(part.inputs), PATH_CELLS

    def augment(
        self, inputs: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        return symmetry.augment(inputs, labels, rng)

    def image(self, size: int, index: int, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Its eight dihedral images, in order."""
        moved = symmetry.apply(np.arange(size * size)[None], np.array([index]))
        tokens = np.arange(MAZE_VOCAB_SIZE, dtype=np.uint8)
        return np.tile(moved, (len(seeds), 1)), np.tile(tokens, (len(seeds), 1))

    def class_keys(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Alike for mazes that are rotations or reflections of each other."""
        images = [
            row_keys(symmetry.apply(inputs, np.full(len(inputs), element)))
            for element in range(symmetry.ORDER)
        ]
        return np.sort(np.stack(images), axis=0)[0]

    def characters(self, size: int) -> str:
        return UNKNOWN + rules.ALPHABET

    def palette(self, size: int) -> list[tuple[str, str]]:
        return [(" ", "free"), ("#", "wall"), ("S", "S"), ("G", "G")]

    def written(self, question: np.ndarray) -> str:
        """Row by row."""
        cells, size = super().written(question), isqrt(len(question))
        return "\n".join(cells[i : i + size] for i in range(0, len(cells), size))

    def cells_in(self, text: str) -> int:
        return len(rules.parse(text))

    def parse(self, text: str, size: int | None = None) -> np.ndarray:
        return rules.parse(text)

    def unanswerable(self, question: np.ndarray) -> str | None:
        from puzzles.maze import search

        joined = search.path_cells(question[None])[0]
        return None if joined else "this maze has no path from S to G"

    def contradicts(self, tokens: np.ndarray, given: np.ndarray) -> np.ndarray:
        return (tokens != given) & ~((given == FREE) & (tokens == PATH))

    def filled(self, tokens: np.ndarray) -> np.ndarray:
        return tokens == PATH

    def text(self, tokens: np.ndarray, clash: np.ndarray) -> str:
        """Cells two characters wide, with dots along the path."""
        size = rules.size_of(tokens)
        cells = [_GLYPHS.get(int(token), UNKNOWN + " ") for token in tokens]
        cells = [cell[0] + "!" if bad else cell for cell, bad in zip(cells, clash, strict=True)]
        edge = "██" * (size + 2)
        rows = ["".join(cells[i : i + size]) for i in range(0, len(cells), size)]
        return "\n".join([edge, *(f"██{row}██" for row in rows), edge])

    def draw(
        self,
        axis: "Axes",
        tokens: np.ndarray,
        kept: np.ndarray,
        wrong: np.ndarray,
        label: np.ndarray | None,
    ) -> None:
        """Path cells that are still missing are pale blue, once there is some path."""
        size = rules.size_of(tokens)
        colours = {WALL: STONE, FREE: PAPER, START: START_FIELD, GOAL: GOAL_FIELD, PATH: RIGHT}
        fields = np.array([colours.get(int(token), WRONG_FIELD) for token in tokens], dtype=object)
        if label is not None and (tokens == PATH).any():
            fields[(label == PATH) & (tokens == FREE)] = MISSED
        fields[wrong] = np.where(tokens[wrong] == PATH, WRONG, WRONG_FIELD)
        painting.paint(axis, fields, size)
        for cell in np.flatnonzero((tokens == START) | (tokens == GOAL)):
            letter = rules.ALPHABET[tokens[cell] - 1]
            colour = WRONG if wrong[cell] else PAPER
            painting.write(axis, cell, size, letter, colour, self.panel, bold=True)
        for edge in (0, size):
            axis.axhline(edge, color=INK, linewidth=1.2, clip_on=False)
            axis.axvline(edge, color=INK, linewidth=1.2, clip_on=False)


def _joined(path: np.ndarray, start: int, size: int) -> np.ndarray:
    """bool (L,): the cells of `path` (L,) that are joined to one of them."""
    joined, waiting = np.zeros(len(path), bool), [start]
    while waiting:
        cell = waiting.pop()
        if joined[cell]:
            continue
        joined[cell] = True
        row, column = divmod(cell, size)
        for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if 0 <= r < size and 0 <= c < size and path[r * size + c]:
                waiting.append(r * size + c)
    return joined
