"""What the suite asks of a kind of puzzle: tokens, units, rules, generator, symmetries, text.

A kind is a class of this form. `sudoku` and `maze` are the two that ship; one of your own needs
`vocabulary`, `is_valid` and `generate`, and is named by its import path (see `puzzles.kinds`).

Questions and answers are square grids of tokens, uint8 (N, L), L = size x size, row by row. Token 0
is padding, 1 a blank cell of a question; the others are the puzzle's own.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import isqrt
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from puzzles import painting
from puzzles.errors import DataError, InputError
from puzzles.painting import BLANK
from puzzles.rows import renamed, row_keys

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from puzzles.puzzle_set import PuzzleSet

_SHOWN = 4  # places named in a sentence


class Broken(NamedTuple):
    """A rule that an answer breaks: a clause that says which and where, and the cells it is in."""

    rule: str
    cells: tuple[int, ...]


def places(cells: Sequence[int], size: int) -> str:
    """Cells by row and column, the first few of them."""
    said = [f"row {cell // size + 1} column {cell % size + 1}" for cell in cells[:_SHOWN]]
    left = len(cells) - _SHOWN
    more = f" and {left} more cell{'s' if left > 1 else ''}" if left > 0 else ""
    return ", ".join(said) + more


class Puzzle(ABC):
    """A kind of puzzle. What is not abstract has an answer that suits a puzzle of which no more is
    known.

    reasons: what the codes of `form_faults` and `search_faults` mean;
    images: how many images a question has under its symmetries; None: as many as are asked for;
    images_note: what a reader has to know of answers to images that were mapped back;
    first_answer: where a question has several right answers, which of them comes first;
    local: whether a cell is related to its neighbours rather than to all of its row and column;
    doubling_bins: whether difficulties are heavy-tailed, so that their histogram's bins double;
    panel: inches of a picture of one grid.
    """

    reasons: ClassVar[Mapping[int, str]] = {1: "the answer breaks a rule or changes the question"}
    images: int | None = 1
    images_note: str | None = None
    first_answer: str | None = None
    local = False
    doubling_bins = False
    panel = 2.6

    # ------------------------------------------------------------------------------------- grids

    @abstractmethod
    def vocabulary(self, size: int) -> int:
        """Number of tokens, padding included."""

    def families(self, size: int) -> tuple[np.ndarray, ...]:
        """Families of units, each (units, cells of a unit) int64 that holds every cell once."""
        cells = np.arange(size * size).reshape(size, size)
        return cells, cells.T.copy()

    def symbols(self, size: int) -> tuple[int, ...]:
        """Tokens that every permutation of the puzzle's symbols maps among themselves."""
        return ()

    def check_size(self, cells: int) -> None:
        """ValueError unless there are grids of so many cells."""
        if isqrt(cells) ** 2 != cells:
            raise InputError(f"a grid has a square number of cells, got {cells}")

    # ------------------------------------------------------------------------------------- rules

    @abstractmethod
    def is_valid(self, inputs: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """bool (N,): whether answers (any integers) keep the rules and their questions' givens."""

    def validity(self, inputs: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """`is_valid`. DataError where that is not bool (N,)."""
        valid = np.asarray(self.is_valid(inputs, answers))
        if valid.shape != (len(inputs),) or valid.dtype != bool:
            name = type(self).__name__
            raise DataError(
                f"{name}.is_valid gives {valid.dtype} {valid.shape}, expected bool (N,)"
            )
        return valid

    def broken(self, question: np.ndarray, answer: np.ndarray) -> list[Broken]:
        """The rules that an answer (L,) to a question (L,) breaks; none exactly if it is valid."""
        if self.is_valid(question[None], answer[None])[0]:
            return []
        changed = np.flatnonzero(self.contradicts(answer, question)).tolist()
        if changed:
            where = places(changed, isqrt(len(question)))
            return [Broken(f"what the question fixes is changed at {where}", tuple(changed))]
        return [Broken("the answer breaks a rule", ())]

    def more_scores(
        self, inputs: np.ndarray, answers: np.ndarray, valid: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Metrics beside cell, exact and valid: name to bool (N,)."""
        return {}

    def form_faults(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Codes uint8 (N,) of what the cells alone show to be wrong; 0: nothing."""
        return np.where(self.validity(inputs, labels), 0, 1).astype(np.uint8)

    def search_faults(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The same of what solving the questions shows, all of right form."""
        return np.zeros(len(inputs), np.uint8)

    def labelled_first(self, part: "PuzzleSet") -> int | None:
        """Puzzles labelled with the first of their right answers (`first_answer` says which that
        is); None: there is one."""
        return None

    # --------------------------------------------------------------------------------- generator

    @abstractmethod
    def generate(self, size: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """`count` questions and their answers, which follow from the arguments alone."""

    def difficulty(self, part: "PuzzleSet", seed: int, index: int, progress):
        """A number (N,) a puzzle and what it counts; None: not known.

        part: the puzzles; seed: of what is drawn for it; index: 0 for a training set, 1 for a test
        set, which draw apart; progress: told of rows done, and all rows, None: nobody is.
        """
        return None

    def at_level(self, size: int, place: float, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
        """A question and its answer, both (1, L), from the easiest (place 0) to the hardest (1);
        None: the one at that place among some of `generate`, sorted by their `difficulty`."""
        return None

    # -------------------------------------------------------------------------------- symmetries

    def augment(
        self, inputs: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fresh random images of questions with their answers."""
        return inputs, labels

    def image(self, size: int, index: int, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Image number `index` of N questions, from 1 on, drawn from seeds uint64 (N,): the cell
        that each cell is taken from (N, L), and each token's image uint8 (N, V)."""
        raise InputError(f"this puzzle has no image number {index}")

    def class_keys(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """One key (N,) a puzzle, alike for those that must not be on both sides of a split: a
        puzzle and every image of it under `augment`. By default alike for questions that differ by
        an exchange of `symbols`."""
        symbols = self.symbols(isqrt(inputs.shape[1]))
        return row_keys(renamed(inputs, symbols) if len(symbols) else inputs)

    def overlap(self, train: "PuzzleSet", test: "PuzzleSet") -> dict[str, int]:
        """What two sets share up to symmetry, equivalent_puzzles among it."""
        keys = [np.unique(self.class_keys(part.inputs, part.labels)) for part in (train, test)]
        return {"equivalent_puzzles": len(np.intersect1d(*keys))}

    # -------------------------------------------------------------------------- text and pictures

    def characters(self, size: int) -> str:
        """The character of every token."""
        known = "?.123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        if self.vocabulary(size) > len(known):
            raise InputError(f"{self.vocabulary(size)} tokens have no characters: override this")
        return known[: self.vocabulary(size)]

    def palette(self, size: int) -> list[tuple[str, str]]:
        """The characters a question is drawn with, the blank first, and what each is called."""
        blank, *others = self.characters(size)[1:]
        return [(blank, "clear"), *((character, character) for character in others)]

    def written(self, question: np.ndarray) -> str:
        """A question (L,) as a person would paste it."""
        characters = self.characters(isqrt(len(question)))
        return "".join(characters[token] for token in question)

    def cells_in(self, text: str) -> int:
        """Cells of a question's text."""
        return len("".join(text.split()))

    def parse(self, text: str, size: int | None = None) -> np.ndarray:
        """Tokens uint8 (L,) of a question's text, of this size if one is given. DataError for
        another size or character."""
        cells = "".join(text.split())
        side = isqrt(len(cells)) if size is None else size
        if not cells or len(cells) != side * side:
            wanted = "a square number" if size is None else size * size
            raise DataError(f"the puzzle has {len(cells)} characters, expected {wanted}")
        known = self.characters(side)[1:]
        for position, character in enumerate(cells, start=1):
            if character not in known:
                raise DataError(
                    f"puzzle, character {position}: {character!r} is not allowed; use {known}"
                )
        return np.array([known.index(c) + 1 for c in cells], dtype=np.uint8)

    def unanswerable(self, question: np.ndarray) -> str | None:
        """Why a question (L,) has no right answer, where that can be told."""
        return None

    def ambiguity(self, question: np.ndarray) -> str | None:
        """Where two right answers of a question (L,) differ, where that can be told."""
        return None

    def contradicts(self, tokens: np.ndarray, given: np.ndarray) -> np.ndarray:
        """bool (L,): whether a cell changes what the question fixes."""
        return (given != BLANK) & (tokens != given)

    def filled(self, tokens: np.ndarray) -> np.ndarray:
        """bool (L,): whether something stands in a cell that a question may leave blank."""
        return tokens != BLANK

    def box(self, size: int) -> tuple[int, int]:
        """Rows and columns between two strong lines of a picture."""
        return size, size

    def text(self, tokens: np.ndarray, clash: np.ndarray) -> str:
        """Lines of one grid (L,); clash (L,): cells that contradict the question."""
        size = isqrt(len(tokens))
        return painting.grid_text(tokens, clash, self.characters(size), self.box(size))

    def draw(
        self, axis: "Axes", tokens: np.ndarray, kept: np.ndarray, wrong: np.ndarray, label
    ) -> None:
        """Draw one grid, tokens (L,), on an axis of matplotlib.

        kept: bool (L,), givens that stand; wrong: bool (L,), cells to mark; label: the answer (L,),
        None: not known.
        """
        size = isqrt(len(tokens))
        painting.draw_grid(
            axis, tokens, kept, wrong, self.characters(size), self.box(size), self.panel
        )
