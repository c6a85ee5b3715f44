"""A generated set in a folder is made once, and taken for no other."""

import pytest

from puzzles.dataset import read_split
from puzzles.errors import DataError
from puzzles.sources import generate_into, maze, sudoku

ASKED = {"size": 4, "train": 12, "test": 6, "seed": 3}


def test_the_same_arguments_keep_the_files(tmp_path):
    folder = tmp_path / "data"
    generate_into(folder, sudoku, **ASKED)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")}
    generate_into(folder, sudoku, **ASKED)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")} == before
    assert len(read_split(folder, "test").inputs) == 6


@pytest.mark.parametrize(
    ("make", "change", "said"),
    [
        (sudoku, {"size": 6}, "size 4"),
        (sudoku, {"test": 7}, "test 6"),
        (sudoku, {"seed": 0}, "seed 3"),
        (maze, {"kind": "unique", "size": 7}, "than maze"),
    ],
)
def test_other_arguments_are_refused_and_nothing_is_lost(make, change, said, tmp_path):
    folder = tmp_path / "data"
    generate_into(folder, sudoku, **ASKED)
    with pytest.raises(DataError, match=said):
        generate_into(folder, make, **ASKED | change)
    assert read_split(folder, "train").size == 4


def test_a_folder_that_no_command_made_is_refused(tmp_path):
    with pytest.raises(DataError, match="another kind"):
        generate_into(tmp_path, sudoku)
