"""Puzzle sets in memory and the folder format: what is written, read back and refused."""

import codecs
import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from puzzles import dataset
from puzzles.dataset import Record, read_split, sha256_of, write_dataset
from puzzles.errors import DataError
from puzzles.puzzle_set import PuzzleSet, infer_kind
from puzzles.sudoku import generator, rules

SHARED = os.environ.get("LOOPBENCH_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="LOOPBENCH_SHARED is not set")
RECORD = Record(command="sudoku", seed=3, options={"size": 4})


def small_set(rows: int = 6, seed: int = 0, first: int = 0) -> PuzzleSet:
    puzzles, solutions = generator.generate(rows, 4, seed, first)
    difficulty = np.arange(rows, dtype=np.float32)
    tokens = rules.to_tokens(puzzles), rules.to_tokens(solutions)
    return PuzzleSet.ungrouped("sudoku", 4, *tokens, difficulty, "guesses")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "set", small_set(), small_set(3, first=6), RECORD)


# --------------------------------------------------------------------------------------- in memory


@pytest.mark.parametrize(
    ("vocab_size", "seq_len", "expected"),
    [
        (6, 16, ("sudoku", 4)),
        (8, 36, ("sudoku", 6)),
        (11, 81, ("sudoku", 9)),
        (6, 900, ("maze", 30)),
        (6, 36, ("maze", 6)),
        (6, 81, ("maze", 9)),
    ],
)
def test_kind_follows_from_vocabulary_and_length(vocab_size, seq_len, expected):
    assert infer_kind(vocab_size, seq_len) == expected


@pytest.mark.parametrize(("vocab_size", "seq_len"), [(11, 80), (6, 901), (12, 81), (6, 1)])
def test_unknown_vocabulary_and_length_are_refused(vocab_size, seq_len):
    with pytest.raises(DataError, match=f"vocab_size {vocab_size} with seq_len {seq_len}"):
        infer_kind(vocab_size, seq_len)


def test_sizes_of_a_set():
    part = small_set(5)
    sizes = (len(part), part.groups, part.seq_len, part.vocab_size, part.num_puzzle_ids)
    assert sizes == (5, 5, 16, 6, 1)


def test_groups_are_taken_whole_and_in_order():
    part = replace(small_set(6), group_offsets=np.array([0, 1, 4, 6]))
    taken = part.take_groups(np.array([2, 1]))
    np.testing.assert_array_equal(taken.difficulty, [4, 5, 1, 2, 3])
    np.testing.assert_array_equal(taken.group_offsets, [0, 2, 5])
    np.testing.assert_array_equal(taken.inputs, part.inputs[[4, 5, 1, 2, 3]])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "chess"}, 'kind is "chess"'),
        ({"size": 6}, r"inputs is uint8 \(6, 16\), expected uint8 \(6, 36\)"),
        ({"labels": np.full((5, 16), 2, np.uint8)}, r"labels is uint8 \(5, 16\)"),
        ({"inputs": np.full((6, 16), 2, np.int64)}, "inputs is int64"),
        ({"inputs": np.full((6, 16), 6, np.uint8)}, "inputs, row 0: token 6 at cell 0"),
        ({"group_offsets": np.array([0, 2, 2, 6])}, "group offsets must rise from 0"),
        ({"group_offsets": np.array([0, 5])}, "group offsets must rise from 0"),
        ({"group_offsets": np.array([1, 6])}, "group offsets must rise from 0"),
        ({"puzzle_ids": np.full(6, -1, np.int32)}, "puzzle_ids, row 0: negative"),
        ({"difficulty": np.array([0, 1, np.nan, 3, 4, 5], np.float32)}, "difficulty, row 2: nan"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, reason):
    with pytest.raises(DataError, match=reason):
        replace(small_set(6), **change)


# ----------------------------------------------------------------------------------------- on disk


def test_a_dataset_reads_back_as_written(folder):
    for split, expected in (("train", small_set()), ("test", small_set(3, first=6))):
        part = read_split(folder, split)
        assert (part.kind, part.size, part.difficulty_name) == ("sudoku", 4, "guesses")
        for name in ("inputs", "labels", "puzzle_ids", "group_offsets", "difficulty"):
            got, want = getattr(part, name), getattr(expected, name)
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)


