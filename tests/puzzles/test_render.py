"""Puzzles as text, character for character, and as pictures, by the colours of their cells."""

import subprocess
import sys

import numpy as np
import pytest

from puzzles import painting, render
from puzzles.maze import puzzle as maze
from puzzles.maze import rules as maze_rules
from puzzles.sudoku import rules as sudoku_rules

QUESTION = sudoku_rules.to_tokens(sudoku_rules.parse("1..4..1..1..4..1"))
ANSWER = sudoku_rules.to_tokens(sudoku_rules.parse("1324241331424231"))


def test_sudoku_text():
    wrong = ANSWER.copy()
    wrong[0], wrong[5] = 3, 0
    assert render.to_text("sudoku", wrong, QUESTION).split("\n") == [
        " 2! 3 | 2  4 ",
        " 2  ? | 1  3 ",
        "------+------",
        " 3  1 | 4  2 ",
        " 4  2 | 3  1 ",
    ]
    assert render.to_text("sudoku", QUESTION).split("\n")[0] == " 1  . | .  4 "


@pytest.mark.parametrize(("size", "rules", "bars"), [(4, 1, 1), (6, 2, 1), (9, 2, 2)])
def test_sudoku_text_has_lines_between_the_boxes(size, rules, bars):
    lines = render.to_text("sudoku", np.full(size**2, 2)).split("\n")
    assert [line for line in lines if "+" in line] == [lines[size // (rules + 1)]] * rules
    assert len(lines) == size + rules
    assert {len(line) for line in lines} == {3 * size + bars}
    assert lines[0].count("|") == bars


def test_maze_text():
    question = maze_rules.parse("S #  #  G")
    answer = np.array([3, 2, 2, 5, 5, 5, 0, 2, 4])
    assert render.to_text("maze", answer, question).split("\n") == [
        "██████████",
        "██S    !██",
        "██· · ·!██",
        "██?!  G ██",
        "██████████",
    ]
    assert render.to_text("maze", question).split("\n")[1] == "██S   ████"


def cell_colours(path, panels: int, size: int) -> np.ndarray:
    """Colours (panels, size, size, 3) in 0..255 near the upper left corner of every cell.

    A panel's frame is found by its colour: the dark lines that are as high as the panel.
    """
    from matplotlib.image import imread

    image = (imread(path)[..., :3] * 255).round().astype(int)
    ink = np.array([int(painting.INK[i : i + 2], 16) for i in (1, 3, 5)])
    dark = (np.abs(image - ink) < 12).all(axis=2)
    full = np.flatnonzero(dark.sum(axis=0) > 0.7 * dark.sum(axis=0).max())
    lines = [group.mean() for group in np.split(full, np.flatnonzero(np.diff(full) > 3) + 1)]
    inner = len(lines) // panels
    rows = np.flatnonzero(dark[:, round(lines[0])])
    top, height = rows[0], rows[-1] - rows[0]
    colours = np.empty((panels, size, size, 3), int)
    for panel in range(panels):
        left, right = lines[panel * inner], lines[(panel + 1) * inner - 1]
        for row, column in np.ndindex(size, size):
            y = top + (row + 0.14) * height / size
            x = left + (column + 0.14) * (right - left) / size
            colours[panel, row, column] = image[round(y), round(x)]
    return colours


def rgb(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def test_picture_of_a_sudoku_marks_given_and_wrong_cells(tmp_path):
    wrong = ANSWER.copy()
    wrong[0], wrong[5] = 3, 4  # a given changed, a cell filled in wrongly
    panels = [("question", QUESTION), ("after segment 1", wrong), ("after segment 4", ANSWER)]
    path = tmp_path / "sudoku.png"
    render.to_png("sudoku", panels, path, given=QUESTION, label=ANSWER)
    colours = cell_colours(path, 3, 4)
    given = (QUESTION > 1).reshape(4, 4)
    for panel in (0, 2):
        fields = np.where(given[..., None], rgb(painting.GIVEN_FIELD), rgb(painting.PAPER))
        assert np.abs(colours[panel] - fields).max() <= 2
    bad = np.zeros((4, 4), bool)
    bad[0, 0] = bad[1, 1] = True
    fields = np.where(bad[..., None], rgb(painting.WRONG_FIELD), fields)
    assert np.abs(colours[1] - fields).max() <= 2


def test_picture_of_a_maze_marks_right_wrong_and_missed_cells(tmp_path):
    question = maze_rules.parse("S  # # G #  #   ")
    label = maze_rules.parse("Soo# #oG #  #   ")
    answer = maze_rules.parse("S o#o#oG  o #   ")
    path = tmp_path / "maze.png"
    render.to_png("maze", [("q", question), ("a", answer)], path, given=question, label=label)
    colours = cell_colours(path, 2, 4)
    name = {"#": maze.STONE, " ": painting.PAPER, "S": maze.START_FIELD, "G": maze.GOAL_FIELD,
            "o": painting.RIGHT, "x": painting.WRONG, "m": maze.MISSED,
            "w": painting.WRONG_FIELD}  # fmt: skip
    for panel, expected in enumerate(["S  # # G #  #   ", "Smo#x#oG wx #   "]):
        fields = np.array([rgb(name[cell]) for cell in expected]).reshape(4, 4, 3)
        assert np.abs(colours[panel] - fields).max() <= 2


@pytest.mark.parametrize("kind", ["sudoku", "maze"])
@pytest.mark.parametrize("panels", [1, 5, 7])
def test_many_panels_wrap_to_rows_and_need_no_label(tmp_path, kind, panels):
    from matplotlib.image import imread

    tokens = np.full(16, 2, dtype=np.int64)
    path = tmp_path / "picture.png"
    render.to_png(kind, [("title", tokens)] * panels, path)
    height, width = imread(path).shape[:2]
    columns, rows = min(panels, 5), (panels + 4) // 5
    assert width / height == pytest.approx(columns / rows, rel=0.25)


def test_drawing_leaves_no_global_figures_and_text_needs_no_matplotlib():
    program = (
        "import sys, numpy as np, puzzles.render as render\n"
        "tokens = np.full(16, 2)\n"
        "render.to_text('sudoku', tokens)\n"
        "assert not any(name.startswith('matplotlib') for name in sys.modules)\n"
        "import io; render.to_png('sudoku', [('a', tokens)], io.BytesIO())\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("kind", "panels", "options", "reason"),
    [
        ("sudoku", [], {}, "no panels"),
        ("chess", [("a", QUESTION)], {}, 'kind is "chess"'),
        ("sudoku", [("a", QUESTION[None])], {}, r"integers \(L,\)"),
        ("sudoku", [("a", QUESTION), ("b", np.ones(25, int))], {}, "a sudoku grid has"),
        ("sudoku", [("a", QUESTION)], {"given": np.ones(36, int)}, "differ in length"),
        ("maze", [("a", QUESTION)], {"label": QUESTION.astype(float)}, "integers"),
        ("maze", [("a", np.ones(5, int))], {}, "square"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path, kind, panels, options, reason):
    path = tmp_path / "picture.png"
    with pytest.raises(ValueError, match=reason):
        render.to_png(kind, panels, path, **options)
    assert not path.exists()
