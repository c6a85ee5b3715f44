"""Whether the parts of a kind of puzzle agree with one another: what `data make` asks of one before
its puzzles are written."""

from collections.abc import Callable
from math import isqrt

import numpy as np

from puzzles.errors import InputError
from puzzles.kinds import puzzle_of
from puzzles.plugins import watched
from puzzles.puzzle import Puzzle
from puzzles.units import unit_families

_LOOKED_AT = 64  # puzzles


def disagreement(kind: str, inputs: np.ndarray, labels: np.ndarray, seed: int) -> str | None:
    """The first method of a kind that is at odds with another, and how, seen on puzzles (N, L) that
    it generated; None if there is none. DataError for what a method raises.

    inputs, labels: their tokens, uint8, of which the first few are looked at; seed: what `generate`
    is called with again, twice.
    """
    puzzle, size = puzzle_of(kind), isqrt(inputs.shape[1])
    first = inputs[:_LOOKED_AT], labels[:_LOOKED_AT]
    looks: dict[str, Callable[[], str | None]] = {
        "vocabulary": lambda: _vocabulary(puzzle.vocabulary(size)),
        "characters": lambda: _characters(puzzle, size),
        "symbols": lambda: _symbols(puzzle.symbols(size), puzzle.vocabulary(size)),
        "families": lambda: _families(kind, size),
        "is_valid": lambda: _givens(puzzle, *first),
        "generate": lambda: _generate(puzzle, size, seed, *first),
        "augment": lambda: _augment(puzzle, *first),
    }
    for method, look in looks.items():
        with watched(kind, method):
            fault = look()
        if fault is not None:
            return f"{method} {fault}"
    return None


def _vocabulary(tokens: object) -> str | None:
    if isinstance(tokens, int | np.integer) and 2 < tokens <= 256:
        return None
    return f"gives {tokens!r}, expected a number of tokens, 3 to 256"


def _characters(puzzle: Puzzle, size: int) -> str | None:
    try:
        known, tokens = puzzle.characters(size), puzzle.vocabulary(size)
    except InputError:  # more tokens than there are characters: told where one is to be written
        return None
    if len(known) == tokens == len(set(known)):
        return None
    return f"gives {known!r}, expected {tokens} different characters, one for each token"


def _symbols(symbols: tuple[int, ...], tokens: int) -> str | None:
    if len(set(symbols)) == len(symbols) and set(symbols) <= set(range(2, tokens)):
        return None
    return f"gives {symbols}, expected different tokens from 2 to {tokens - 1}"


def _families(kind: str, size: int) -> None:
    unit_families(kind, size)  # DataError where one is none


def _givens(puzzle: Puzzle, inputs: np.ndarray, labels: np.ndarray) -> str | None:
    """The answer of another question is not valid where it changes a given, nor is one's own with
    a given changed; unless answers are no filled questions, and change them all."""
    if any(puzzle.contradicts(*pair).any() for pair in zip(labels, inputs, strict=True)):
        return None
    tokens, changed = puzzle.vocabulary(isqrt(inputs.shape[1])), labels.copy()
    for row, question in enumerate(inputs):
        given = np.flatnonzero(question > 1)[:1]
        changed[row, given] = np.where(labels[row, given] == tokens - 1, 2, labels[row, given] + 1)
    for answers in (np.roll(labels, 1, axis=0), changed):
        pairs = zip(answers, inputs, strict=True)
        altered = np.array([puzzle.contradicts(*pair).any() for pair in pairs])
        if altered.any() and puzzle.validity(inputs[altered], answers[altered]).any():
            return "takes an answer that changes a given of its question (as `contradicts` says)"
    return None


def _generate(
    puzzle: Puzzle, size: int, seed: int, inputs: np.ndarray, labels: np.ndarray
) -> str | None:
    if (inputs == labels).all():
        return "gives the answers as questions"
    once, again = (puzzle.generate(size, len(inputs), seed) for _ in range(2))
    if all(np.array_equal(a, b) for a, b in zip(once, again, strict=True)):
        return None
    return "gives other puzzles when it is called again with the same seed"


def _augment(puzzle: Puzzle, inputs: np.ndarray, labels: np.ndarray) -> str | None:
    once, again = (puzzle.augment(inputs, labels, np.random.default_rng(1)) for _ in range(2))
    if all(np.array_equal(a, b) for a, b in zip(once, again, strict=True)):
        return None
    return "gives other images when it is called again with the same generator: draw from `rng`"
