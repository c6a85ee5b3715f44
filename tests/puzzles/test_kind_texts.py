"""What a kind of puzzle is written and drawn with."""

import numpy as np
import pytest

from puzzles.kinds import puzzle_of


@pytest.mark.parametrize(("kind", "size"), [("sudoku", 6), ("maze", 5)])
def test_what_is_written_is_read_back(kind, size):
    puzzle = puzzle_of(kind)
    question, _ = puzzle.generate(size, 1, 0)
    text = puzzle.written(question[0])
    assert len(text.splitlines()) == (size if kind == "maze" else 1)
    np.testing.assert_array_equal(puzzle.parse(text, size), question[0])


@pytest.mark.parametrize(("kind", "size"), [("sudoku", 6), ("maze", 5)])
def test_a_question_can_be_drawn_with_the_palette(kind, size):
    puzzle = puzzle_of(kind)
    question, _ = puzzle.generate(size, 1, 0)
    drawn = {character for character, _ in puzzle.palette(size)}
    assert {puzzle.characters(size)[token] for token in question[0]} <= drawn
