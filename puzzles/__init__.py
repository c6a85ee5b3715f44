"""Puzzles as arrays: rules, solvers, generators, symmetries, datasets, metrics (no torch)."""

import importlib
from typing import Any

_HOMES = {
    "Puzzle": "puzzles.puzzle",
    "PuzzleSet": "puzzles.puzzle_set",
    "puzzle_of": "puzzles.kinds",
    "make": "puzzles.sources",
    "read_split": "puzzles.dataset",
    "write_dataset": "puzzles.dataset",
    "BatchStream": "puzzles.stream",
    "is_valid": "puzzles.metrics",
    "score": "puzzles.metrics",
    "summarise": "puzzles.metrics",
    "to_png": "puzzles.render",
    "to_text": "puzzles.render",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """A name of `__all__`, from the module that it is of, imported when it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
