"""Code that lies outside this repository: import paths `package.module:Name` of solvers and
gradients, and what models, called for the first time, raise or return."""

import pkgutil
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from reasoning.errors import InputError


def class_at(path: str, base: type) -> type:
    """The class that an import path stands for. InputError, with the remedy, for none and for one
    that is not derived from `base` or lacks a method of it."""
    try:
        found = pkgutil.resolve_name(path)
    except Exception as error:  # whatever a stranger's module raises while it is imported
        raise InputError(
            f"{path}: cannot be imported ({type(error).__name__}: {error}); one writes "
            "package.module:Name, installed, where you run, or in a folder named in PYTHONPATH"
        ) from error
    home = f"{base.__module__.rpartition('.')[0]}.{base.__name__}"
    if not (isinstance(found, type) and issubclass(found, base)):
        raise InputError(f"{path}: is no class derived from {home}")
    lacks = sorted(found.__abstractmethods__)
    if lacks:
        raise InputError(f"{path}: has no {' and no '.join(lacks)}, which {home} asks for")
    if "__dataclass_fields__" not in vars(found) and vars(found).get("__annotations__"):
        raise InputError(f"{path}: has fields, so decorate it with @dataclass(frozen=True)")
    return found


def made(path: str, kind: type, *args: Any, **settings: Any) -> Any:
    """An object of a class of one's own. InputError for whatever its constructor raises."""
    try:
        return kind(*args, **settings)
    except InputError:  # says it already
        raise
    except Exception as error:
        raise InputError(
            f"{path}: cannot be made with {settings} ({type(error).__name__}: {error})"
        ) from error


@contextmanager
def watched(path: str, method: str) -> Iterator[None]:
    """A method of one's own, whose exception becomes an InputError that names it and its place."""
    try:
        yield
    except InputError:  # says it already
        raise
    except Exception as error:
        frame = _place(error)
        place = f"{frame.filename}:{frame.lineno}"
        said = f"{type(error).__name__}: {error}, at {place}"
        raise InputError(f"{path}: {method} fails ({said})") from error


def path_of(model: object) -> str:
    """The import path of an object's class."""
    return f"{type(model).__module__}:{type(model).__qualname__}"


def _place(error: Exception) -> traceback.FrameSummary:
    """Where it was raised, or where a library that raised it was called."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((f for f in reversed(frames) if "site-packages" not in f.filename), frames[-1])
