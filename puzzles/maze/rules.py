"""The form of a maze: alphabet, text, and what a question may hold.

A maze is a flat row-major uint8 array of L = size * size tokens; a batch is (N, L). Tokens are
those of the Maze-Hard set (Wang et al., Hierarchical Reasoning Model, 2025): `# SGo` are 1 to 5,
0 is padding. A question holds walls, free cells, one S and one G; its label is the question with
the free cells of a path from S to G turned to `o`. Moves go down, left, right and up.
"""

from math import isqrt

import numpy as np

from puzzles.errors import DataError, InputError

ALPHABET = "# SGo"
WALL, FREE, START, GOAL, PATH = range(1, 6)


def size_of(grids: np.ndarray) -> int:
    """Cells a side, inferred from the length of the last axis; ValueError if it is no square."""
    length = grids.shape[-1]
    size = isqrt(length)
    if length == 0 or size * size != length:
        raise InputError(f"a maze is square, so its rows hold 1, 4, 9, ... cells, got {length}")
    return size


def parse(text: str) -> np.ndarray:
    """Tokens uint8 (L,) of a maze written on one line of L characters, or row by row.

    Raises DataError for a character outside the alphabet and for a maze that is not square.
    """
    lines = text.splitlines()
    if len(lines) > 1:
        for number, line in enumerate(lines, start=1):
            if len(line) != len(lines):
                raise DataError(
                    f"maze text, line {number}: {len(line)} characters in a maze of {len(lines)} "
                    "lines; write as many characters a line as lines, spaces at the ends included"
                )
    cells = "".join(lines)
    for position, character in enumerate(cells, start=1):
        if character not in ALPHABET:
            raise DataError(
                f"maze text, character {position}: {character!r} is not allowed; "
                "use # for a wall, a space for a free cell, S, G, and o for the path"
            )
    if not cells or isqrt(len(cells)) ** 2 != len(cells):
        raise DataError(
            f"maze text has {len(cells)} characters, expected a square number; "
            "write the maze row by row, spaces at the ends included"
        )
    return np.array([ALPHABET.index(character) + 1 for character in cells], dtype=np.uint8)


def format_grid(tokens: np.ndarray) -> str:
    """The one-line text of a maze (L,): the inverse of `parse`. DataError for other tokens."""
    tokens = np.asarray(tokens)
    size_of(tokens)
    bad = (tokens < WALL) | (tokens > PATH)
    if bad.any():
        cell = int(np.argmax(bad))
        raise DataError(f"maze, cell {cell}: token {tokens[cell]}, expected {WALL} to {PATH}")
    return "".join(ALPHABET[token - 1] for token in tokens)


def check_inputs(inputs: np.ndarray) -> None:
    """Check that questions (N, L) hold one S, one G and else only walls and free cells.

    Raises DataError naming the first bad row (from 0), ValueError for an array of another form.
    """
    if inputs.ndim != 2 or not np.issubdtype(inputs.dtype, np.integer):
        raise InputError(f"mazes must be integers (N, L), got {inputs.dtype} {inputs.shape}")
    size_of(inputs)
    alien = ((inputs < WALL) | (inputs > GOAL)).any(axis=1)
    starts, goals = (np.count_nonzero(inputs == end, axis=1) for end in (START, GOAL))
    bad = alien | (starts != 1) | (goals != 1)
    if not bad.any():
        return
    row = int(np.argmax(bad))
    if alien[row]:
        reason = "holds a token that is not a wall, a free cell, S or G"
    else:
        reason = f"holds {starts[row]} S and {goals[row]} G"
    raise DataError(
        f"mazes, row {row} (from 0): {reason}; expected walls (1), free cells (2), "
        "one S (3) and one G (4)"
    )
