"""Rows of token grids: keys to compare them by, and codes of the first test that marks them."""

import numpy as np


def row_keys(grids: np.ndarray) -> np.ndarray:
    """One sortable, hashable key (bytes) a row of a uint8 (N, L) array; equal iff the rows are."""
    grids = np.ascontiguousarray(grids, dtype=np.uint8)
    return grids.view(f"S{grids.shape[1]}").ravel()


def first_code(tests: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """Codes uint8 (N,) of the first test that marks a row; tests are (code, bad (N,))."""
    codes = np.zeros(len(tests[0][1]), np.uint8)
    for code, bad in reversed(tests):
        codes[bad] = code
    return codes
