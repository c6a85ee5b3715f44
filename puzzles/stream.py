"""Training batches with random access: batch number `step` is a pure function of (seed, step).

An epoch permutes the groups and draws one puzzle from each, as the released HRM and TRM loaders do,
and drops its last partial batch, where theirs join thousands of epochs and drop one at the end: of
1,000 groups a batch of 768 leaves 232 out of every epoch, others in each. Nothing is carried from
batch to batch, so a resumed run needs only its step, and every rank can slice the same global
batch.
"""

import numpy as np

from puzzles.errors import DataError, InputError
from puzzles.kinds import puzzle_of
from puzzles.painting import BLANK
from puzzles.puzzle_set import PuzzleSet

# First entry of the spawn key: keeps the uses of one seed independent of each other.
_ORDER, _SYMMETRY, _HINTS = 0, 1, 2


class BatchStream:
    """An endless stream of batches from a puzzle set.

    Args:
        puzzle_set: where the puzzles come from.
        batch: B, puzzles in a batch (the global batch), each from another group.
        seed: non-negative; fixes the order, the draws and the symmetries.
        augment: map every puzzle of every batch by a fresh random symmetry of its kind.
        hints: cells of its answer that a puzzle is given at most; every number from 0 on is as
            likely, and one above a puzzle's blanks gives them all. Easier puzzles of the same
            answers (Ren and Liu 2026, arXiv 2601.10679, add one to each of theirs).

    Raises ValueError for a batch below 1, a negative seed, hints not below the number of cells or
    where the puzzle leaves none blank, DataError for a batch larger than the number of groups.
    """

    def __init__(
        self, puzzle_set: PuzzleSet, batch: int, seed: int, augment: bool, hints: int = 0
    ) -> None:
        if batch < 1:
            raise InputError(f"batch is {batch}, expected at least 1")
        if seed < 0:
            raise InputError(f"seed is {seed}, expected 0 or more")
        if not 0 <= hints < puzzle_set.seq_len:
            raise InputError(f"hints is {hints}, expected 0 to {puzzle_set.seq_len - 1}")
        if hints and not _blank(puzzle_set.inputs, puzzle_set.labels).any():
            raise InputError(
                f"hints is {hints}, but a question of this {puzzle_set.kind} set leaves no cells "
                "blank that its answer fills in: use 0"
            )
        if batch > puzzle_set.groups:
            raise DataError(
                f"a batch of {batch} does not fit a set of {puzzle_set.groups} groups (each group "
                "gives one puzzle an epoch). Lower the batch or use a larger training set"
            )
        self.puzzle_set = puzzle_set
        self.batch = batch
        self.seed = seed
        self.augment = augment
        self.hints = hints
        self.steps_per_epoch = puzzle_set.groups // batch
        self._cached_epoch: int | None = None  # a cache only: any call can rebuild it
        self._cached_rows = np.empty(0, np.int64)

    def batch_at(self, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Batch number `step`, counted from 0 over all epochs.

        Returns inputs uint8 (B, L), labels uint8 (B, L) and puzzle ids int32 (B,), fresh arrays.
        """
        if step < 0:
            raise InputError(f"step is {step}, expected 0 or more")
        epoch, place = divmod(int(step), self.steps_per_epoch)
        rows = self._rows_of_epoch(epoch)[place * self.batch : (place + 1) * self.batch]
        source = self.puzzle_set
        inputs, labels = source.inputs[rows], source.labels[rows]
        if self.augment:
            rng = self._generator(_SYMMETRY, int(step))
            moved = puzzle_of(source.kind).augment(inputs, labels, rng)
            inputs, labels = map(np.ascontiguousarray, moved)  # a turned grid may be a view
        if self.hints:
            inputs = _with_hints(inputs, labels, self.hints, self._generator(_HINTS, int(step)))
        return inputs, labels, source.puzzle_ids[rows]

    def _rows_of_epoch(self, epoch: int) -> np.ndarray:
        """Rows (G,) visited in an epoch: the groups in random order, one puzzle from each."""
        if epoch != self._cached_epoch:
            rng = self._generator(_ORDER, epoch)
            offsets = self.puzzle_set.group_offsets
            drawn = rng.integers(offsets[:-1], offsets[1:])
            self._cached_rows = rng.permutation(drawn)
            self._cached_epoch = epoch
        return self._cached_rows

    def _generator(self, use: int, index: int) -> np.random.Generator:
        sequence = np.random.SeedSequence(self.seed, spawn_key=(use, index))
        return np.random.Generator(np.random.Philox(sequence))


def _blank(inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """bool (B, L): cells left open that the answer fills in; a maze's token 1, a wall, stays."""
    return (inputs == BLANK) & (labels != BLANK)


def _with_hints(
    inputs: np.ndarray, labels: np.ndarray, most: int, rng: np.random.Generator
) -> np.ndarray:
    """Questions (B, L) with 0 to `most` random blank cells filled in from their answers."""
    blank = _blank(inputs, labels)
    order = np.where(blank, rng.random(inputs.shape), np.inf).argsort(axis=1).argsort(axis=1)
    shown = blank & (order < rng.integers(0, most + 1, (len(inputs), 1)))
    return np.where(shown, labels, inputs)
