"""Variants of a model that differ from its preset in named fields, as --set does; names as parts of
paths."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from scripts.usage import UsageError, unknown_name


@dataclass(frozen=True)
class Variant:
    """A name, the model whose preset it starts from, and nested fields that differ from it."""

    name: str
    model: str
    changes: Mapping[str, Any] = field(default_factory=dict)


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values with changes laid over them, those of a list by the number of the item; whoever
    reads the result refuses unknown names."""
    result = dict(values)
    for name, change in changes.items():
        result[name] = _laid_over(values.get(name), change)
    return result


def _laid_over(value: Any, change: Any) -> Any:
    if not isinstance(change, Mapping):
        return change
    if isinstance(value, Mapping):
        return merged(value, change)
    if isinstance(value, list | tuple):
        items = {str(number): item for number, item in enumerate(value)}
        if change.keys() <= items.keys():
            return [*merged(items, change).values()]
    return change


def changes_of(
    words: Sequence[str], elsewhere: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """Nested fields from words of --set such as batch=4, model.width=64 or, of an item of a list,
    supervision.curriculum.0.until=0.3.

    elsewhere: the option that a field has of its own. UsageError for such a field, for one that is
    set twice, and for a word that sets none.
    """
    changes: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not (name and equals):
            raise UsageError(f"--set {word}: expected NAME=VALUE, such as model.width=64")
        *groups, last = name.split(".")
        if (first := name.partition(".")[0]) in elsewhere:
            raise UsageError(f"--set {word}: use {elsewhere[first]}")
        place = changes
        for group in groups:
            place = place.setdefault(group, {})
            if not isinstance(place, dict):
                raise UsageError(f"--set {word}: {group} is set to a value before")
        if last in place:
            raise UsageError(f"--set {word}: {name} is set before")
        try:
            place[last] = json.loads(text)
        except ValueError:
            place[last] = text
    return changes


def chosen(only: Sequence[str], names: Iterable[str]) -> set[str]:
    """What --only asks for of a table's rows: all where it names none. UsageError for a row that is
    not there."""
    known = list(dict.fromkeys(names))
    for name in only:
        if name not in known:
            raise UsageError(f"--only: {unknown_name('row', name, known)}")
    return set(only or known)


def file_name(name: str) -> str:
    """A name as a part of a path: letters, digits, `_`, `.` and single hyphens alone, so that a
    shell, a list separated by commas and a URL take it as it is."""
    return re.sub(r"[^\w.]+", "-", name, flags=re.ASCII).strip("-")
