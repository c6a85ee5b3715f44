"""Grids of characters as text and as pictures: what the kinds of puzzles share."""

from math import isqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLANK = 1  # the token of a blank cell
INK, PAPER, RULE = "#22303c", "#ffffff", "#c3ccd4"
RIGHT, WRONG = "#1f77b4", "#c8321f"  # told apart by colour-blind readers too
WRONG_FIELD, GIVEN_FIELD = "#fbdcd6", "#f1f3f5"
UNKNOWN = "?"


def character_of(token: int, characters: str) -> str:
    """`?` for padding and what is no token."""
    return characters[token] if 1 <= token < len(characters) else UNKNOWN


def grid_text(tokens: np.ndarray, clash: np.ndarray, characters: str, box: tuple[int, int]) -> str:
    """Lines of one grid, tokens (L,), with lines between boxes of so many rows and columns; a cell
    that clashes, bool clash (L,), is followed by `!`.

    characters: of every token, in order; box: its rows and columns.
    """
    size, (height, width) = isqrt(len(tokens)), box
    cells = [
        f" {character_of(int(token), characters)}{'!' if bad else ' '}"
        for token, bad in zip(tokens, clash, strict=True)
    ]
    rule = "+".join(["-" * (3 * width)] * (size // width))
    lines = []
    for row in range(size):
        if row and row % height == 0:
            lines.append(rule)
        line = cells[row * size : (row + 1) * size]
        boxes = [line[i : i + width] for i in range(0, size, width)]
        lines.append("|".join("".join(each) for each in boxes))
    return "\n".join(lines)


def draw_grid(
    axis: "Axes",
    tokens: np.ndarray,
    kept: np.ndarray,
    wrong: np.ndarray,
    characters: str,
    box: tuple[int, int],
    panel: float,
) -> None:
    """One grid, tokens (L,): givens that stand (kept) dark and bold, wrong cells red, the rest
    blue.

    axis: of matplotlib, drawn on; kept, wrong: bool (L,); characters: of every token, in order;
    box: rows and columns between two strong lines; panel: inches of the picture's side.
    """
    size = isqrt(len(tokens))
    fields = np.full(len(tokens), PAPER, dtype=object)
    fields[kept], fields[wrong] = GIVEN_FIELD, WRONG_FIELD
    paint(axis, fields, size)
    for cell in np.flatnonzero(tokens != BLANK):
        colour = INK if kept[cell] else WRONG if wrong[cell] else RIGHT
        text = character_of(int(tokens[cell]), characters)
        write(axis, cell, size, text, colour, panel, kept[cell])
    for line in range(size + 1):
        for draw, apart in ((axis.axhline, box[0]), (axis.axvline, box[1])):
            colour, width, above = (INK, 1.6, 3) if line % apart == 0 else (RULE, 0.6, 2)
            draw(line, color=colour, linewidth=width, zorder=above, clip_on=False)


def paint(axis: "Axes", fields: np.ndarray, size: int) -> None:
    """Fill the cells of a panel: colours (L,), cell (0, 0) at the upper left."""
    from matplotlib.colors import to_rgb

    image = np.array([to_rgb(field) for field in fields]).reshape(size, size, 3)
    axis.imshow(image, extent=(0, size, size, 0), interpolation="nearest")


def write(
    axis: "Axes", cell: int, size: int, text: str, colour: str, panel: float, bold: bool
) -> None:
    """Text in a cell of a panel of so many inches.

    axis: of matplotlib, drawn on; size: cells a side; text: a character; colour: its own; bold:
    whether it is a given's.
    """
    row, column = divmod(int(cell), size)
    points = 72 * panel / (size + 1)  # of a cell's side
    axis.text(
        column + 0.5,
        row + 0.52,
        text,
        color=colour,
        fontsize=0.62 * points,
        fontweight="bold" if bold else "normal",
        horizontalalignment="center",
        verticalalignment="center_baseline",
        zorder=4,
    )
