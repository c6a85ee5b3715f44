"""Which rules an answer breaks: none exactly where it is valid, and the right ones."""

import numpy as np
import pytest

from puzzles import sources
from puzzles.difficulty import LEVELS, at_level
from puzzles.kinds import puzzle_of
from puzzles.maze import rules as maze
from puzzles.metrics import is_valid
from puzzles.puzzle import places
from puzzles.sudoku.rules import geometry, parse, to_tokens

QUESTION = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
ANSWER = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"


def sudoku(text: str) -> np.ndarray:
    return to_tokens(parse(text))


def rules_of(kind: str, question: np.ndarray, answer: np.ndarray) -> list[str]:
    return [each.rule for each in puzzle_of(kind).broken(question, answer)]


@pytest.mark.parametrize(("kind", "size"), [("sudoku", 4), ("sudoku", 9), ("maze", 6)])
def test_no_rule_is_broken_exactly_where_the_answer_is_valid(kind, size):
    """Answers and their corruptions: cells of other tokens, swapped, from another puzzle."""
    make = sources.sudoku if kind == "sudoku" else lambda *a, **k: sources.maze("hard", *a, **k)
    part = make(size, train=24, test=4, seed=1)[0]
    rng, puzzle = np.random.default_rng(0), puzzle_of(kind)
    seen = set()
    for question, label in zip(part.inputs, part.labels, strict=True):
        for changes in (0, 1, 1, 2, 3):
            answer = label.copy()
            where = rng.choice(len(answer), changes, replace=False)
            answer[where] = rng.integers(0, puzzle.vocabulary(size), changes)
            valid = bool(is_valid(kind, question[None], answer[None])[0])
            assert (puzzle.broken(question, answer) == []) == valid
            seen.add(valid)
    assert seen == {True, False}


def test_a_digit_twice_is_told_by_row_column_and_box():
    question, answer = sudoku(QUESTION), sudoku(ANSWER)
    answer[2] = sudoku("3" * 81)[0]  # row 1 column 3 held 4
    broken = puzzle_of("sudoku").broken(question, answer)
    assert [each.rule for each in broken] == [
        "row 1 holds 3 twice",
        "column 3 holds 3 twice",
        "box 1 holds 3 twice",
    ]
    units = geometry(9).units
    for each, unit in zip(broken, units[[0, 11, 18]], strict=True):
        assert set(each.cells) < set(unit.tolist())
        assert 2 in each.cells
        assert len(each.cells) == 2


def test_how_often_a_digit_stands_is_told_in_words():
    """A figure beside the digit would read as another digit."""
    rules = rules_of("sudoku", sudoku("." * 81), sudoku("4" * 81))
    assert len(rules) == 27
    assert rules[0] == "row 1 holds 4 nine times"
    assert rules_of("sudoku", sudoku("." * 16), sudoku("1112" + "." * 12))[1] == (
        "row 1 holds 1 three times"
    )


def test_of_many_places_the_first_are_named():
    assert places([0, 1, 2, 3], 9).endswith("row 1 column 4")
    assert places([0, 1, 2, 3, 4], 9).endswith("row 1 column 4 and 1 more cell")
    assert places([0, 1, 2, 3, 4, 5], 9).endswith("row 1 column 4 and 2 more cells")


def test_a_changed_given_and_an_empty_cell_are_told():
    question, answer = sudoku(QUESTION), sudoku(ANSWER)
    answer[0], answer[80] = sudoku("9" * 81)[0], 1
    said = rules_of("sudoku", question, answer)
    assert said[:2] == [
        "a given is changed at row 1 column 1, row 9 column 9",
        "no digit stands at row 9 column 9",
    ]


FIELD = "S   \n    \n ## \n   G"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("Sooo\n   o\n ##o\n   G", []),
        ("Soo \n    \n ##o\n   G", ["the path ends short at row 1 column 3, row 3 column 4",
                                  "the path is not joined to S at row 3 column 4"]),
        ("Sooo\n o o\n ##o\n   G", ["the path ends short at row 2 column 2",
                                  "the path branches at row 1 column 2"]),
        ("S   \n    \n ## \n   G", ["no path leaves S at row 1 column 1",
                                  "no path reaches G at row 4 column 4"]),
        ("Sooo\n   o\n  #o\n   G", ["what the question fixes is changed at row 3 column 2"]),
        ("Sooo\no  o\n ##o\n   G", ["the path ends short at row 2 column 1",
                                  "the path branches at row 1 column 1"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_path_is_told_with_its_place(answer, said):
    assert rules_of("maze", maze.parse(FIELD), maze.parse(answer)) == said


@pytest.mark.parametrize(("kind", "size"), [("sudoku", 9), ("sudoku", 6), ("maze", 12)])
def test_levels_grow_harder_and_hold_one_right_puzzle(kind, size):
    found = [at_level(kind, size, level, 3) for level in LEVELS]
    hardness = [float(part.difficulty[0]) for part in found]
    assert hardness == sorted(hardness)
    assert hardness[0] < hardness[-1] or size == 6  # random 6x6 ones need no guess
    for part in found:
        assert len(part) == 1
        assert is_valid(kind, part.inputs, part.labels).all()
    again = at_level(kind, size, "hard", 3)
    assert (again.inputs == found[-1].inputs).all()
