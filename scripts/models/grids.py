"""Where a puzzle set's arrays meet a model: what a net needs to know of its grid."""

from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from puzzles.kinds import name_of
from puzzles.puzzle_set import PuzzleSet, vocab_size_of
from puzzles.units import interchangeable_tokens, unit_families
from reasoning.frozen import Frozen
from scripts.usage import UsageError

if TYPE_CHECKING:  # torch comes with it: a run's record is read without
    from reasoning.nn.grid import GridShape


def grid_shape(puzzles: PuzzleSet) -> "GridShape":
    """What a model needs to know of a puzzle set."""
    from reasoning.nn.grid import GridShape

    structure = puzzle_structure(puzzles.kind, puzzles.size)
    return GridShape(puzzles.seq_len, puzzles.vocab_size, puzzles.num_puzzle_ids, *structure)


def recorded_shape(grid: dict[str, Any]) -> "GridShape":
    """The same of a run's or a card's record of its grid."""
    from reasoning.nn.grid import GridShape

    structure = puzzle_structure(grid["kind"], grid["size"])
    return GridShape(grid["cells"], grid["vocabulary"], grid["puzzles"], *structure)


def puzzle_structure(kind: str, size: int) -> tuple[tuple[np.ndarray, ...], tuple[int, ...]]:
    """The families of units and the symbols of a `GridShape`."""
    return unit_families(kind, size), interchangeable_tokens(kind, size)


class GridRecord(Frozen):
    """What a run records of its puzzles, which its config.json may hold edited by hand."""

    kind: Annotated[str, AfterValidator(name_of)]
    size: int = Field(gt=0)
    cells: int
    vocabulary: int
    puzzles: int = Field(gt=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        puzzle_structure(self.kind, self.size)
        expected = self.size**2, vocab_size_of(self.kind, self.size)
        if (self.cells, self.vocabulary) != expected:
            raise UsageError(
                f"{self.kind} of size {self.size} has {expected[0]} cells and a vocabulary "
                f"of {expected[1]}, not {self.cells} and {self.vocabulary}"
            )
        return self
