"""Work on rows in threads: order, progress, errors."""

import numpy as np
import pytest

from puzzles.parallel import map_rows


def test_rows_are_mapped_in_order_and_progress_reaches_the_end():
    told = []
    squares = map_rows(
        lambda rows: np.arange(rows.start, rows.stop) ** 2,
        10,
        lambda done, rows: told.append((done, rows)),
        chunk=4,
    )
    np.testing.assert_array_equal(squares, np.arange(10) ** 2)
    assert told == [(4, 10), (8, 10), (10, 10)]


def test_no_rows_are_no_work():
    assert len(map_rows(lambda rows: np.zeros(rows.stop - rows.start), 0)) == 0


def test_an_error_in_a_thread_reaches_the_caller():
    def fail(rows: slice) -> np.ndarray:
        raise ArithmeticError(f"row {rows.start}")

    with pytest.raises(ArithmeticError, match="row 0"):
        map_rows(fail, 10, chunk=3)
