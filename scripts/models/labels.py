"""A configuration beside its preset's, or beside another: in a label, or field by field."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from reasoning.training.config import replanned
from scripts.models.presets import RunConfig, preset
from scripts.models.variants import merged
from scripts.usage import UsageError

# Neither another model nor another recipe.
_APART = (
    *("preset", "data", "seed", "steps", "device", "compile", "micro_batch"),
    *("log_every", "checkpoint_every", "evaluate_every", "evaluate_puzzles"),
)


def label(config: RunConfig, puzzle: str = "sudoku", cells: int | None = None) -> str:
    """The preset's name and, as field=value, what differs from it.

    How it is run and watched apart, and seed, data and steps, which a comparison tells itself; and
    what a deadline made of the preset's own numbers of steps.
    """
    try:
        named = preset(config.preset, puzzle, cells)
    except UsageError:  # a variant's name
        return config.preset
    bases = (named, replanned(named, config.steps))
    base, planned = (_flat(each.model_dump(mode="json")) for each in bases)
    asked = settings(config)
    changed = [f"{k}={v}" for k, v in asked.items() if v not in (base.get(k), planned.get(k))]
    return " ".join([config.preset, *changed])


def settings(config: RunConfig) -> dict[str, Any]:
    """What makes the model and its training, by name: not how it is run and watched, nor seed,
    data and steps."""
    flat = _flat(config.model_dump(mode="json"))
    return {name: value for name, value in flat.items() if name not in _APART}


def differences(first: RunConfig, second: RunConfig) -> list[str]:
    """Fields in which two configurations differ, as "field first, not second"."""
    a, b = (_flat(config.model_dump(mode="json")) for config in (first, second))
    names = [name for name in dict.fromkeys((*a, *b)) if a.get(name) != b.get(name)]
    return [f"{name} {a.get(name)}, not {b.get(name)}" for name in names]


def expect_kept(row: str, config: BaseModel, changes: Mapping[str, Any]) -> None:
    """UsageError where a row overruled --set: where these nested changes, laid over the
    configuration that it came to, would still alter it. row: its name, for the message."""
    asked = type(config).model_validate(merged(config.model_dump(), changes))
    own, wanted = (_flat(each.model_dump(mode="json")) for each in (config, asked))
    for name, value in own.items():
        if value != wanted.get(name):
            raise UsageError(
                f"--set {name}: the row {row} has its own, {value}; leave that out, or the row by "
                "--only"
            )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        inner = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{name}.") if inner else {prefix + name: value}
    return flat
