"""Kinds of puzzles by name: those that ship, those of installed packages, and import paths.

A name without `:` is an entry of `KINDS`, or else an entry point of the group `loopbench.puzzles`;
one with `:` is an import path, `mypackage.module:MyPuzzle`. A dataset's loopbench.json holds the
name. A module is imported when its puzzle is asked for.
"""

import functools
from importlib import metadata

from puzzles.errors import DataError
from puzzles.plugins import import_object
from puzzles.puzzle import Puzzle

KINDS = {
    "sudoku": "puzzles.sudoku.puzzle:Sudoku",
    "maze": "puzzles.maze.puzzle:Maze",
}
GROUP = "loopbench.puzzles"


def _paths() -> dict[str, str]:
    """Import path of each name."""
    return {point.name: point.value for point in metadata.entry_points(group=GROUP)} | KINDS


def name_of(kind: str) -> str:
    """A kind as data and runs are compared by: of an import path the name that it has by now. What
    was made before its puzzle was registered still fits what is made later."""
    return next((name for name, path in _paths().items() if path == kind), kind)


def _path_of(kind: str) -> str:
    if ":" in kind:
        return kind
    paths = _paths()
    if kind not in paths:
        known = ", ".join(f'"{name}"' for name in paths)
        raise DataError(
            f'kind is "{kind}", expected {known}, a name that an installed package registers, or '
            "the import path of one of your own, package.module:Name"
        )
    return paths[kind]


@functools.cache
def puzzle_of(kind: str) -> Puzzle:
    """The puzzle of a name. DataError, with the names, if there is none."""
    path = _path_of(kind)
    found = import_object(path)
    if not (isinstance(found, type) and issubclass(found, Puzzle)):
        raise DataError(f"{path}: is no class derived from puzzles.puzzle.Puzzle")
    lacks = sorted(found.__abstractmethods__)
    if lacks:
        raise DataError(f"{path}: has no {' and no '.join(lacks)}")
    return found()
