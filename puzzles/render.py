"""Puzzles as text for terminals and as pictures: questions, answers, and what is wrong in them."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from puzzles.maze import rules as maze_rules
from puzzles.maze.rules import FREE, GOAL, PATH, START, WALL
from puzzles.sudoku.rules import Geometry, geometry_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Kind = Literal["sudoku", "maze"]
Panel = tuple[str, np.ndarray]  # title, tokens (L,)

BLANK = 1  # of sudoku tokens
INK, PAPER, RULE, STONE = "#22303c", "#ffffff", "#c3ccd4", "#a3aeb8"
RIGHT, WRONG = "#1f77b4", "#c8321f"  # told apart by colour-blind readers too
MISSED, WRONG_FIELD, GIVEN_FIELD = "#c6dbef", "#fbdcd6", "#f1f3f5"
START_FIELD, GOAL_FIELD = "#2a9d5c", "#e39b16"

_GLYPHS = {WALL: "██", FREE: "  ", START: "S ", GOAL: "G ", PATH: "· "}
_UNKNOWN = "?"
_COLUMNS = 5  # panels in a row of a picture
_WIDTH = {"sudoku": 2.6, "maze": 3.6}  # inches of a panel
_DPI = 160


def to_text(kind: Kind, tokens: np.ndarray, given: np.ndarray | None = None) -> str:
    """Lines of text of one grid of tokens (L,), without a newline at the end.

    Sudokus have lines between the boxes and '.' for a blank. Mazes have cells two characters wide,
    with dots along the path. '?' stands for padding and unknown tokens. With the question `given`
    (L,), a cell that contradicts it, a changed given or wall, is followed by '!'.

    Raises ValueError for an unknown kind and for arrays of the wrong form.
    """
    _check(kind, tokens, given)
    clash = _contradicts(kind, tokens, given)
    if kind == "sudoku":
        return _sudoku_text(tokens, clash)
    size = maze_rules.size_of(tokens)
    cells = [_GLYPHS.get(int(token), _UNKNOWN + " ") for token in tokens]
    cells = [cell[0] + "!" if bad else cell for cell, bad in zip(cells, clash, strict=True)]
    edge = "██" * (size + 2)
    rows = ["".join(cells[i : i + size]) for i in range(0, len(cells), size)]
    return "\n".join([edge, *(f"██{row}██" for row in rows), edge])


def _sudoku_text(tokens: np.ndarray, clash: np.ndarray) -> str:
    geo = geometry_of(tokens)
    cells = [
        f" {_digit(int(token), geo)}{'!' if bad else ' '}"
        for token, bad in zip(tokens, clash, strict=True)
    ]
    rule = "+".join(["-" * (3 * geo.box_width)] * (geo.size // geo.box_width))
    lines = []
    for row in range(geo.size):
        if row and row % geo.box_height == 0:
            lines.append(rule)
        line = cells[row * geo.size : (row + 1) * geo.size]
        boxes = [line[i : i + geo.box_width] for i in range(0, geo.size, geo.box_width)]
        lines.append("|".join("".join(box) for box in boxes))
    return "\n".join(lines)


def _digit(token: int, geo: Geometry) -> str:
    if token == BLANK:
        return "."
    return str(token - 1) if 2 <= token <= geo.size + 1 else _UNKNOWN


def to_png(
    kind: Kind,
    panels: Sequence[Panel],
    path: str | Path,
    given: np.ndarray | None = None,
    label: np.ndarray | None = None,
) -> None:
    """Draw puzzles (title, tokens (L,)) side by side, five a row, into a picture file.

    given (L,): the question; its cells are drawn dark and bold. label (L,): the answer; cells
    filled in as in it are blue, others red. Without a label, what is filled in is blue; a cell
    that contradicts the question is red in any case. A maze's path cells that are still missing
    are pale blue, once there is some path. The suffix of `path` names the format (.png,
    .svg, .pdf). Raises ValueError for no panels, an unknown kind and arrays of the wrong form.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not panels:
        raise ValueError("no panels to draw; give at least one (title, tokens)")
    for _, tokens in panels:
        _check(kind, tokens, given, label)
    columns = min(len(panels), _COLUMNS)
    rows = ceil(len(panels) / columns)
    width = _WIDTH[kind]
    figure = Figure((columns * width, rows * (width + 0.3)), dpi=_DPI, layout="constrained")
    figure.get_layout_engine().set(wspace=0.06, hspace=0.04)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    draw = _draw_sudoku if kind == "sudoku" else _draw_maze
    for axis, (title, tokens) in zip(axes, panels, strict=False):
        axis.set_title(title, color=INK, fontsize=11)
        draw(axis, tokens, given, label)
    figure.savefig(path, facecolor=PAPER, bbox_inches="tight", pad_inches=0.12)


