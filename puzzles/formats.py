"""Readers of the published files: CSV with one puzzle a row, and folders of .npy arrays.

Sudoku-Extreme and Maze-Hard are published as `source,question,answer,rating`; lists of hard
sudokus as `question,answer,guesses`. A question is one line of L characters, row-major: for a
sudoku `.`, `0` or `_` for a blank and digits, for a maze the alphabet `# SGo`. The files may be
gzipped, start with a byte order mark and end lines with CR LF.
"""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from puzzles.csv_text import csv_text
from puzzles.dataset import read_array, read_groups, read_tokens
from puzzles.errors import DataError
from puzzles.puzzle_set import SUDOKU_SIZES, PuzzleSet
from puzzles.validate import describe, form_faults

_COLUMNS = ("source", "question", "answer", "rating", "guesses")
_DIFFICULTIES = ("rating", "guesses")
_FIX = "Correct or remove the row"
_BLOCK = 65536  # rows parsed at once
_BAD = 255  # in the character tables: not in the alphabet


@dataclass(frozen=True)
class Layout:
    """What a CSV file holds: found from its header and its first row."""

    columns: tuple[str, ...]
    kind: str
    size: int

    @property
    def difficulty(self) -> str | None:
        """Name of the column that rates the puzzles, if there is one."""
        return next((name for name in _DIFFICULTIES if name in self.columns), None)


def read_csv(path: str | Path) -> PuzzleSet:
    """Read the puzzles of a .csv or .csv.gz file, each a group of its own.

    The form of every row is checked: length, alphabet, the answer keeps the question and (sudoku)
    obeys the rules, the rating is a number. That the answer is the only or shortest one takes a
    search: see `puzzles.validate.search_faults`.

    Raises DataError naming file, row (counted from 1 below the header), reason and remedy.
    """
    path = Path(path)
    inputs, labels, ratings = [], [], []
    layout = None
    with csv_text(path) as file:
        for first, block in _blocks(csv.reader(file, strict=True)):
            if layout is None:
                layout, block = _layout(path, block), block[1:]
            columns = _columns(path, layout, block, first)
            cells = layout.size**2
            for name, table, into in (
                ("question", _table(layout, answer=False), inputs),
                ("answer", _table(layout, answer=True), labels),
            ):
                into.append(_tokens(path, name, columns[name], cells, table, first))
            if layout.difficulty is not None:
                ratings.append(_numbers(path, layout.difficulty, columns, first))
    if layout is None or not sum(map(len, inputs)):
        raise DataError(f"{path}: no puzzles. Expected a header line and one puzzle a row")
    questions, answers = np.concatenate(inputs), np.concatenate(labels)
    fault = describe(layout.kind, form_faults(layout.kind, questions, answers))
    if fault is not None:
        raise DataError(f"{path}, {place(fault[0])}: {fault[1]}. {_FIX}")
    difficulty = np.concatenate(ratings) if ratings else None
    name = layout.difficulty
    return PuzzleSet.ungrouped(layout.kind, layout.size, questions, answers, difficulty, name)


def place(row: int) -> str:
    """How a message names a CSV row, given from 0: the line counts the header too."""
    return f"row {row + 1} (line {row + 2})"


def _blocks(rows: Iterator[list[str]]) -> Iterator[tuple[int, list[list[str]]]]:
    """(index of the first puzzle, rows) block by block; the header is part of the first block."""
    first = 0
    block = list(islice(rows, _BLOCK + 1))
    while block:
        following = list(islice(rows, _BLOCK))
        while not following and block and not block[-1]:  # empty lines at the end of the file
            block.pop()
        yield first, block
        first += len(block) if first else len(block) - 1
        block = following


def _layout(path: Path, block: list[list[str]]) -> Layout:
    header = tuple(name.strip().lower() for name in block[0]) if block else ()
    if not {"question", "answer"} <= set(header):
        raise DataError(
            f"{path}: the first line has no columns question and answer. "
            "Expected a header such as source,question,answer,rating"
        )
    unknown = [name for name in header if name not in _COLUMNS]
    if unknown or len(set(header)) < len(header) or set(_DIFFICULTIES) <= set(header):
        raise DataError(
            f"{path}: columns {','.join(header)}. Expected question and answer, at most with "
            "source and one of rating and guesses, each once"
        )
    if len(block) < 2:
        raise DataError(f"{path}: no puzzles. Expected a header line and one puzzle a row")
    row = dict(zip(header, block[1], strict=False))
    question = row.get("question", "")
    side = math.isqrt(len(question))
    if side > 1 and side * side == len(question):
        if set(question) & set("#SG"):
            return Layout(header, "maze", side)
        if side in SUDOKU_SIZES:
            return Layout(header, "sudoku", side)
    raise DataError(
        f"{path}, {place(0)}: question has {len(question)} characters. Expected 16, 36 or 81 "
        "for a sudoku, a square number with S, G and # for a maze"
    )


