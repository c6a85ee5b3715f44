"""Whether a question has one right answer and the label is it, for every row of a batch.

Two passes: `form_faults` looks at the cells (vectorised, about a million rows a second);
`search_faults` solves the question (sudoku: exactly one solution; maze: the label is as short as
any path). Both return codes uint8 (N,), 0 = right, else a key of the puzzle's `reasons`.
"""

import numpy as np

from puzzles.kinds import puzzle_of
from puzzles.parallel import Progress, map_rows

_FORM_CHUNK = 8192
_IMAGED = 64  # puzzles whose images are looked at


def form_faults(kind: str, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Codes uint8 (N,) of what the cells alone show; inputs and labels are tokens (N, L)."""
    checks = puzzle_of(kind).form_faults
    codes = np.zeros(len(inputs), np.uint8)
    for first in range(0, len(inputs), _FORM_CHUNK):  # chunks only keep the temporaries in cache
        rows = slice(first, first + _FORM_CHUNK)
        codes[rows] = checks(inputs[rows], labels[rows])
    return codes


def search_faults(
    kind: str, inputs: np.ndarray, labels: np.ndarray, progress: Progress | None = None
) -> np.ndarray:
    """Codes uint8 (N,) of what solving the questions shows. Every row must have a right form.

    kind: the puzzle's; inputs, labels: questions and answers, uint8 (N, L); progress: told of the
    rows done, and all rows, None: nobody is.
    """
    search = puzzle_of(kind).search_faults
    return map_rows(lambda rows: search(inputs[rows], labels[rows]), len(inputs), progress)


def fault_codes(
    kind: str, inputs: np.ndarray, labels: np.ndarray, progress: Progress | None = None
) -> np.ndarray:
    """Both passes: codes uint8 (N,), 0 where question and answer are right.

    kind, inputs, labels, progress: as in `search_faults`, but of any form.
    """
    codes = form_faults(kind, inputs, labels)
    sound = np.flatnonzero(codes == 0)
    if len(sound):
        codes[sound] = search_faults(kind, inputs[sound], labels[sound], progress)
    return codes


def augmentation_fault(kind: str, inputs: np.ndarray, labels: np.ndarray) -> str | None:
    """What is wrong with images of the first puzzles under a kind's `augment`, if anything is."""
    first = inputs[:_IMAGED], labels[:_IMAGED]
    images = puzzle_of(kind).augment(*first, np.random.default_rng(0))
    fault = pair_fault(images, first[0].shape)
    if fault is None:
        fault = describe(kind, form_faults(kind, *images))
        fault = None if fault is None else f"gives a wrong puzzle: {fault[1]}"
    return fault


def class_fault(kind: str, inputs: np.ndarray, labels: np.ndarray) -> str | None:
    """Why a split could hold a puzzle on one side and an image of it under `augment` on the other;
    None if the first puzzles' keys are their images' too."""
    first = inputs[:_IMAGED], labels[:_IMAGED]
    puzzle = puzzle_of(kind)
    images = puzzle.augment(*first, np.random.default_rng(0))
    if (puzzle.class_keys(*images) == puzzle.class_keys(*first)).all():
        return None
    return (
        "gives images another key than their puzzles, so that both could stand in a split: give it "
        "class_keys, alike for a puzzle and every image of it under augment"
    )


def pair_fault(pair: object, shape: tuple[int, int]) -> str | None:
    """Why a pair is no questions and answers, tokens uint8 of this shape; None if it is."""
    if not (isinstance(pair, tuple) and len(pair) == 2):
        return f"gives a {type(pair).__name__}, expected two arrays, questions and answers"
    for part in pair:
        form = (part.dtype, part.shape) if isinstance(part, np.ndarray) else type(part).__name__
        if form != (np.uint8, shape):
            return f"gives {form}, expected uint8 {shape}"
    return None


def describe(kind: str, codes: np.ndarray) -> tuple[int, str] | None:
    """First bad row (from 0) and its reason with the number of bad rows; None if all are right."""
    bad = np.flatnonzero(codes)
    if not len(bad):
        return None
    row = int(bad[0])
    others = "the only bad row" if len(bad) == 1 else f"{len(bad)} bad rows in all"
    return row, f"{puzzle_of(kind).reasons[int(codes[row])]} ({others})"