def _draw_sudoku(
    axis: "Axes", tokens: np.ndarray, given: np.ndarray | None, label: np.ndarray | None
) -> None:
    geo = geometry_of(tokens)
    kept = np.zeros(len(tokens), bool) if given is None else (given == tokens) & (given != BLANK)
    wrong = _is_wrong("sudoku", tokens, given, label)
    fields = np.full(len(tokens), PAPER, dtype=object)
    fields[kept], fields[wrong] = GIVEN_FIELD, WRONG_FIELD
    _paint(axis, fields, geo.size)
    for cell in np.flatnonzero(tokens != BLANK):
        colour = INK if kept[cell] else WRONG if wrong[cell] else RIGHT
        _write(axis, cell, geo.size, _digit(int(tokens[cell]), geo), colour, "sudoku", kept[cell])
    for line in range(geo.size + 1):
        for draw, box in ((axis.axhline, geo.box_height), (axis.axvline, geo.box_width)):
            style = (INK, 1.6, 3) if line % box == 0 else (RULE, 0.6, 2)
            colour, width, above = style
            draw(line, color=colour, linewidth=width, zorder=above, clip_on=False)


def _draw_maze(
    axis: "Axes", tokens: np.ndarray, given: np.ndarray | None, label: np.ndarray | None
) -> None:
    size = maze_rules.size_of(tokens)
    wrong = _is_wrong("maze", tokens, given, label)
    colours = {WALL: STONE, FREE: PAPER, START: START_FIELD, GOAL: GOAL_FIELD, PATH: RIGHT}
    fields = np.array([colours.get(int(token), WRONG_FIELD) for token in tokens], dtype=object)
    if label is not None and (tokens == PATH).any():
        fields[(label == PATH) & (tokens == FREE)] = MISSED
    fields[wrong] = np.where(tokens[wrong] == PATH, WRONG, WRONG_FIELD)
    _paint(axis, fields, size)
    for cell in np.flatnonzero((tokens == START) | (tokens == GOAL)):
        letter = maze_rules.ALPHABET[tokens[cell] - 1]
        colour = WRONG if wrong[cell] else PAPER
        _write(axis, cell, size, letter, colour, "maze", bold=True)
    for edge in (0, size):
        axis.axhline(edge, color=INK, linewidth=1.2, clip_on=False)
        axis.axvline(edge, color=INK, linewidth=1.2, clip_on=False)


def _paint(axis: "Axes", fields: np.ndarray, size: int) -> None:
    """Fill the cells of a panel: colours (L,), cell (0, 0) at the upper left."""
    from matplotlib.colors import to_rgb

    image = np.array([to_rgb(field) for field in fields]).reshape(size, size, 3)
    axis.imshow(image, extent=(0, size, size, 0), interpolation="nearest")


def _write(
    axis: "Axes", cell: int, size: int, text: str, colour: str, kind: Kind, bold: bool
) -> None:
    row, column = divmod(int(cell), size)
    points = 72 * _WIDTH[kind] / (size + 1)  # of a cell's side
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


def _contradicts(kind: Kind, tokens: np.ndarray, given: np.ndarray | None) -> np.ndarray:
    """Whether a cell changes what the question fixes: a given, or anything but a free cell."""
    if given is None:
        return np.zeros(len(tokens), dtype=bool)
    if kind == "sudoku":
        return (given != BLANK) & (tokens != given)
    return (tokens != given) & ~((given == FREE) & (tokens == PATH))


def _is_wrong(
    kind: Kind, tokens: np.ndarray, given: np.ndarray | None, label: np.ndarray | None
) -> np.ndarray:
    """Whether a cell contradicts the question or is filled in otherwise than in the label."""
    wrong = _contradicts(kind, tokens, given)
    if label is None:
        return wrong
    filled = tokens == PATH if kind == "maze" else tokens != BLANK
    return wrong | (filled & (tokens != label))


def _check(
    kind: Kind,
    tokens: np.ndarray,
    given: np.ndarray | None = None,
    label: np.ndarray | None = None,
) -> None:
    if kind not in ("sudoku", "maze"):
        raise ValueError(f'kind is "{kind}", expected "sudoku" or "maze"')
    for name, array in (("tokens", tokens), ("given", given), ("label", label)):
        if array is None:
            continue
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"{name} must be integers (L,), got {array.dtype} {array.shape}")
        if array.shape != tokens.shape:
            raise ValueError(f"{name} {array.shape} and tokens {tokens.shape} differ in length")
    if kind == "sudoku":
        geometry_of(tokens)
    else:
        maze_rules.size_of(tokens)
