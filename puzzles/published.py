"""Published puzzles as they lie on disk: finds out what a path holds and reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from puzzles.dataset import read_split
from puzzles.errors import DataError
from puzzles.formats import place, read_csv, read_npy_folder
from puzzles.parallel import StageProgress
from puzzles.puzzle_set import PuzzleSet
from puzzles.validate import describe, fault_codes


@dataclass(frozen=True)
class Source:
    """One split as it was read: the shapes fit, the questions are not solved yet.

    Attributes:
        puzzles: the rows.
        path: the file that messages name.
        place: how they name a row, given from 0.
        files: what the rows were read from.
    """

    puzzles: PuzzleSet
    path: Path
    place: Callable[[int], str]
    files: tuple[Path, ...]

    def select(
        self, groups: np.ndarray, stage: str, progress: StageProgress | None = None
    ) -> PuzzleSet:
        """These groups, int (K,), with every answer checked by solving the question.

        stage: name of the work for progress. Raises DataError at the first bad row.
        """
        part = self.puzzles.take_groups(groups)
        report = None if progress is None else partial(progress, stage)
        fault = describe(part.kind, fault_codes(part.kind, part.inputs, part.labels, report))
        if fault is not None:
            row = int(self.puzzles.rows_of(groups)[fault[0]])
            raise DataError(
                f"{self.path}, {self.place(row)}: {fault[1]}. Correct or remove the row"
            )
        return part


def open_source(path: Path) -> tuple[Source, Source | None]:
    """Read the train split and, where the source has one, the test split.

    path: a .csv or .csv.gz file, or a folder that holds train.csv[.gz] (and test.csv[.gz]), a
    dataset (train/dataset.json), or all__inputs.npy and all__labels.npy. Raises DataError.
    """
    if path.is_file():
        return _from_csv(path), None
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder. Check the name")
    if (path / "train" / "dataset.json").is_file():
        has_test = (path / "test" / "dataset.json").is_file()
        return _from_split(path, "train"), _from_split(path, "test") if has_test else None
    train, test = _csv_of(path, "train"), _csv_of(path, "test")
    if train is not None:
        return _from_csv(train), None if test is None else _from_csv(test)
    if (path / "all__inputs.npy").is_file() or (path / "all__labels.npy").is_file():
        return _from_arrays(read_npy_folder(path), path), None
    raise DataError(
        f"{path}: holds no puzzles. Expected train.csv (and test.csv), train/dataset.json, or "
        "all__inputs.npy and all__labels.npy"
    )


def _csv_of(folder: Path, split: str) -> Path | None:
    names = (folder / f"{split}.csv", folder / f"{split}.csv.gz")
    return next((name for name in names if name.is_file()), None)


def _from_csv(path: Path) -> Source:
    return Source(read_csv(path), path, place, (path,))


def _from_split(folder: Path, split: str) -> Source:
    return _from_arrays(read_split(folder, split), folder / split)


def _from_arrays(puzzles: PuzzleSet, folder: Path) -> Source:
    files = tuple(sorted(folder.glob("all__*.npy")))
    return Source(puzzles, folder / "all__inputs.npy", "row {} (from 0)".format, files)
