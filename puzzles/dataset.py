"""Puzzle sets on disk, in the folder format of the HRM builder.

    identifiers.json                     names of the puzzle identifiers: ["<blank>"]
    loopbench.json                       ours, optional: what made the folder, sha256 of its arrays
    {train,test}/dataset.json            vocabulary size, sequence length, groups, puzzles
    {train,test}/all__inputs.npy         uint8 (N, L) tokens, 0 = PAD
    {train,test}/all__labels.npy         uint8 (N, L) tokens
    {train,test}/all__puzzle_identifiers.npy   int32 (N,)
    {train,test}/all__puzzle_indices.npy       int32 (N + 1,)  puzzle -> its examples (one each)
    {train,test}/all__group_indices.npy        int32 (G + 1,)  group -> its puzzles
    {train,test}/all__difficulty.npy     ours, optional: float32 (N,)

A group is one original puzzle with its augmented copies. The TRM and EqR code read the same
folders; TRM's loader demands total_puzzles in dataset.json too, which HRM's builder does not write
and TRM's fills with the number of groups. Source: Wang et al., "Hierarchical Reasoning Model"
(2025), released dataset builders.
"""

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from puzzles.errors import DataError, InputError
from puzzles.kinds import name_of, puzzle_of
from puzzles.puzzle_set import PuzzleSet, check_offsets, infer_kind, vocab_size_of

__all__ = [
    "PuzzleSet",
    "Record",
    "check_output",
    "infer_kind",
    "read_record",
    "read_split",
    "write_dataset",
]

SPLITS = ("train", "test")
RECORD_FILE = "loopbench.json"
_ARRAYS = ("inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices")
_REBUILD = "Build or download the dataset again"
_MAKE_ONE = "Make a dataset with `loopbench data`, or name the folder that holds train/ and test/"


@dataclass(frozen=True)
class Record:
    """What made a dataset, written to loopbench.json. Holds no time and no path: equal arguments
    and equal sources give equal bytes.

    Attributes:
        command: subcommand of `loopbench data` that made it.
        seed: seed of everything drawn; None if nothing was.
        options: the command's other options, JSON values.
        sources: name of each source file -> sha256 of its bytes, hex.
        overlap: counts of what train and test share; see `puzzles.built`.
        composition: split -> origin -> number of puzzles, for a set mixed from several origins.
    """

    command: str
    seed: int | None
    options: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    overlap: Mapping[str, Any] = field(default_factory=dict)
    composition: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


# ---------------------------------------------------------------------------------------- reading


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. DataError if it is missing or no JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. {_REBUILD}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as JSON ({_one_line(error)}). {_REBUILD}") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, found {type(value).__name__}. {_REBUILD}")
    return value


