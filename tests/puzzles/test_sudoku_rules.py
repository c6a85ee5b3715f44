"""Geometry, text form, validity and tokens of sudoku grids."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puzzles.errors import DataError
from puzzles.sudoku import rules

SOLVED = "123456789456789123789123456214365897365897214897214365531642978642978531978531642"


@pytest.mark.parametrize(("size", "height", "width"), [(4, 2, 2), (6, 2, 3), (9, 3, 3)])
def test_units_are_rows_columns_and_boxes(size, height, width):
    geo = rules.geometry(size)
    boxes = {
        frozenset((top + i) * size + left + j for i in range(height) for j in range(width))
        for top in range(0, size, height)
        for left in range(0, size, width)
    }
    rows = {frozenset(range(r * size, (r + 1) * size)) for r in range(size)}
    columns = {frozenset(range(c, size * size, size)) for c in range(size)}
    assert {frozenset(unit.tolist()) for unit in geo.units} == rows | columns | boxes
    assert (geo.box_height, geo.box_width, geo.vocab_size) == (height, width, size + 2)


@pytest.mark.parametrize(("size", "peers"), [(4, 7), (6, 12), (9, 20)])
def test_every_cell_has_its_peers(size, peers):
    related = rules.geometry(size).peers
    assert (related.sum(axis=1) == peers).all()
    assert (related == related.T).all()


@pytest.mark.parametrize("size", [0, 5, 16])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match="not supported"):
        rules.geometry(size)


@given(
    st.sampled_from([4, 6, 9]).flatmap(
        lambda s: st.lists(st.integers(0, s), min_size=s * s, max_size=s * s)
    )
)
def test_parse_inverts_format(digits):
    grid = np.array(digits, dtype=np.uint8)
    text = rules.format_grid(grid)
    assert (rules.parse(text) == grid).all()
    assert (rules.parse(text.replace(".", "0")) == grid).all()
    assert (rules.parse(text.replace(".", "_")) == grid).all()


@pytest.mark.parametrize(
    ("text", "size", "message"),
    [
        ("." * 80, 9, "80 characters, expected 81"),
        ("." * 80, None, "80 characters, expected 16 or 36 or 81"),
        ("." * 16, 9, "16 characters, expected 81"),
        ("." * 80 + "x", 9, "character 81: 'x'"),
        ("7" + "." * 35, 6, "character 1: '7'"),
        ("." * 8 + "é" + "." * 7, 4, "character 9: 'é'"),
        ("." * 8 + "数" + "." * 7, 4, "character 9: '数'"),
    ],
)
def test_bad_text_is_refused_with_the_place(text, size, message):
    with pytest.raises(DataError, match=message):
        rules.parse(text, size)


def test_is_solution_against_the_definition():
    grid = rules.parse(SOLVED)
    assert rules.is_solution(grid)[0]
    swapped_in_row, swapped_rows, blank = grid.copy(), grid.copy(), grid.copy()
    swapped_in_row[[0, 1]] = swapped_in_row[[1, 0]]  # breaks two columns only
    rows = swapped_rows.reshape(9, 9)
    rows[[0, 3]] = rows[[3, 0]]  # breaks boxes only
    blank[40] = 0
    assert not rules.is_solution(np.stack([swapped_in_row, swapped_rows, blank])).any()


def test_keeps_givens():
    grid = rules.parse(SOLVED)
    puzzle = np.where(np.arange(81) % 3 == 0, grid, 0).astype(np.uint8)
    other = grid.copy()
    other[1] = 9  # not a given
    third = grid.copy()
    third[3] = 9  # a given
    kept = rules.keeps_givens(np.stack([puzzle] * 3), np.stack([grid, other, third]))
    assert kept.tolist() == [True, True, False]


def test_tokens_shift_digits_by_one_and_refuse_padding():
    grids = np.arange(17, dtype=np.uint8)[:16].reshape(1, 16) % 5
    tokens = rules.to_tokens(grids)
    assert (tokens == grids + 1).all()
    assert (rules.from_tokens(tokens) == grids).all()
    with pytest.raises(DataError, match="row 0: expected 1"):
        rules.from_tokens(tokens - 1)


def test_tokens_in_place_of_digits_are_refused():
    tokens = rules.to_tokens(rules.parse(SOLVED)[None])
    with pytest.raises(DataError, match=r"grids, row 0: cell 8 holds 10, expected 0 to 9"):
        rules.is_solution(tokens)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="rows of 80"):
        rules.is_solution(np.zeros((2, 80), dtype=np.uint8))
    with pytest.raises(ValueError, match="integers"):
        rules.is_solution(np.zeros((2, 81)))