def test_groups_of_several_puzzles_read_back(tmp_path):
    grouped = replace(small_set(6), group_offsets=np.array([0, 1, 4, 6]))
    folder = write_dataset(tmp_path / "set", grouped, small_set(3), RECORD)
    assert read_split(folder, "train").groups == 3
    np.testing.assert_array_equal(read_split(folder, "train").group_offsets, [0, 1, 4, 6])


def test_the_files_are_those_of_the_published_format(folder):
    """Names, types and keys of the released Maze-Hard folder, written down here by hand."""
    assert json.loads((folder / "identifiers.json").read_text()) == ["<blank>"]
    assert json.loads((folder / "train" / "dataset.json").read_text()) == {
        "pad_id": 0,
        "ignore_label_id": 0,
        "blank_identifier_id": 0,
        "vocab_size": 6,
        "seq_len": 16,
        "num_puzzle_identifiers": 1,
        "total_groups": 6,
        "total_puzzles": 6,
        "mean_puzzle_examples": 1.0,
        "sets": ["all"],
    }
    arrays = {
        "inputs": ("uint8", (6, 16)),
        "labels": ("uint8", (6, 16)),
        "puzzle_identifiers": ("int32", (6,)),
        "puzzle_indices": ("int32", (7,)),
        "group_indices": ("int32", (7,)),
    }
    for name, (dtype, shape) in arrays.items():
        array = np.load(folder / "train" / f"all__{name}.npy")
        assert (array.dtype, array.shape) == (dtype, shape)


def test_puzzles_are_counted_as_hrm_trm_and_we_do(tmp_path):
    """HRM's builder leaves the number out, TRM's writes the groups, we the puzzles."""
    grouped = replace(small_set(6), group_offsets=np.array([0, 1, 6]))
    folder = write_dataset(tmp_path / "set", grouped, small_set(3, first=6), RECORD)
    path = folder / "train" / "dataset.json"
    meta = json.loads(path.read_text())
    assert (meta["total_groups"], meta["total_puzzles"]) == (2, 6)
    for count in ({}, {"total_puzzles": 2}):
        hers = {key: meta[key] for key in meta if key != "total_puzzles"} | count
        path.write_bytes(codecs.BOM_UTF8 + json.dumps(hers).encode())
        assert len(read_split(folder, "train")) == 6


def test_a_folder_without_our_files_reads(folder):
    (folder / "loopbench.json").unlink()
    (folder / "train" / "all__difficulty.npy").unlink()
    part = read_split(folder, "train")
    assert (part.kind, part.size, part.difficulty) == ("sudoku", 4, None)


def test_the_record_says_what_made_the_folder(folder):
    record = json.loads((folder / "loopbench.json").read_text())
    assert (record["kind"], record["size"], record["seed"]) == ("sudoku", 4, 3)
    assert record["counts"]["train"] == {"puzzles": 6, "groups": 6}
    assert record["difficulty"]["train"]["median"] == 2.5
    assert sum(record["difficulty"]["train"]["histogram"]["counts"]) == 6
    assert len(record["sha256"]) == 12
    for name, digest in record["sha256"].items():
        assert sha256_of(folder / name) == digest


def test_equal_arguments_give_equal_bytes(tmp_path):
    folders = [
        write_dataset(tmp_path / name, small_set(), small_set(3, first=6), RECORD) for name in "ab"
    ]
    files = [sorted(p.relative_to(f) for p in f.rglob("*") if p.is_file()) for f in folders]
    assert files[0] == files[1]
    assert all((folders[0] / f).read_bytes() == (folders[1] / f).read_bytes() for f in files[0])


def test_a_folder_with_something_in_it_is_not_overwritten(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="set: already exists"):
        write_dataset(tmp_path / "set", small_set(), small_set(3), RECORD)
    assert [p.name for p in tmp_path.rglob("*")] == ["set", "notes.txt"]


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "set").mkdir()
    write_dataset(tmp_path / "set", small_set(), small_set(3), RECORD)
    assert read_split(tmp_path / "set", "test").groups == 3


