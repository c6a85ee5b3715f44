"""A generated set in a folder is made once, and taken for no other."""

import numpy as np
import pytest
import sudoku_oracle as oracle

from puzzles.dataset import read_split
from puzzles.errors import DataError
from puzzles.sources import generate_into, maze, sudoku
from puzzles.sudoku import generator

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


def test_sudokus_that_cannot_exist_are_counted_and_refused():
    grids = np.array(oracle.solutions([0] * 16, 4))
    subsets, bits = np.arange(2**16), 1 << np.arange(16)
    count = 0
    for grid in grids:  # givens leave one solution if they hold a cell of every other grid's own
        own = ((grids != grid) * bits).sum(1)
        own = sorted({int(mask) for mask in own} - {0}, key=int.bit_count)
        least = [m for i, m in enumerate(own) if not any(n & m == n for n in own[:i])]
        unique = np.all([subsets & mask != 0 for mask in least], axis=0)
        fewer = np.any([(subsets & bit != 0) & unique[subsets & ~bit] for bit in bits], axis=0)
        count += int((unique & ~fewer).sum())
    assert len(grids) == 288
    assert {4: count} == generator.MINIMAL_PUZZLES
    with pytest.raises(DataError, match=r"100,010 .* 85,632 minimal ones \(on 288 grids\)"):
        sudoku(4, 100_000, 10, seed=0)
