"""Results in whose place others come: kept beside them, as NAME-earlier-N."""

import json
import re
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

from scripts.terminal.console import Console


def set_aside(path: Path, *beside: str) -> Path:
    """Rename a file to NAME-earlier-N of the first N that is free, and with it those files beside
    it that NAME begins, each by what follows NAME in its own; returns where the file is."""
    places = (path.with_name(f"{path.stem}-earlier-{n}{path.suffix}") for n in count(1))
    kept = next(place for place in places if not place.exists())
    for ending in beside:
        other = path.with_name(path.stem + ending)
        if other.is_file():
            other.rename(kept.with_name(kept.stem + ending))
    return path.rename(kept)


def is_set_aside(path: Path) -> bool:
    """Whether `set_aside` named it: another has taken its place."""
    return re.search(r"-earlier-\d+$", path.stem) is not None


Key = str | tuple[str, ...]  # of a row: its name, or what begins with it


def keep_other_rows(path: Path, rows: Callable[[Any], Iterable[Key]], keys: Iterable[Key]) -> None:
    """Before a table's JSON is written: one that lies there is set aside, its Markdown with it, and
    said to be, if it has rows that the new one lacks or cannot be read.

    path: of the JSON; rows: the keys of its content's rows; keys: those of the new one's.
    """
    if not path.is_file():
        return
    try:
        lost = set(rows(json.loads(path.read_text()))) - set(keys)
    except (ValueError, AttributeError, KeyError, TypeError):  # no JSON, or none of ours
        lost = {"what cannot be read"}
    if lost:
        kept = set_aside(path, ".md")
        rest = ", ".join(sorted({key if isinstance(key, str) else key[0] for key in lost}))
        note = f"note: the table that lay there, with {rest}, is {kept} now"
        Console().print(note, soft_wrap=True)
