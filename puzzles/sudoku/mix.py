"""A stand-in for the published Sudoku-Extreme mix: hard, random minimal and 17-clue puzzles.

73 % from lists of hard puzzles, 25 % random minimal, 2 % from a list of 17-clue puzzles. Each is a
random isomorph of its source, no two are equivalent, and solution grids can be kept out.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from puzzles.csv_text import csv_text
from puzzles.errors import DataError, InputError
from puzzles.rows import row_keys
from puzzles.sudoku.canonical import canonicalise, classes_of
from puzzles.sudoku.generator import generate
from puzzles.sudoku.rules import as_grids, parse
from puzzles.sudoku.solver import solve_unique
from puzzles.sudoku.symmetry import apply, random_symmetry

SOURCES = ("hard", "random", "seventeen")
FRACTIONS = (0.73, 0.25, 0.02)
SIZE = 9
CHUNK = 4096  # most puzzles looked at together

PuzzleList = str | Path | np.ndarray  # a CSV file with a `question` column, or digits (N, 81)


class Mix(NamedTuple):
    """A mix of n puzzles, in random order."""

    puzzles: np.ndarray  # uint8 (n, 81) digits
    solutions: np.ndarray  # uint8 (n, 81) digits
    sources: np.ndarray  # uint8 (n,), index into SOURCES


class Chunk(NamedTuple):
    """Some puzzles of a source, (N, 81) digits, and where each stands, for error messages."""

    puzzles: np.ndarray
    places: list[str]


def build_mix(
    hard: Sequence[PuzzleList],
    seventeen: PuzzleList | None,
    n: int,
    seed: int,
    fractions: tuple[float, float, float] = FRACTIONS,
    exclude_solutions: np.ndarray | None = None,
) -> Mix:
    """Draw a mix of `n` 9x9 puzzles from lists and the generator.

    hard: lists of the hard part; seventeen: the list of the 17-clue part, None: there is none;
        seed: of all that is drawn.
    fractions: of hard, random minimal and 17-clue puzzles; they sum to 1.
    exclude_solutions (M, 81): solution grids whose classes must not occur, say those of train.

    Raises DataError if a list is too short, or a drawn row is not a puzzle with one solution.
    """
    counts = _counts(n, fractions)
    if counts[2] and seventeen is None:
        raise InputError(
            "17-clue puzzles asked for without a list; give one or make fractions[2] 0"
        )
    if counts[0] and not hard:
        raise InputError("hard puzzles asked for without a list; give one or make fractions[0] 0")
    rng = np.random.default_rng(seed)
    banned = classes_of(exclude_solutions)
    seen: set[bytes] = set()
    generator_seed = int(rng.integers(2**63))
    chunks = (
        _drawn_from(hard, counts[0], rng),
        _generated(generator_seed, counts[1]),
        _drawn_from([] if seventeen is None else [seventeen], counts[2], rng),
    )
    parts = [
        _take(count, chunk, banned, seen, f"the {name} part")
        for count, chunk, name in zip(counts, chunks, SOURCES, strict=True)
    ]
    puzzles = np.concatenate([part[0] for part in parts])
    solutions = np.concatenate([part[1] for part in parts])
    sources = np.repeat(np.arange(len(SOURCES), dtype=np.uint8), counts)
    symmetry = random_symmetry(n, SIZE, rng)
    order = rng.permutation(n)
    return Mix(apply(symmetry, puzzles)[order], apply(symmetry, solutions)[order], sources[order])


def _counts(n: int, fractions: tuple[float, float, float]) -> np.ndarray:
    """Whole numbers that sum to n, nearest to the fractions (largest remainders)."""
    share = np.asarray(fractions, dtype=np.float64)
    if n < 0 or share.shape != (3,) or (share < 0).any() or abs(share.sum() - 1) > 1e-9:
        raise InputError(f"fractions must be three numbers >= 0 with sum 1, got {fractions}, n={n}")
    counts = np.floor(n * share).astype(np.int64)
    remainder = n * share - counts
    counts[np.argsort(-remainder, kind="stable")[: n - counts.sum()]] += 1
    return counts


def _take(
    count: int, chunks: Iterator[Chunk], banned: np.ndarray, seen: set[bytes], name: str
) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` puzzles that are new and not on a banned grid, with their solutions."""
    puzzles, solutions, missing = [], [], count
    while missing:
        chunk = next(chunks, None)
        if chunk is None:
            raise DataError(
                f"{name}: only {count - missing} of {count} puzzles left after removing "
                "equivalent and excluded ones; give longer lists or ask for fewer"
            )
        solved = solve_unique(chunk.puzzles, chunk.places.__getitem__)
        form = canonicalise(solved, chunk.puzzles)
        allowed = ~np.isin(row_keys(form.solutions), banned)
        keep = []
        for row, key in enumerate(row_keys(form.puzzles).tolist()):
            if allowed[row] and key not in seen and len(keep) < missing:
                seen.add(key)
                keep.append(row)
        puzzles.append(chunk.puzzles[keep])
        solutions.append(solved[keep])
        missing -= len(keep)
    empty = np.zeros((0, SIZE * SIZE), dtype=np.uint8)
    return np.concatenate([empty, *puzzles]), np.concatenate([empty, *solutions])


def _generated(seed: int, count: int) -> Iterator[Chunk]:
    """Random minimal puzzles without end."""
    first, step = 0, min(count, CHUNK)
    while True:
        puzzles, _ = generate(step, SIZE, seed, first)
        yield Chunk(puzzles, [f"generated puzzle {first + i}" for i in range(step)])
        first += step


def _drawn_from(
    lists: Sequence[PuzzleList], count: int, rng: np.random.Generator
) -> Iterator[Chunk]:
    """The puzzles of all lists in random order, in chunks; nothing is read if none is wanted."""
    if count == 0:
        return
    loaded = [_as_chunk(entry) for entry in lists]
    puzzles = np.concatenate([chunk.puzzles for chunk in loaded])
    places = [place for chunk in loaded for place in chunk.places]
    order = rng.permutation(len(puzzles))
    step = min(count, CHUNK)
    for start in range(0, len(order), step):
        rows = order[start : start + step]
        yield Chunk(puzzles[rows], [places[row] for row in rows])


def _as_chunk(entry: PuzzleList) -> Chunk:
    if isinstance(entry, np.ndarray):
        puzzles = as_grids(entry, "puzzle list")
        return Chunk(puzzles, [f"puzzle list, row {row}" for row in range(len(puzzles))])
    puzzles = read_questions(Path(entry))
    return Chunk(
        puzzles, [f"{entry}, row {row + 1} (line {row + 2})" for row in range(len(puzzles))]
    )


def read_questions(path: Path) -> np.ndarray:
    """The `question` column of a CSV (.csv or .csv.gz) of 9x9 puzzles, uint8 (N, 81) digits.

    Raises DataError naming the file and, if it can be read, the row (1-based, without the header).
    """
    with csv_text(path) as file:
        reader = csv.DictReader(file)
        if "question" not in (reader.fieldnames or []):
            raise DataError(f"{path}: no column named question; add the header line")
        rows = []
        for number, row in enumerate(reader, start=1):
            try:
                rows.append(parse(row["question"] or "", SIZE))
            except DataError as error:
                raise DataError(f"{path}, row {number} (line {number + 1}): {error}") from None
    if not rows:
        raise DataError(f"{path}: holds no puzzles; choose another file")
    return np.stack(rows)
