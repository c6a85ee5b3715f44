"""Configurations as files: what `--config FILE` reads, and what `loopbench presets NAME` prints.

A file is YAML, or any run's config.json. What it leaves out is as in its preset.
"""

import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from scripts.usage import UsageError, describe, option_value

Config = TypeVar("Config", bound=BaseModel)


@dataclass(frozen=True)
class Elsewhere:
    """What a file describes that is for another command: its form, and how that is told."""

    form: type[BaseModel]
    told: str


def read_config_file(path: Path) -> dict[str, Any]:
    """The settings in a file. UsageError, with the file and the place, if it is none."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise UsageError(
            f"--config: {path}: cannot be read ({why}); give a YAML file or a run's config.json"
        ) from error
    try:
        values = (
            json.loads(text, object_pairs_hook=_once)
            if path.suffix == ".json"
            else yaml.load(text, _Once)
        )
    except (ValueError, yaml.YAMLError) as error:
        why = " ".join(str(error).replace('"<unicode string>", ', "").split())
        raise UsageError(
            f"--config: {path}: {why}; mend it, or print a whole one: loopbench presets NAME"
        ) from error
    if isinstance(values, dict) and isinstance(values.get("config"), dict):
        values = values["config"]  # a run's, beside what the run was made on
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UsageError(f"--config: {path}: holds no settings, one `name: value` a line")
    return values


class _Once(yaml.SafeLoader):
    """Refuses a key that stands twice in one place, where YAML's own would take the last."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)  # before any merge (<<) adds keys to it
        keys = [key for key, _ in node.value]
        for i, key in enumerate(keys):
            if key.value in [other.value for other in keys[:i]]:
                raise yaml.composer.ComposerError(
                    problem=f"{key.value} stands twice", problem_mark=key.start_mark
                )
        return node


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The same of JSON."""
    for i, (name, _) in enumerate(pairs):
        if name in [other for other, _ in pairs[:i]]:
            raise UsageError(f"{name} stands twice")
    return dict(pairs)


def configured(
    path: Path,
    words: Sequence[str],
    preset: Callable[[str], Config],
    form: type[Config],
    elsewhere: Elsewhere,
) -> Config:
    """The configuration that a file describes, on top of its preset's (--preset's, if it names
    none). A run's own serves where its preset is no longer known.

    path: the file; words: of the command line, where --preset may stand; preset: the configuration
    of a name, or UsageError; form: the configuration's class; elsewhere: what a file may be
    instead. UsageError that names the file, and the key for one that is unknown or has a value that
    cannot be.
    """
    values = read_config_file(path)
    named, ours, theirs = set(_named(values)), set(_known(form)), set(_known(elsewhere.form))
    if named & theirs - ours and not named & ours - theirs:
        raise UsageError(f"--config: {path}: {elsewhere.told}")
    named, given = values.get("preset"), option_value(words, "--preset")
    if named is not None and given not in (None, named):
        raise UsageError(f"--preset {given}: {path} is of preset {named}; leave --preset out")
    name = given if named is None else named
    if name is None:
        raise UsageError(f"--config: {path}: names no preset; add `preset: NAME` or give --preset")
    try:
        base = preset(name).model_dump()
    except UsageError:
        if not values.keys() >= {"model", "optimizer", "steps"}:  # not a whole run's
            raise
        base = {}
    merged = _merged(base, values | {"preset": name})
    try:
        return form.model_validate(merged)
    except ValidationError as error:
        raise UsageError(f"--config: {path}: {_told(error, merged)}") from error


def _known(form: type[BaseModel]) -> Iterator[str]:
    """The keys of a form, and of the groups in it; those of a model are its own."""
    for name, entry in form.model_fields.items():
        yield name
        if (
            name != "model"
            and isinstance(entry.annotation, type)
            and issubclass(entry.annotation, BaseModel)
        ):
            yield from (f"{name}.{below}" for below in entry.annotation.model_fields)


def _named(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        yield name
        if isinstance(value, Mapping):
            yield from (f"{name}.{below}" for below in value)


def _merged(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values on top of the base, group by group; a model of another kind is taken whole."""
    merged = dict(base)
    for key, value in values.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        if both and value.get("kind", below.get("kind")) == below.get("kind"):
            value = _merged(below, value)
        merged[key] = value
    return merged


def _told(error: ValidationError, settings: Mapping[str, Any]) -> str:
    """The first mistake: key and reason, and for an unknown key the nearest known one."""
    first = error.errors()[0]
    place = list(map(str, first["loc"]))
    key = ".".join(place)
    if first["type"] == "extra_forbidden":
        group: Any = settings
        for part in place[:-1]:
            group = group[part]
        near = difflib.get_close_matches(
            place[-1], [name for name in group if name != place[-1]], 1
        )
        hint = f", did you mean {'.'.join([*place[:-1], *near])}?" if near else ""
        return f"unknown key {key}{hint}"
    return describe(error).removeprefix("--")


def to_yaml(config: BaseModel) -> str:
    """A configuration as YAML that `--config` reads back the same."""
    values = config.model_dump(mode="json")
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
