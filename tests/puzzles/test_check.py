"""Checking a dataset folder: a right one passes, each kind of damage is named."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from puzzles import sources
from puzzles.check import check_dataset
from puzzles.dataset import Record, write_dataset
from puzzles.errors import DataError
from puzzles.maze import search
from puzzles.puzzle_set import PuzzleSet
from puzzles.sudoku import generator, rules

SHARED = os.environ.get("LOOPBENCH_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="LOOPBENCH_SHARED is not set")
RECORD = Record("test", None)


def sudoku_set(rows: int, first: int = 0) -> PuzzleSet:
    grids = generator.generate(rows, 6, 0, first)
    return PuzzleSet.ungrouped("sudoku", 6, *(rules.to_tokens(grid) for grid in grids))


def maze_set(texts: list[str]) -> PuzzleSet:
    inputs = np.array([["# SGo".index(c) + 1 for c in text] for text in texts], np.uint8)
    return PuzzleSet.ungrouped("maze", 3, inputs, search.label(inputs))


def rewrite(folder: Path, name: str, change) -> None:
    array = np.load(folder / name)
    change(array)
    np.save(folder / name, array)
    (folder / "loopbench.json").unlink()  # else the hash tells first


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_dataset(tmp_path / "set", sudoku_set(20), sudoku_set(8, first=20), RECORD)


def test_a_right_sudoku_folder_is_reported(folder):
    told = []
    report = check_dataset(folder, lambda *done: told.append(done))
    assert (report.kind, report.size, report.hashed) == ("sudoku", 6, 10)
    assert report.puzzles == report.groups == {"train": 20, "test": 8}
    assert report.overlap["equivalent_puzzles"] == 0
    assert report.first_paths == {}
    assert told == [("train", 20, 20), ("test", 8, 8)]


def test_a_right_maze_folder_counts_the_first_paths(tmp_path):
    train = maze_set(["S       G", "S # #   G", "S  ## ##G"])
    other_path = train.labels.copy()
    other_path[0] = [3, 5, 5, 2, 2, 5, 2, 2, 4]  # right, right, down, down: as short, not first
    train = replace(train, labels=other_path)
    folder = write_dataset(tmp_path / "set", train, maze_set(["G       S"]), RECORD)
    report = check_dataset(folder)
    assert report.first_paths == {"train": 2, "test": 1}
    assert report.overlap == {"identical_puzzles": 0, "equivalent_puzzles": 1}


@pytest.mark.parametrize(
    "build",
    [
        lambda: sources.sudoku(4, 30, 10, seed=0),
        lambda: sources.sudoku(9, 8, 4, seed=0),
        lambda: sources.maze("hard", 9, 5, 3, seed=0),
        lambda: sources.maze("unique", 9, 5, 3, seed=0),
    ],
)
def test_what_is_generated_passes(tmp_path, build):
    train, test, record = build()
    report = check_dataset(write_dataset(tmp_path / "set", train, test, record))
    assert report.overlap == record.overlap


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_wrong_answer_is_named(folder, split):
    def swap(labels: np.ndarray) -> None:
        labels[5] = labels[4]

    rewrite(folder, f"{split}/all__labels.npy", swap)
    with pytest.raises(DataError, match=rf"{split}/all__inputs\.npy, row 5 \(from 0\): the answer"):
        check_dataset(folder)


def test_two_solutions_are_named_with_the_number_of_bad_rows(folder):
    def empty(inputs: np.ndarray) -> None:
        inputs[[3, 7]] = 1

    rewrite(folder, "train/all__inputs.npy", empty)
    with pytest.raises(DataError, match=r"row 3 \(from 0\): .* one solution \(2 bad rows in all\)"):
        check_dataset(folder)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([3, 1, 2, 1, 1, 2, 2, 2, 4], "no path from S to G"),
        ([3, 2, 2, 2, 2, 2, 2, 2, 2], "exactly one S and one G"),
    ],
)
def test_a_wrong_maze_is_named(tmp_path, row, reason):
    folder = write_dataset(
        tmp_path / "set", maze_set(["S       G"]), maze_set(["GS       "]), RECORD
    )
    np.save(folder / "train" / "all__inputs.npy", np.array([row], np.uint8))
    np.save(folder / "train" / "all__labels.npy", np.array([row], np.uint8))
    (folder / "loopbench.json").unlink()
    (folder / "train" / "dataset.json").write_text(
        json.dumps({"vocab_size": 6, "seq_len": 9, "total_groups": 1})
    )
    with pytest.raises(DataError, match=rf"train/all__inputs\.npy, row 0 \(from 0\): .*{reason}"):
        check_dataset(folder)


def test_a_label_longer_than_the_shortest_is_named(tmp_path):
    train = maze_set(["S       G"])
    longer = np.array([[3, 5, 5, 5, 5, 5, 5, 5, 4]], np.uint8)
    train = replace(train, labels=longer)
    folder = write_dataset(tmp_path / "set", train, maze_set(["GS       "]), RECORD)
    with pytest.raises(DataError, match="longer than the shortest"):
        check_dataset(folder)


def test_a_question_in_both_splits_is_an_error(tmp_path):
    folder = write_dataset(tmp_path / "set", sudoku_set(20), sudoku_set(8, first=18), RECORD)
    with pytest.raises(DataError, match=r"test/all__inputs\.npy, row 0 .* \(2 such questions\)"):
        check_dataset(folder)


def test_a_changed_array_is_found_by_its_hash(folder):
    path = folder / "test" / "all__puzzle_indices.npy"
    np.save(path, np.load(path).astype(np.int64))  # still right, no longer the file recorded
    with pytest.raises(DataError, match=r"all__puzzle_indices\.npy: differs from the sha256"):
        check_dataset(folder)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("identifiers.json", None, "no such file"),
        ("identifiers.json", "{", "not readable as JSON"),
        ("identifiers.json", "{}", "expected a list"),
        ("loopbench.json", "[", "not readable as JSON"),
        ("train/all__labels.npy", None, "missing array"),
    ],
)
def test_missing_and_broken_files_are_named(folder, name, text, reason):
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)
    with pytest.raises(DataError, match=reason) as caught:
        check_dataset(folder)
    assert str(folder / name) in str(caught.value)


def test_an_empty_folder_is_no_dataset(tmp_path):
    with pytest.raises(DataError, match=r"identifiers\.json: no such file"):
        check_dataset(tmp_path)


@needs_shared
def test_the_published_mazes_are_all_right():
    report = check_dataset(Path(SHARED) / "data" / "maze-hard")
    assert report.puzzles == report.first_paths == {"train": 1000, "test": 1000}
    assert report.overlap == {"identical_puzzles": 0, "equivalent_puzzles": 0}
