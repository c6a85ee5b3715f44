"""Puzzle models by name: loopbench's own, those of installed packages, and import paths.

A name without `:` is an entry of `MODELS`, or else an entry point of the group `loopbench.models`

    [project.entry-points."loopbench.models"]
    gru = "mypackage.module:GRU"

and one with `:` is an import path itself. A module is imported when its model is asked for.
"""

import functools
from importlib import metadata
from typing import Literal

from pydantic import BaseModel, ConfigDict
from torch import nn

from puzzles.plugins import import_object
from reasoning.model_config import ModelConfig
from scripts.usage import UsageError, unknown_name

MODELS = {
    "attractor": "reasoning.attractor:Attractor",
    "trm": "baselines.trm:TRM",
    "hrm": "baselines.hrm:HRM",
    "transformer": "baselines.transformer:Transformer",
    "two-step": "baselines.controls:TwoStep",
    "attractor-reset": "baselines.controls:AttractorReset",
}
GROUP = "loopbench.models"
_PROTOCOL = ("initial_state", "segment", "decode")


def installed_models() -> dict[str, metadata.EntryPoint]:
    """Entry points of installed packages by name, without those that loopbench's own names hide.

    UsageError if two packages register one name.
    """
    found: dict[str, metadata.EntryPoint] = {}
    for point in metadata.entry_points(group=GROUP):
        if point.name in MODELS:
            continue
        if point.name in found and found[point.name].value != point.value:
            both = f"{found[point.name].value} and {point.value}"
            raise UsageError(f"two packages register a model {point.name!r}, {both}: remove one")
        found[point.name] = point
    return found


def path_of(name: str) -> str:
    """The import path of a model's name. UsageError, with the names, if there is none."""
    if ":" in name:
        return name
    if name in MODELS:
        return MODELS[name]
    others = installed_models()
    if name not in others:
        raise UsageError(unknown_name("model", name, [*MODELS, *others], "`loopbench presets`"))
    return others[name].value


@functools.cache
def model_class(name: str) -> type[nn.Module]:
    """The class of a model. UsageError for one that is not a puzzle model."""
    path = path_of(name)
    model = import_object(path)
    if not (isinstance(model, type) and issubclass(model, nn.Module)):
        raise UsageError(f"{path}: is no torch.nn.Module")
    lacks = [method for method in _PROTOCOL if not callable(getattr(model, method, None))]
    if lacks:
        raise UsageError(
            f"{path}: is no puzzle model, it has no {' and no '.join(lacks)} "
            "(see reasoning.supervision.SegmentModel)"
        )
    config = getattr(model, "Config", None)
    if not (isinstance(config, type) and issubclass(config, BaseModel)):
        raise UsageError(f"{path}: needs its settings as a pydantic class `Config` in it")
    return model


@functools.cache
def config_class(name: str) -> type[ModelConfig]:
    """The settings of a model. What comes from elsewhere says its name in a field `kind`, refuses
    unknown fields, and answers as `ModelConfig` does where it has no answer of its own."""
    config = model_class(name).Config
    if name in MODELS:
        return config
    fields = {
        "__annotations__": {"kind": Literal[name]},
        "__module__": config.__module__,
        "__doc__": config.__doc__,
        "kind": name,
        "model_config": ConfigDict(frozen=True, extra="forbid"),
    }
    bases = (config,) if issubclass(config, ModelConfig) else (config, ModelConfig)
    return type(config.__name__, bases, fields)
