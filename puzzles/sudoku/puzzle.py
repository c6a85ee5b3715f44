"""Sudoku as a kind of puzzle: digits 1 to size, once in every row, column and box.

What searches is imported where it is called: numba takes as long to load as a refusal may take.
"""

from math import isqrt
from typing import ClassVar

import numpy as np

from puzzles.parallel import Progress, map_rows
from puzzles.puzzle import Broken, Puzzle, places
from puzzles.puzzle_set import PuzzleSet
from puzzles.rows import first_code, row_keys
from puzzles.sudoku import rules

ISOMORPHS = 10
GUESSES = f"guesses, geometric mean over {ISOMORPHS} isomorphs"
_CHUNK = 512  # sudokus rated with one seed: fixed, so that the ratings do not depend on the cores
_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")
_SHOWN = 4  # cells in which two solutions differ


class Sudoku(Puzzle):
    reasons: ClassVar = {
        1: "the question holds something other than blanks and digits",
        2: "the answer is not filled with digits",
        3: "the answer changes a given of the question",
        4: "wrong answer: a digit stands twice in a row, column or box",
        5: "the question has more than one solution",
    }
    images = None
    doubling_bins = True

    def vocabulary(self, size: int) -> int:
        """Padding, blank, digits."""
        return size + 2

    def families(self, size: int) -> tuple[np.ndarray, ...]:
        """Rows, columns, boxes."""
        return tuple(rules.geometry(size).units.reshape(3, size, size))

    def symbols(self, size: int) -> tuple[int, ...]:
        """The digits."""
        return tuple(range(2, size + 2))

    def check_size(self, cells: int) -> None:
        rules.geometry_of(np.empty(cells))

    def is_valid(self, inputs: np.ndarray, answers: np.ndarray) -> np.ndarray:
        size = rules.geometry_of(inputs).size
        filled = (answers >= 2) & (answers <= size + 1)
        digits = np.where(filled, answers - 1, 0).astype(np.uint8)  # 0, a blank, is never right
        kept = rules.keeps_givens(rules.from_tokens(inputs), digits)
        return kept & rules.is_solution(digits)

    def broken(self, question: np.ndarray, answer: np.ndarray) -> list[Broken]:
        """Changed givens, cells without a digit, and every digit that a unit holds twice."""
        geometry = rules.geometry_of(question)
        size, found = geometry.size, []
        digit = (answer >= 2) & (answer <= size + 1)
        for clause, cells in (
            ("a given is changed at", self.contradicts(answer, question)),
            ("no digit stands at", ~digit),
        ):
            where = np.flatnonzero(cells).tolist()
            if where:
                found.append(Broken(f"{clause} {places(where, size)}", tuple(where)))
        names = [f"{line} {i + 1}" for line in ("row", "column", "box") for i in range(size)]
        for name, unit in zip(names, geometry.units, strict=True):
            held = answer[unit]
            for token in range(2, size + 2):
                again = unit[held == token]
                if len(again) > 1:
                    count = _NUMBERS[len(again) - 2]
                    times = "twice" if count == "two" else f"{count} times"
                    found.append(Broken(f"{name} holds {token - 1} {times}", tuple(again.tolist())))
        return found

    def form_faults(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        size = rules.geometry_of(inputs).size
        stray_input = ((inputs < 1) | (inputs > size + 1)).any(axis=1)
        stray_label = ((labels < 2) | (labels > size + 1)).any(axis=1)
        readable = np.where(stray_label[:, None], 2, labels)  # `rules` takes digits only
        return first_code(
            [
                (1, stray_input),
                (2, stray_label),
                (3, ((inputs != labels) & (inputs > 1)).any(axis=1)),
                (4, ~rules.is_solution(rules.from_tokens(readable))),
            ]
        )

    def search_faults(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The label is a solution, so it is the answer if there is no other."""
        from puzzles.sudoku import solver

        count = solver.solve(rules.from_tokens(inputs), limit=2).count
        return np.where(count > 1, 5, 0).astype(np.uint8)

    def generate(self, size: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Random minimal puzzles."""
        from puzzles.sudoku import generator

        made = generator.generate(count, size, seed)
        return rules.to_tokens(made[0]), rules.to_tokens(made[1])

    def difficulty(
        self, part: PuzzleSet, seed: int, index: int, progress: Progress | None
    ) -> tuple[np.ndarray, str]:
        """Guesses that a search needs (`puzzles.sudoku.solver.rate`)."""
        from puzzles.sudoku import solver

        digits = rules.from_tokens(part.inputs)

        def rate(rows: slice) -> np.ndarray:
            sequence = np.random.SeedSequence(seed, spawn_key=(index, rows.start))
            chunk_seed = int(sequence.generate_state(1, np.uint64)[0])
            return solver.rate(digits[rows], chunk_seed, ISOMORPHS)

        return map_rows(rate, len(part), progress, _CHUNK), GUESSES

    def augment(
        self, inputs: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        from puzzles.sudoku import symmetry

        return symmetry.augment(inputs, labels, rng)

    def image(self, size: int, index: int, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every further image is random."""
        from puzzles.sudoku import symmetry

        drawn = symmetry.seeded_symmetry(seeds, size)
        tokens = np.tile(np.arange(size + 2, dtype=np.uint8), (len(seeds), 1))
        tokens[:, 1:] = drawn.digits + 1  # a blank, token 1, stays
        return drawn.cells, tokens

    def class_keys(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """9x9: alike for equivalent solution grids. 4x4 and 6x6 have only 2 and 49 classes of
        grids, so there alike for equivalent puzzles."""
        from puzzles.sudoku.canonical import canonicalise

        forms = canonicalise(rules.from_tokens(labels), rules.from_tokens(inputs))
        return row_keys(forms.solutions if inputs.shape[1] == 81 else forms.puzzles)

    def overlap(self, train: PuzzleSet, test: PuzzleSet) -> dict[str, int]:
        """Also solution_grids (in both, up to symmetry) and test_puzzles_on_train_grids;
        train_grids and test_grids count the classes of grids."""
        from puzzles.sudoku.split import overlap

        digits = [
            rules.from_tokens(tokens)
            for tokens in (train.labels, test.labels, train.inputs, test.inputs)
        ]
        report = overlap(*digits)
        return {
            "equivalent_puzzles": report.shared_puzzles,
            "solution_grids": report.shared_grids,
            "test_puzzles_on_train_grids": report.test_rows_with_shared_grid,
            "train_grids": report.train_grids,
            "test_grids": report.test_grids,
        }

    def parse(self, text: str, size: int | None = None) -> np.ndarray:
        return rules.to_tokens(rules.parse("".join(text.split()), size=size))

    def unanswerable(self, question: np.ndarray) -> str | None:
        from puzzles.sudoku import solver

        digits = rules.from_tokens(question)
        if solver.solve(digits[None], limit=1).count[0]:
            return None
        return f"this puzzle has no right answer: {solver.why_not_unique(digits, 0)}"

    def ambiguity(self, question: np.ndarray) -> str | None:
        from puzzles.sudoku import solver

        two = solver.two_solutions(rules.from_tokens(question))
        if two is None:
            return None
        first, second = two
        cells, size = np.flatnonzero(first != second), isqrt(len(question))
        shown = [
            f"row {cell // size + 1} column {cell % size + 1} ({first[cell]} or {second[cell]})"
            for cell in cells[:_SHOWN]
        ]
        more = f" and {len(cells) - _SHOWN} more cells" if len(cells) > _SHOWN else ""
        where = f"{', '.join(shown)}{more}"
        return f"this puzzle has more than one solution; two of them differ at {where}"

    def box(self, size: int) -> tuple[int, int]:
        geometry = rules.geometry(size)
        return geometry.box_height, geometry.box_width
