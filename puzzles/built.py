"""Sets of puzzles as `puzzles.sources` and `puzzles.importing` build them.

Every function of these returns (train, test, record) for `puzzles.dataset.write_dataset`. Train and
test never share a question; what they share up to symmetry is counted in the record. Sets that are
generated or split have no equivalent questions across the two, and at 9x9 no common solution grid.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from puzzles.dataset import Record, sha256_of
from puzzles.difficulty import with_difficulty
from puzzles.errors import DataError
from puzzles.overlap import overlap_of
from puzzles.parallel import StageProgress
from puzzles.puzzle_set import PuzzleSet
from puzzles.sudoku import rules
from puzzles.sudoku.mix import FRACTIONS, SOURCES, Mix

# Fractions of hard, random minimal and 17-clue puzzles where there is no list of the last.
WITHOUT_SEVENTEEN = (0.75, 0.25, 0.0)


class Built(NamedTuple):
    """The arguments of `write_dataset` after the folder."""

    train: PuzzleSet
    test: PuzzleSet
    record: Record


def finish(sets: list[PuzzleSet], record: Record, progress: StageProgress | None) -> Built:
    """Rate both sets and count what they share. DataError if they share a question."""
    shared = overlap_of(*sets)
    if shared["identical_puzzles"]:
        raise DataError(
            f"train and test share {shared['identical_puzzles']} questions. "
            "Remove them from one, or import one file and split it"
        )
    train, test = with_difficulty(*sets, child_seed(record.seed or 0, 2), progress)
    return Built(train, test, replace(record, overlap=shared))


def child_seed(seed: int, index: int) -> int:
    """An independent 64-bit seed for each use of a command's seed."""
    return int(np.random.SeedSequence(seed, spawn_key=(index,)).generate_state(1, np.uint64)[0])


def hashes_of(files: Iterable[str | Path], root: Path | None = None) -> dict[str, str]:
    """Name (relative to a root folder that holds the file) -> sha256, hex."""
    hashes = {}
    for file in map(Path, files):
        inside = root is not None and root.is_dir() and file.is_relative_to(root)
        hashes[file.relative_to(root).as_posix() if inside else file.name] = sha256_of(file)
    return hashes


def tell(progress: StageProgress | None, stage: str, done: int, rows: int) -> None:
    """Progress of a stage, if anybody listens.

    progress: who does, None: nobody; done, rows: of the stage, and all it has.
    """
    if progress is not None:
        progress(stage, done, rows)


def mix_fractions(seventeen: Path | None) -> tuple[float, float, float]:
    """Of a mix, with a list of 17-clue puzzles or without."""
    return WITHOUT_SEVENTEEN if seventeen is None else FRACTIONS


def sudoku_set(puzzles: np.ndarray, solutions: np.ndarray) -> PuzzleSet:
    """Sudokus and their solutions, digits (N, L), as a set."""
    size = rules.geometry_of(puzzles).size
    tokens = rules.to_tokens(puzzles), rules.to_tokens(solutions)
    return PuzzleSet.ungrouped("sudoku", size, *tokens)


def composition_of(mix: Mix) -> dict[str, int]:
    """How many puzzles of a mix are of each source."""
    counts = np.bincount(mix.sources, minlength=len(SOURCES)).tolist()
    return dict(zip(SOURCES, counts, strict=True))