def _columns(
    path: Path, layout: Layout, block: list[list[str]], first: int
) -> dict[str, tuple[str, ...]]:
    width = len(layout.columns)
    for row, fields in enumerate(block):
        if len(fields) != width:
            raise DataError(
                f"{path}, {place(first + row)}: {len(fields)} fields, expected {width} "
                f"({','.join(layout.columns)}). {_FIX}"
            )
    values = zip(*block, strict=True) if block else [()] * width
    return dict(zip(layout.columns, values, strict=True))


def _table(layout: Layout, answer: bool) -> np.ndarray:
    """Token of every character code, uint8 (256,)."""
    table = np.full(256, _BAD, np.uint8)
    if layout.kind == "maze":
        alphabet = "# SGo" if answer else "# SG"
        table[[ord(c) for c in alphabet]] = np.arange(1, len(alphabet) + 1)
    else:
        if not answer:
            table[[ord(c) for c in "._0"]] = 1
        table[ord("1") : ord("1") + layout.size] = np.arange(2, layout.size + 2)
    return table


def _tokens(
    path: Path, name: str, texts: tuple[str, ...], cells: int, table: np.ndarray, first: int
) -> np.ndarray:
    """Tokens uint8 (rows, cells) of the texts of a column."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    if (lengths != cells).any():
        row = int(np.argmax(lengths != cells))
        raise DataError(
            f"{path}, {place(first + row)}: {name} has {lengths[row]} characters, "
            f"expected {cells}. {_FIX}"
        )
    codes = np.frombuffer("".join(texts).encode("latin-1", "replace"), np.uint8)
    tokens = table[codes].reshape(len(texts), cells)
    if (tokens == _BAD).any():
        row, cell = np.argwhere(tokens == _BAD)[0]
        raise DataError(
            f"{path}, {place(first + int(row))}: {name} has {texts[row][cell]!r} as character "
            f"{cell + 1}, which is not in its alphabet. {_FIX}"
        )
    return tokens


def _numbers(path: Path, name: str, columns: dict[str, tuple[str, ...]], first: int) -> np.ndarray:
    """Ratings float32 (rows,), finite and not negative."""
    texts = columns[name]
    try:
        values = np.array(texts, dtype=np.str_).astype(np.float64)
    except ValueError:
        values = np.array([_number(text) for text in texts])
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{path}, {place(first + row)}: {name} is {texts[row]!r}, expected a number from 0 up. "
            f"{_FIX}"
        )
    return values.astype(np.float32)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def read_npy_folder(folder: str | Path) -> PuzzleSet:
    """Read a folder that holds `all__inputs.npy` and `all__labels.npy`.

    Without the three index arrays every puzzle is a group of its own; with some of them, all three
    must be there. The first row tells a sudoku from a maze. The form of every row is checked.

    Raises DataError naming the file, the row (counted from 0), reason and remedy.
    """
    folder = Path(folder)
    inputs, labels = (read_tokens(folder / f"all__{name}.npy") for name in ("inputs", "labels"))
    if inputs.shape != labels.shape or not len(inputs):
        raise DataError(
            f"{folder}: all__inputs.npy is {inputs.shape}, all__labels.npy {labels.shape}. "
            "Expected one shape (rows, cells) with at least one row"
        )
    kind, size = _kind_of_arrays(folder, labels)
    fault = describe(kind, form_faults(kind, inputs, labels))
    if fault is not None:
        row, reason = fault
        raise DataError(f"{folder / 'all__inputs.npy'}, row {row} (from 0): {reason}. {_FIX}")
    names = ("puzzle_identifiers", "puzzle_indices", "group_indices")
    if any((folder / f"all__{name}.npy").exists() for name in names):
        ids, offsets = read_groups(folder, len(inputs))
    else:
        ids, offsets = np.zeros(len(inputs), np.int32), np.arange(len(inputs) + 1)
    difficulty = None
    if (folder / "all__difficulty.npy").exists():
        difficulty = read_array(folder / "all__difficulty.npy").astype(np.float32)
    name = None if difficulty is None else "difficulty"
    return PuzzleSet(kind, size, inputs, labels, ids, offsets, difficulty, name)


def _kind_of_arrays(folder: Path, labels: np.ndarray) -> tuple[str, int]:
    side = math.isqrt(labels.shape[1])
    if side * side == labels.shape[1] and side > 1:
        if side in SUDOKU_SIZES and labels[0].min() > 1:  # a maze has walls, token 1
            return "sudoku", side
        if labels[0].max() < 6:
            return "maze", side
    raise DataError(
        f"{folder / 'all__labels.npy'}: {labels.shape[1]} cells a row with tokens up to "
        f"{labels[0].max()} are no known puzzle. Expected 16, 36 or 81 cells for a sudoku, a "
        "square number for a maze"
    )
