"""Rows of token grids: keys to compare them by, and codes of the first test that marks them."""

from collections.abc import Sequence

import numpy as np


def row_keys(grids: np.ndarray) -> np.ndarray:
    """One sortable, hashable key (bytes) a row of a uint8 (N, L) array; equal iff the rows are."""
    grids = np.ascontiguousarray(grids, dtype=np.uint8)
    return grids.view(f"S{grids.shape[1]}").ravel()


def renamed(grids: np.ndarray, symbols: Sequence[int]) -> np.ndarray:
    """Rows (N, L) with their `symbols` exchanged so that these come in order, each where another
    came first; alike for rows that differ by an exchange of symbols alone."""
    names = np.array(symbols)
    seen = grids[:, None] == names[:, None]  # (N, symbols, L)
    first = np.where(seen.any(2), seen.argmax(2), grids.shape[1])
    order = np.argsort(first, axis=1, kind="stable")
    table = np.tile(np.arange(256, dtype=np.uint8), (len(grids), 1))
    np.put_along_axis(table, names[order], np.sort(names)[None].astype(np.uint8), axis=1)
    return np.take_along_axis(table, grids.astype(np.int64), axis=1)


def first_code(tests: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """Codes uint8 (N,) of the first test that marks a row; tests are (code, bad (N,))."""
    codes = np.zeros(len(tests[0][1]), np.uint8)
    for code, bad in reversed(tests):
        codes[bad] = code
    return codes