def test_arrays_are_the_bytes_of_numpy(folder, tmp_path):
    for path in (folder / "train").glob("*.npy"):
        np.save(tmp_path / "again.npy", np.load(path))
        assert path.read_bytes() == (tmp_path / "again.npy").read_bytes()


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    real_save, saved = dataset._save, []

    def save_until_full(path, array):
        real_save(path, array)
        saved.append(path)
        if len(saved) == 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(dataset, "_save", save_until_full)
    with pytest.raises(DataError, match=r"cannot write the dataset \(No space left on device\)"):
        write_dataset(tmp_path / "set", small_set(), small_set(3), RECORD)
    assert len(saved) == 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_device_is_reported_as_such():
    with pytest.raises(OSError, match="No space left on device"):
        dataset._save(Path("/dev/full"), np.zeros(10**6))


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "_save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "set", small_set(), small_set(3), RECORD)
    assert list(tmp_path.iterdir()) == []


def test_splits_of_different_puzzles_are_refused(tmp_path):
    puzzles, solutions = generator.generate(2, 6, 0)
    other = PuzzleSet.ungrouped("sudoku", 6, rules.to_tokens(puzzles), rules.to_tokens(solutions))
    with pytest.raises(DataError, match="Both splits must hold the same puzzle"):
        write_dataset(tmp_path / "set", small_set(), other, RECORD)


# -------------------------------------------------------------------------------- damaged folders


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def save(array: np.ndarray):
    return lambda path: np.save(path, array, allow_pickle=True)


def put(key: str, value: object):
    def change(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    return change


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("all__inputs.npy", Path.unlink, "missing array"),
        ("all__group_indices.npy", Path.unlink, "missing array"),
        ("all__labels.npy", truncate, "not a whole .npy array"),
        ("all__labels.npy", lambda p: p.write_bytes(b""), "not a whole .npy array"),
        ("all__labels.npy", save(np.array([{}])), "not a whole .npy array"),
        ("all__inputs.npy", save(np.zeros((6, 16))), "float64"),
        ("all__inputs.npy", save(np.full((6, 16), 300)), "do not fit uint8"),
        ("all__inputs.npy", save(np.full((6, 9), 1, np.uint8)), "9 cells a row"),
        ("all__labels.npy", save(np.full((5, 16), 1, np.uint8)), "labels is uint8"),
        ("all__labels.npy", save(np.full((6, 16), 9, np.uint8)), "outside the vocabulary"),
        ("all__puzzle_indices.npy", save(np.arange(6)), "offsets must be 0, 1"),
        ("all__puzzle_indices.npy", save(np.arange(7) * 2), "offsets must be 0, 1"),
        ("all__group_indices.npy", save(np.array([0, 3, 2, 6])), "must rise from 0"),
        ("all__group_indices.npy", save(np.arange(6)), "must rise from 0"),
        ("all__group_indices.npy", save(np.array([0, 6])), "total_groups is 6"),
        ("all__puzzle_identifiers.npy", save(np.zeros(5, np.int32)), "5 entries for 6 puzzles"),
        ("all__puzzle_identifiers.npy", save(np.full(6, 4, np.int32)), "identifier 4"),
        ("all__difficulty.npy", save(np.full(6, np.nan, np.float32)), "difficulty, row 0: nan"),
        ("dataset.json", Path.unlink, "no such file"),
        ("dataset.json", lambda p: p.write_text("{"), "not readable as JSON"),
        ("dataset.json", lambda p: p.write_text("[]"), "expected a JSON object"),
        ("dataset.json", put("vocab_size", None), 'no whole number "vocab_size"'),
        ("dataset.json", put("seq_len", 81), "seq_len is 81, the rest says 16"),
        ("dataset.json", put("total_puzzles", 5), "total_puzzles is 5, the rest says 6"),
        ("dataset.json", put("sets", ["all", "concept"]), "only"),
    ],
)
def test_a_damaged_split_is_refused_with_one_line(folder, name, damage, reason):
    damage(folder / "train" / name)
    with pytest.raises(DataError, match=reason) as caught:
        read_split(folder, "train")
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder / "train") in message
    read_split(folder, "test")  # the other split is whole


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match="train: no such folder"):
            read_split(folder, "train")


def test_only_train_and_test_are_splits(folder):
    with pytest.raises(ValueError, match='split is "valid"'):
        read_split(folder, "valid")


@needs_shared
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_published_maze_set_reads(split):
    part = read_split(Path(SHARED) / "data" / "maze-hard", split)
    assert (part.kind, part.size, len(part), part.groups) == ("maze", 30, 1000, 1000)
    assert (part.vocab_size, part.seq_len, part.num_puzzle_ids) == (6, 900, 1)
