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
    """Nested values with changes laid over them; whoever reads the result refuses unknown names."""
    result = dict(values)
    for name, change in changes.items():
        below = values.get(name)
        inner = isinstance(change, Mapping) and isinstance(below, Mapping)
        result[name] = merged(below, change) if inner else change
    return result


def changes_of(
    words: Sequence[str], elsewhere: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """Nested fields from words of --set such as batch=4 or model.width=64.

    elsewhere: the options of fields that have one of their own. UsageError for these, and for any
    other word.
    """
    changes: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not (name and equals):
            raise UsageError(f"--set {word}: expected NAME=VALUE, such as model.width=64")
        if name in elsewhere:
            raise UsageError(f"--set {word}: use {elsewhere[name]}")
        *groups, field_name = name.split(".")
        place = changes
        for group in groups:
            place = place.setdefault(group, {})
            if not isinstance(place, dict):
                raise UsageError(f"--set {word}: {group} is set to a value before")
        try:
            place[field_name] = json.loads(text)
        except ValueError:
            place[field_name] = text
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
