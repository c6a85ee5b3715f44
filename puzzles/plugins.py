"""Import paths `package.module:Name`: what lies outside this repository."""

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from puzzles.errors import DataError, InputError

_OURS = ("baselines", "puzzles", "reasoning", "scripts")


def look_here() -> None:
    """Let modules of the working folder be found, after all others."""
    if os.getcwd() not in sys.path:
        for ours in _OURS:
            importlib.import_module(ours)  # a working folder may have its own of these names
        sys.path.append(os.getcwd())


def import_object(path: str) -> object:
    """What an import path stands for; the working folder is looked at too, last.

    DataError, with the remedy, if nothing.
    """
    module, _, name = path.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise DataError(f"{path}: is no import path; one is written package.module:Name")
    look_here()
    try:
        loaded = importlib.import_module(module)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            remedy = "install it, run where it lies, or name its folder in PYTHONPATH"
            package = module.partition(".")[0]
            if package in _OURS:
                remedy = f"{package} is loopbench's own: call your folder otherwise"
            raise DataError(f"{path}: there is no module {error.name}; {remedy}") from error
        raise DataError(f"{path}: cannot be imported ({told(error)})") from error
    if not hasattr(loaded, name):
        near = difflib.get_close_matches(name, vars(loaded), n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        where = getattr(loaded, "__file__", None) or "a folder"
        raise DataError(f"{path}: {module} ({where}) has no {name}{hint}")
    return getattr(loaded, name)


@contextmanager
def watched(path: str, method: str) -> Iterator[None]:
    """A method of one's own, whose exception becomes a DataError that names it and its place."""
    try:
        yield
    except InputError:  # says it already
        raise
    except Exception as error:
        raise DataError(f"{path}: {method} fails ({told(error)})") from error


def told(error: Exception) -> str:
    """What code of one's own raised, and where, in a line."""
    frame = _place(error)
    return f"{type(error).__name__}: {error}, at {frame.filename}:{frame.lineno}"


def _place(error: Exception) -> traceback.FrameSummary:
    """Where it was raised, or where a library that raised it was called."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((f for f in reversed(frames) if "site-packages" not in f.filename), frames[-1])