def read_array(path: Path) -> np.ndarray:
    """An integer or float array from a .npy file. DataError if missing, truncated or pickled."""
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: missing array. {_REBUILD}") from None
    except (OSError, ValueError, EOFError) as error:
        reason = _one_line(error)
        raise DataError(f"{path}: not a whole .npy array ({reason}). {_REBUILD}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
        raise DataError(f"{path}: not an array of numbers. {_REBUILD}")
    return array


def read_tokens(path: Path) -> np.ndarray:
    """A two-dimensional token array as uint8 (N, L). DataError for other shapes, types, values."""
    array = read_array(path)
    if array.ndim != 2 or array.dtype.kind == "f":
        raise DataError(f"{path}: {array.dtype} {array.shape}, expected uint8 (rows, cells)")
    if array.dtype != np.uint8 and array.size and not 0 <= array.min() <= array.max() <= 255:
        raise DataError(f"{path}: token values {array.min()}..{array.max()} do not fit uint8")
    return array.astype(np.uint8, copy=False)


def read_record(folder: Path) -> dict[str, Any] | None:
    """The folder's loopbench.json, or None for a folder that other code made."""
    path = Path(folder) / RECORD_FILE
    return read_json(path) if path.exists() else None


def read_split(folder: str | Path, split: str, *, may_be_empty: bool = False) -> PuzzleSet:
    """Read one split, "train" or "test", of a dataset folder.

    may_be_empty: give a split without puzzles, as a set for testing alone has for training.
    Raises DataError naming the file when the folder, an array or a number does not fit.
    """
    if split not in SPLITS:
        raise InputError(f'split is "{split}", expected "train" or "test"')
    folder = Path(folder)
    part = folder / split
    if not part.is_dir():
        raise DataError(f"{part}: no such folder. {_MAKE_ONE}")
    meta = read_json(part / "dataset.json")
    record = read_record(folder)
    kind, size = _kind_and_size(part / "dataset.json", meta, folder / RECORD_FILE, record)
    inputs, labels = (read_tokens(part / f"all__{name}.npy") for name in ("inputs", "labels"))
    path = part / "all__inputs.npy"
    if not len(inputs) and not may_be_empty:
        raise DataError(f"{part}: holds no puzzles. Name a dataset with {split} puzzles")
    if inputs.shape[1] != size * size:
        raise DataError(f"{path}: {inputs.shape[1]} cells a row, dataset.json says {size * size}")
    ids, offsets = read_groups(part, len(inputs))
    _expect(part / "dataset.json", meta, "total_groups", len(offsets) - 1)
    if meta.get("total_puzzles", len(inputs)) not in (len(inputs), len(offsets) - 1):
        _expect(part / "dataset.json", meta, "total_puzzles", len(inputs))
    if ids.size and ids.max() >= meta.get("num_puzzle_identifiers", 1):
        raise DataError(
            f"{part / 'all__puzzle_identifiers.npy'}: identifier {ids.max()}, but dataset.json has "
            f"num_puzzle_identifiers {meta.get('num_puzzle_identifiers', 1)}. {_REBUILD}"
        )
    difficulty, name = None, None
    if (part / "all__difficulty.npy").exists():
        difficulty = read_array(part / "all__difficulty.npy").astype(np.float32)
        name = "difficulty" if record is None else record.get("difficulty", {}).get("name")
    try:
        return PuzzleSet(kind, size, inputs, labels, ids, offsets, difficulty, name)
    except DataError as error:
        raise DataError(f"{part}: {error}. {_REBUILD}") from error


def read_groups(part: Path, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Identifiers int32 (N,) and group offsets int64 (G + 1,) of a split folder, N = rows.

    Raises DataError unless every puzzle has exactly one example, as sudokus and mazes do.
    """
    names = ("puzzle_identifiers", "puzzle_indices", "group_indices")
    paths = [part / f"all__{name}.npy" for name in names]
    ids, examples, groups = (read_array(path) for path in paths)
    for path, array in zip(paths, (ids, examples, groups), strict=True):
        if array.ndim != 1 or array.dtype.kind == "f":
            raise DataError(f"{path}: {array.dtype} {array.shape}, expected int32 (entries,)")
    if len(ids) != rows:
        raise DataError(f"{paths[0]}: {len(ids)} entries for {rows} puzzles. {_REBUILD}")
    if not np.array_equal(examples, np.arange(rows + 1)):
        raise DataError(
            f"{paths[1]}: offsets must be 0, 1, .., {rows}, one example for each puzzle. {_REBUILD}"
        )
    try:
        check_offsets(groups, rows)
    except DataError as error:
        raise DataError(f"{paths[2]}: {error}. {_REBUILD}") from error
    return ids.astype(np.int32), groups.astype(np.int64)


def _kind_and_size(
    meta_path: Path, meta: dict[str, Any], record_path: Path, record: dict[str, Any] | None
) -> tuple[str, int]:
    for key in ("vocab_size", "seq_len", "total_groups"):
        if not isinstance(meta.get(key), int):
            raise DataError(f'{meta_path}: no whole number "{key}". {_REBUILD}')
    if meta.get("sets", ["all"]) != ["all"]:
        raise DataError(f'{meta_path}: sets {meta["sets"]}, only ["all"] can be read')
    if record is None:
        try:
            return infer_kind(meta["vocab_size"], meta["seq_len"])
        except DataError as error:
            raise DataError(f"{meta_path}: {error}") from error
    kind, size = record.get("kind"), record.get("size")
    if not isinstance(kind, str) or not isinstance(size, int):
        raise DataError(f'{record_path}: no "kind" and "size" of a puzzle. {_REBUILD}')
    try:
        puzzle_of(kind)
    except DataError as error:
        raise DataError(f"{record_path}: {error}") from error
    _expect(meta_path, meta, "vocab_size", vocab_size_of(kind, size))
    _expect(meta_path, meta, "seq_len", size * size)
    return name_of(kind), size


def _expect(path: Path, meta: dict[str, Any], key: str, value: int) -> None:
    if meta[key] != value:
        raise DataError(f"{path}: {key} is {meta[key]}, the rest says {value}. {_REBUILD}")


def _one_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return " ".join(text.splitlines()[0].split())


# ---------------------------------------------------------------------------------------- writing


def check_output(folder: str | Path) -> None:
    """Raise DataError if a dataset cannot be written to folder: something is there, or the folder
    that is to hold it takes no file."""
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: already exists. Remove it or choose another output folder")
    holder = next(place for place in folder.absolute().parents if place.exists())
    try:
        with tempfile.TemporaryFile(dir=holder):
            pass
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written ({error.strerror}). Choose another output folder"
        ) from error


def write_dataset(folder: str | Path, train: PuzzleSet, test: PuzzleSet, record: Record) -> Path:
    """Write both splits and loopbench.json to a new folder, all of it or nothing.

    train, test: of one kind and size; record: what made them. Everything goes to a temporary folder
    beside the target, which is renamed at the end.

    Raises DataError if the folder holds something already, if the splits are of different puzzles,
    or if writing fails (disk full, no permission); nothing is left behind then.
    """
    if (train.kind, train.size) != (test.kind, test.size):
        raise DataError(
            f"train holds a {train.kind} of size {train.size}, test a {test.kind} of size "
            f"{test.size}. Both splits must hold the same puzzle"
        )
    folder = Path(folder).absolute()
    check_output(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        temporary.mkdir(parents=True)
        _write_parts(temporary, {"train": train, "test": test}, record)
        os.replace(temporary, folder)
    except OSError as error:
        reason = error.strerror or _one_line(error)
        raise DataError(
            f"{folder}: cannot write the dataset ({reason}). "
            "Free space or choose another output folder; nothing was kept"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # gone already when all went well
    return folder


def _write_parts(folder: Path, splits: dict[str, PuzzleSet], record: Record) -> None:
    num_ids = max(part.num_puzzle_ids for part in splits.values())
    names = ["<blank>", *(f"puzzle {i}" for i in range(1, num_ids))]
    (folder / "identifiers.json").write_text(json.dumps(names), encoding="utf-8")
    hashes = {}
    for split, part in splits.items():
        (folder / split).mkdir()
        meta = {
            "pad_id": 0,
            "ignore_label_id": 0,
            "blank_identifier_id": 0,
            "vocab_size": part.vocab_size,
            "seq_len": part.seq_len,
            "num_puzzle_identifiers": num_ids,
            "total_groups": part.groups,
            "total_puzzles": len(part),
            "mean_puzzle_examples": 1.0,
            "sets": ["all"],
        }
        (folder / split / "dataset.json").write_text(json.dumps(meta), encoding="utf-8")
        for name, array in _arrays(part).items():
            path = folder / split / f"all__{name}.npy"
            _save(path, array)
            hashes[f"{split}/{path.name}"] = sha256_of(path)
    text = json.dumps(_record_json(splits, record, hashes), indent=2, ensure_ascii=False)
    (folder / RECORD_FILE).write_text(text + "\n", encoding="utf-8")


def _save(path: Path, array: np.ndarray) -> None:
    """The bytes of np.save, but written by the file object, which reports why it cannot."""
    header = np.lib.format.header_data_from_array_1_0(array)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(np.ascontiguousarray(array).data)


def _arrays(part: PuzzleSet) -> dict[str, np.ndarray]:
    values = (
        part.inputs,
        part.labels,
        part.puzzle_ids,
        np.arange(len(part) + 1, dtype=np.int32),
        part.group_offsets.astype(np.int32),
    )
    arrays = dict(zip(_ARRAYS, values, strict=True))
    if part.difficulty is not None:
        arrays["difficulty"] = part.difficulty
    return arrays


def _record_json(
    splits: dict[str, PuzzleSet], record: Record, hashes: dict[str, str]
) -> dict[str, Any]:
    first = splits["train"]
    return {
        "kind": first.kind,
        "size": first.size,
        "seed": record.seed,
        "command": record.command,
        "options": dict(record.options),
        "counts": {
            split: {"puzzles": len(part), "groups": part.groups} for split, part in splits.items()
        },
        "composition": {split: dict(origins) for split, origins in record.composition.items()},
        "difficulty": {
            "name": first.difficulty_name,
            **{split: difficulty_summary(part) for split, part in splits.items()},
        },
        "overlap": dict(record.overlap),
        "sources": dict(record.sources),
        "sha256": hashes,
    }


def difficulty_summary(part: PuzzleSet) -> dict[str, Any] | None:
    """Mean, quartiles and histogram of a set's difficulty, as JSON values; None without one.

    Sudoku ratings are heavy-tailed, so their bins double: [0, 1), [1, 2), [2, 4), ...; maze path
    lengths get ten equal bins.
    """
    if part.difficulty is None or not len(part):
        return None
    values = part.difficulty.astype(np.float64)
    if puzzle_of(part.kind).doubling_bins:
        top = max(1, math.ceil(math.log2(values.max() + 1)))
        edges = np.concatenate([[0.0], 2.0 ** np.arange(top + 1)])
    else:
        edges = np.histogram_bin_edges(values, bins=10)
    counts, edges = np.histogram(values, bins=edges)
    low, first, median, third, high = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    rounded = {
        "mean": values.mean(), "min": low, "q25": first, "median": median, "q75": third, "max": high
    }  # fmt: skip
    return {
        **{name: round(float(value), 4) for name, value in rounded.items()},
        "histogram": {"edges": edges.round(4).tolist(), "counts": counts.tolist()},
    }


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes (for a .npy file: header and data)."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
