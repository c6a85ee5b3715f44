"""Puzzle sets in memory: N questions with their answers as token arrays, in groups."""

import math
from dataclasses import dataclass

import numpy as np

from puzzles.errors import DataError
from puzzles.kinds import puzzle_of

SUDOKU_SIZES = (4, 6, 9)
PAD = 0  # the token of no cell; as a label: no answer is asked for
MAZE_VOCAB_SIZE = 6  # PAD and `# SGo`


def vocab_size_of(kind: str, size: int) -> int:
    """Number of tokens, PAD included: sudoku size + 2 (PAD, blank, digits), maze 6."""
    return puzzle_of(kind).vocabulary(size)


def infer_kind(vocab_size: int, seq_len: int) -> tuple[str, int]:
    """Kind and size of a puzzle from its vocabulary and length, for folders that do not say.

    (6, 16), (8, 36) and (11, 81) are sudokus of size 4, 6 and 9; any other square length with
    vocabulary 6 is a maze. Raises DataError if it is neither.
    """
    for size in SUDOKU_SIZES:
        if (vocab_size, seq_len) == (vocab_size_of("sudoku", size), size * size):
            return "sudoku", size
    side = math.isqrt(seq_len)
    if vocab_size == MAZE_VOCAB_SIZE and side * side == seq_len and side > 1:
        return "maze", side
    raise DataError(
        f"vocab_size {vocab_size} with seq_len {seq_len} is no known puzzle. "
        "A sudoku has (6, 16), (8, 36) or (11, 81), a maze vocab_size 6 and a square seq_len"
    )


def check_offsets(offsets: np.ndarray, rows: int) -> None:
    """Raise DataError unless offsets (G + 1,) rise from 0 to rows and leave no group empty."""
    whole = len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == rows
    if not whole or (np.diff(offsets) < 1).any():
        raise DataError(
            f"group offsets must rise from 0 to the number of puzzles ({rows}), no group empty"
        )


@dataclass(frozen=True, eq=False)
class PuzzleSet:
    """N puzzles of one kind with their answers, in groups.

    Attributes:
        kind: "sudoku", "maze", or another name of `puzzles.kinds`.
        size: cells along one side; L = size * size.
        inputs: uint8 (N, L) tokens of the questions, row-major.
        labels: uint8 (N, L) tokens of the answers.
        puzzle_ids: int32 (N,) identifier for the puzzle embedding; 0 for all in the published sets.
        group_offsets: int64 (G + 1,); group g holds rows group_offsets[g] to group_offsets[g + 1].
        difficulty: float32 (N,) or None.
        difficulty_name: what difficulty counts, with its unit; None without difficulty.

    Raises DataError if shapes, dtypes, token ranges or offsets do not fit together.
    """

    kind: str
    size: int
    inputs: np.ndarray
    labels: np.ndarray
    puzzle_ids: np.ndarray
    group_offsets: np.ndarray
    difficulty: np.ndarray | None = None
    difficulty_name: str | None = None

    def __post_init__(self) -> None:
        puzzle_of(self.kind)  # refused unless there is such a puzzle
        rows = len(self.inputs)
        expected = {
            "inputs": (np.uint8, (rows, self.size * self.size)),
            "labels": (np.uint8, (rows, self.size * self.size)),
            "puzzle_ids": (np.int32, (rows,)),
            "group_offsets": (np.int64, (len(self.group_offsets),)),
        }
        if self.difficulty is not None:
            expected["difficulty"] = (np.float32, (rows,))
        for name, (dtype, shape) in expected.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.shape != shape:
                raise DataError(
                    f"{name} is {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape} "
                    f"for a {self.kind} of size {self.size}"
                )
        self._check_tokens()
        check_offsets(self.group_offsets, rows)

    def _check_tokens(self) -> None:
        for name, tokens in (("inputs", self.inputs), ("labels", self.labels)):
            if tokens.size and tokens.max() >= self.vocab_size:
                row, cell = np.argwhere(tokens >= self.vocab_size)[0]
                raise DataError(
                    f"{name}, row {row}: token {tokens[row, cell]} at cell {cell} is "
                    f"outside the vocabulary 0..{self.vocab_size - 1}"
                )
        if self.puzzle_ids.size and self.puzzle_ids.min() < 0:
            row = int(np.argmax(self.puzzle_ids < 0))
            raise DataError(f"puzzle_ids, row {row}: negative identifier")
        if self.difficulty is not None and not np.isfinite(self.difficulty).all():
            row = int(np.argmin(np.isfinite(self.difficulty)))
            raise DataError(f"difficulty, row {row}: {self.difficulty[row]} is not a number")

    @classmethod
    def ungrouped(
        cls,
        kind: str,
        size: int,
        inputs: np.ndarray,
        labels: np.ndarray,
        difficulty: np.ndarray | None = None,
        difficulty_name: str | None = None,
    ) -> "PuzzleSet":
        """A set in which every puzzle is a group of its own with puzzle identifier 0.

        kind, size, inputs, labels: as the set's own; difficulty: (N,), None: not known;
        difficulty_name: what it counts, dropped without it.
        """
        rows = len(inputs)
        return cls(
            kind=kind,
            size=size,
            inputs=inputs,
            labels=labels,
            puzzle_ids=np.zeros(rows, np.int32),
            group_offsets=np.arange(rows + 1, dtype=np.int64),
            difficulty=None if difficulty is None else difficulty.astype(np.float32),
            difficulty_name=None if difficulty is None else difficulty_name,
        )

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        grid = f"{self.kind} {self.size}x{self.size}"
        return f"PuzzleSet({grid}, puzzles {len(self)}, groups {self.groups})"

    @property
    def vocab_size(self) -> int:
        """Number of tokens, PAD included."""
        return vocab_size_of(self.kind, self.size)

    @property
    def seq_len(self) -> int:
        """Cells of one puzzle, L."""
        return self.size * self.size

    @property
    def num_puzzle_ids(self) -> int:
        """Rows that a puzzle embedding needs: largest identifier + 1."""
        return int(self.puzzle_ids.max(initial=0)) + 1

    @property
    def groups(self) -> int:
        """Number of groups, G."""
        return len(self.group_offsets) - 1

    def rows_of(self, groups: np.ndarray) -> np.ndarray:
        """Rows int64 of these groups, int (K,), one group after the other."""
        sizes = np.diff(self.group_offsets)[groups]
        starts = np.cumsum(sizes) - sizes
        return np.arange(sizes.sum()) + np.repeat(self.group_offsets[groups] - starts, sizes)

    def take_groups(self, groups: np.ndarray) -> "PuzzleSet":
        """The set made of these groups, int (K,), whole and in this order."""
        rows = self.rows_of(groups)
        sizes = np.diff(self.group_offsets)[groups]
        return PuzzleSet(
            self.kind,
            self.size,
            self.inputs[rows],
            self.labels[rows],
            self.puzzle_ids[rows],
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            None if self.difficulty is None else self.difficulty[rows],
            self.difficulty_name,
        )
