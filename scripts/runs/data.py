"""A data folder's puzzles, and the batches that a run draws from them."""

from pathlib import Path

from puzzles.dataset import read_split
from puzzles.puzzle_set import PuzzleSet
from puzzles.stream import BatchStream
from reasoning.training.config import TrainingConfig
from scripts.terminal.folders import expect


def read_data(folder: str | Path) -> tuple[PuzzleSet, PuzzleSet]:
    """The training and the held-out split of a data folder."""
    return read_puzzles(folder, "train"), read_puzzles(folder, "test")


def read_puzzles(folder: str | Path, split: str) -> PuzzleSet:
    """A split of a data folder. UsageError for a folder that is something else."""
    expect(folder, "data")
    return read_split(folder, split)


def training_stream(config: TrainingConfig, puzzles: PuzzleSet) -> BatchStream:
    """The batches of a run on these puzzles."""
    return BatchStream(puzzles, config.batch, config.seed, config.augment, config.hints)
