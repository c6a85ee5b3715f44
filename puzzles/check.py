"""Whether a dataset folder is right: every row of both splits, its hashes, and what they share."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from puzzles.dataset import SPLITS, read_record, read_split, sha256_of
from puzzles.errors import DataError
from puzzles.kinds import puzzle_of
from puzzles.overlap import overlap_of
from puzzles.parallel import StageProgress
from puzzles.plugins import watched
from puzzles.rows import row_keys
from puzzles.validate import augmentation_fault, describe, fault_codes


@dataclass(frozen=True)
class CheckReport:
    """What `check_dataset` found in a folder whose rows are all right.

    Attributes:
        kind, size: the puzzle.
        puzzles, groups: split -> how many.
        first_paths: split -> puzzles whose label is the first of several right answers: mazes whose
            path is the first shortest one in the move order down, left, right, up (the published
            labels all are); empty where there is one right answer.
        overlap: see `puzzles.overlap.overlap_of`.
        hashed: arrays compared with the sha256 in loopbench.json; 0 if the folder has none.
    """

    kind: str
    size: int
    puzzles: dict[str, int]
    groups: dict[str, int]
    first_paths: dict[str, int]
    overlap: dict[str, int]
    hashed: int


def check_dataset(folder: str | Path, progress: StageProgress | None = None) -> CheckReport:
    """Check a dataset folder: shapes, offsets, every question and answer, hashes, overlap.

    progress: told (split, rows done, rows in all).
    Raises DataError naming file, row (counted from 0) and reason at the first bad row, with the
    number of bad rows; also if a hash differs, or if a question is in both splits.
    """
    folder = Path(folder)
    _check_identifiers(folder / "identifiers.json")
    hashed = _check_hashes(folder)
    splits = {split: read_split(folder, split, may_be_empty=True) for split in SPLITS}
    for split, part in splits.items():
        report = None if progress is None else partial(progress, split)
        fault = describe(part.kind, fault_codes(part.kind, part.inputs, part.labels, report))
        if fault is not None:
            raise DataError(
                f"{folder / split / 'all__inputs.npy'}, row {fault[0]} (from 0): {fault[1]}. "
                "Correct or remove the rows, then build the dataset again"
            )
        with watched(part.kind, "augment"):
            wrong = augmentation_fault(part.kind, part.inputs, part.labels)
        if wrong is not None:
            raise DataError(f"{folder / split}: augment of a {part.kind} {wrong}")
    train, test = splits["train"], splits["test"]
    if (train.kind, train.size) != (test.kind, test.size):
        raise DataError(
            f"{folder}: train holds a {train.kind} of size {train.size}, test a {test.kind} of "
            f"size {test.size}. Build the dataset again"
        )
    shared = overlap_of(train, test)
    if shared["identical_puzzles"]:
        row = int(np.argmax(np.isin(row_keys(test.inputs), row_keys(train.inputs))))
        raise DataError(
            f"{folder / 'test' / 'all__inputs.npy'}, row {row} (from 0): the question is in train "
            f"too ({shared['identical_puzzles']} such questions). Split the puzzles again"
        )
    return CheckReport(
        kind=train.kind,
        size=train.size,
        puzzles={split: len(part) for split, part in splits.items()},
        groups={split: part.groups for split, part in splits.items()},
        first_paths={
            split: count
            for split, part in splits.items()
            if (count := puzzle_of(part.kind).labelled_first(part)) is not None
        },
        overlap=shared,
        hashed=hashed,
    )


def _check_identifiers(path: Path) -> None:
    try:
        names = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file. Name the folder of a dataset, with train/ and test/"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as JSON. Build the dataset again") from error
    if not isinstance(names, list) or not names:
        raise DataError(f"{path}: expected a list of identifier names. Build the dataset again")


def _check_hashes(folder: Path) -> int:
    """Compare the arrays with loopbench.json, if there is one; the number compared."""
    record = read_record(folder)
    if record is None:
        return 0
    hashes = record.get("sha256", {})
    for name, expected in hashes.items():
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path}: missing array. Build or download the dataset again")
        if sha256_of(path) != expected:
            raise DataError(
                f"{path}: differs from the sha256 in loopbench.json. "
                "The file was changed or damaged; build or download the dataset again"
            )
    return len(hashes)
