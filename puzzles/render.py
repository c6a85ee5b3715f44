"""Puzzles as text for terminals and as pictures: questions, answers, and what is wrong in them."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import BinaryIO

import numpy as np

from puzzles.errors import InputError
from puzzles.kinds import puzzle_of
from puzzles.painting import BLANK, INK, PAPER

Panel = tuple[str, np.ndarray]  # title, tokens (L,)

_COLUMNS = 5  # panels in a row of a picture
_DPI = 160


def to_text(kind: str, tokens: np.ndarray, given: np.ndarray | None = None) -> str:
    """Lines of text of one grid of tokens (L,), without a newline at the end.

    Sudokus have lines between the boxes and '.' for a blank. Mazes have cells two characters wide,
    with dots along the path. '?' stands for padding and unknown tokens. With the question `given`
    (L,), a cell that contradicts it, a changed given or wall, is followed by '!'.

    Raises ValueError for an unknown kind and for arrays of the wrong form.
    """
    _check(kind, tokens, given)
    return puzzle_of(kind).text(tokens, _contradicts(kind, tokens, given))


def to_png(
    kind: str,
    panels: Sequence[Panel],
    path: str | Path | BinaryIO,
    given: np.ndarray | None = None,
    label: np.ndarray | None = None,
) -> None:
    """Draw puzzles (title, tokens (L,)) side by side, five a row, into a picture file, named or
    open (then a PNG).

    given (L,): the question; its cells are drawn dark and bold. label (L,): the answer; cells
    filled in as in it are blue, others red. Without a label, what is filled in is blue; a cell
    that contradicts the question is red in any case. A maze's path cells that are still missing
    are pale blue, once there is some path. The suffix of `path` names the format (.png,
    .svg, .pdf). Raises ValueError for no panels, an unknown kind and arrays of the wrong form.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not panels:
        raise InputError("no panels to draw; give at least one (title, tokens)")
    for _, tokens in panels:
        _check(kind, tokens, given, label)
    columns = min(len(panels), _COLUMNS)
    rows = ceil(len(panels) / columns)
    puzzle, width = puzzle_of(kind), puzzle_of(kind).panel
    figure = Figure((columns * width, rows * (width + 0.3)), dpi=_DPI, layout="constrained")
    figure.get_layout_engine().set(wspace=0.06, hspace=0.04)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, (title, tokens) in zip(axes, panels, strict=False):
        axis.set_title(title, color=INK, fontsize=11)
        kept = np.zeros(len(tokens), bool)
        if given is not None:
            kept = (given == tokens) & (given != BLANK)
        puzzle.draw(axis, tokens, kept, _is_wrong(kind, tokens, given, label), label)
    figure.savefig(path, facecolor=PAPER, bbox_inches="tight", pad_inches=0.12)


def _contradicts(kind: str, tokens: np.ndarray, given: np.ndarray | None) -> np.ndarray:
    """Whether a cell changes what the question fixes: a given, or anything but a free cell."""
    if given is None:
        return np.zeros(len(tokens), dtype=bool)
    return puzzle_of(kind).contradicts(tokens, given)


def _is_wrong(
    kind: str, tokens: np.ndarray, given: np.ndarray | None, label: np.ndarray | None
) -> np.ndarray:
    """Whether a cell contradicts the question or is filled in otherwise than in the label."""
    wrong = _contradicts(kind, tokens, given)
    if label is None:
        return wrong
    return wrong | (puzzle_of(kind).filled(tokens) & (tokens != label))


def _check(
    kind: str,
    tokens: np.ndarray,
    given: np.ndarray | None = None,
    label: np.ndarray | None = None,
) -> None:
    puzzle_of(kind)  # refused unless there is such a puzzle
    for name, array in (("tokens", tokens), ("given", given), ("label", label)):
        if array is None:
            continue
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
            raise InputError(f"{name} must be integers (L,), got {array.dtype} {array.shape}")
        if array.shape != tokens.shape:
            raise InputError(f"{name} {array.shape} and tokens {tokens.shape} differ in length")
    puzzle_of(kind).check_size(len(tokens))
