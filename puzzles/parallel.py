"""Work on the rows of a batch, on all cores, with progress told to the caller."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

Progress = Callable[[int, int], None]  # rows done, rows in all
StageProgress = Callable[[str, int, int], None]  # name of the stage, rows done, rows in all


def map_rows(
    function: Callable[[slice], np.ndarray],
    rows: int,
    progress: Progress | None = None,
    chunk: int = 512,
) -> np.ndarray:
    """Concatenated function(rows i to i + chunk) over 0..rows, on all cores.

    progress: told of the rows done, and all rows, after each chunk; None: nobody is.

    The numba kernels below the functions release the interpreter lock, so threads are enough.
    """
    pieces = [slice(i, min(i + chunk, rows)) for i in range(0, max(1, rows), chunk)]
    results = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for piece, result in zip(pieces, pool.map(function, pieces), strict=True):
            results.append(result)
            if progress is not None:
                progress(piece.stop, rows)
    return np.concatenate(results)
