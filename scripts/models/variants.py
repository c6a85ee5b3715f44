"""Variants of a model that differ from its preset in named fields, as --set does; names as parts of
paths."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    if isinstance(value, list | tuple) and all(number in _numbers(value) for number in change):
        items = {number: value[int(number)] for number in _numbers(value)}
        return [*merged(items, change).values()]
    return change


def _numbers(items: Sequence[Any]) -> list[str]:
    return [str(i) for i in range(len(items))]


def expect_kept(row: str, values: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """UsageError where the nested values that a row came to, which may overrule --set, are not as
    the changes have them."""
    for place, wanted in _leaves(changes):
        value: Any = values
        for name in place:
            value = value[int(name)] if isinstance(value, list) else value[name]
        if value != wanted:
            raise UsageError(
                f"--set {'.'.join(place)}: the row {row} has its own, {value}; leave that out, or "
                "the row by --only"
            )


def _leaves(
    changes: Mapping[str, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, change in changes.items():
        place = (*above, name)
        if isinstance(change, Mapping):
            yield from _leaves(change, place)
        else:
            yield place, change


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
        if (option := elsewhere.get([*groups, last][0])) is not None:
            raise UsageError(f"--set {word}: use {option}")
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
