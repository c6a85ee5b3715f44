"""Models by name: loopbench's own, those of installed packages, and import paths.

A name without `:` is an entry of a registry of strings, or else an entry point of its group

    [project.entry-points."loopbench.models"]
    gru = "mypackage.module:GRU"

and one with `:` is an import path itself. A module is imported when its model is asked for.
"""

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from puzzles.plugins import import_object, look_here, watched
from scripts.terminal.choices import MODEL_GROUPS, PRESETS_FILE
from scripts.usage import UsageError, describe, unknown_name

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class Registry:
    """One kind of model.

    what: it, in words; shipped: loopbench's own, name to import path; group: of entry points;
    needs: the methods of its protocol, settings: the fields that its `Config` must have;
    answers: import path of what a `Config` that does not say it itself is taken to say;
    configs: import paths of the `Config` of loopbench's own that lie apart from their nets, so that
        a command's words are read without torch.
    """

    what: str
    shipped: Mapping[str, str]
    group: str
    needs: tuple[str, ...]
    settings: tuple[str, ...]
    answers: str
    configs: Mapping[str, str] = field(default_factory=dict)

    def installed(self) -> dict[str, metadata.EntryPoint]:
        """Entry points of installed packages by name, without those that loopbench's own names
        hide. UsageError if two packages register one name."""
        points: dict[str, metadata.EntryPoint] = {}
        for point in metadata.entry_points(group=self.group):
            if point.name in self.shipped:
                continue
            if point.name in points and points[point.name].value != point.value:
                both = f"{points[point.name].value} and {point.value}"
                raise UsageError(f"two packages register a {self.what} {point.name!r}: {both}")
            points[point.name] = point
        return points

    def path_of(self, name: str) -> str:
        """The import path of a name. UsageError, with the names, if there is none."""
        if ":" in name:
            return name
        if name in self.shipped:
            return self.shipped[name]
        others = self.installed()
        if name not in others:
            raise UsageError(
                unknown_name(self.what, name, [*self.shipped, *others], "`loopbench presets`")
            )
        return others[name].value

    @functools.cache  # noqa: B019 - registries live as long as the process
    def model_class(self, name: str) -> type["nn.Module"]:
        """The class of a model. UsageError for one that does not meet the protocol."""
        from torch import nn

        path = self.path_of(name)
        model = import_object(path)
        if not (isinstance(model, type) and issubclass(model, nn.Module)):
            raise UsageError(f"{path}: is no torch.nn.Module")
        lacks = [method for method in self.needs if not callable(getattr(model, method, None))]
        if lacks:
            raise UsageError(
                f"{path}: is no {self.what}, it has no {' and no '.join(lacks)} "
                "(see baselines/README.md)"
            )
        config = getattr(model, "Config", None)
        if not (isinstance(config, type) and issubclass(config, BaseModel)):
            raise UsageError(f"{path}: needs its settings as a pydantic class `Config` in it")
        missing = [field for field in self.settings if field not in config.model_fields]
        if missing:
            raise UsageError(f"{path}: its `Config` has no field {' and no '.join(missing)}")
        return model

    def build(self, name: str, *args: Any) -> "nn.Module":
        """The model of a name made with its settings and what the data decides. DataError for
        whatever the constructor of one from elsewhere raises."""
        kind = self.model_class(name)
        if name in self.shipped:
            return kind(*args)
        with watched(self.path_of(name), "__init__(config, ...)"):
            return kind(*args)

    @functools.cache  # noqa: B019
    def config_class(self, name: str) -> type[Any]:
        """The settings of a model. What comes from elsewhere says its name in a field `kind`,
        refuses unknown fields, and answers as `answers` does where it has no answer of its own."""
        if name in self.configs:
            return import_object(self.configs[name])
        config = self.model_class(name).Config
        if name in self.shipped:
            return config
        answers = import_object(self.answers)
        fields = {
            "__annotations__": {"kind": Literal[name]},
            "__module__": config.__module__,
            "__doc__": config.__doc__,
            "kind": name,
            "model_config": ConfigDict(frozen=True, extra="forbid"),
        }
        bases = (config,) if issubclass(config, answers) else (config, answers)
        return type(config.__name__, bases, fields)

    def settings_at(self, name: str, values: Mapping[str, Any]) -> Any:
        """The settings of a model that its scale asks for. UsageError where those of one from
        elsewhere are none before an option is given."""
        try:
            return self.config_class(name).model_validate(values)
        except ValidationError as error:
            if name in self.shipped:
                raise
            fault = describe(error).removeprefix("--")
            raise UsageError(
                f"{self.path_of(name)}: its Config as it is before any option has a fault, {fault} "
                "(every field needs a default)"
            ) from error

    def by_kind(self, value: Any) -> Any:
        """Settings as the class that their `kind` names: a validator. ValueError without one."""
        if not isinstance(value, Mapping):
            return value
        if not isinstance(value.get("kind"), str):
            raise UsageError(f"needs a `kind`, the name of a {self.what}")
        parts = [part for part in value.values() if isinstance(part, Mapping)]
        if any(":" in str(part.get("kind", "")) for part in parts):
            look_here()  # for a solver or a gradient by its import path
        return self.config_class(value["kind"]).model_validate(value)


def no_preset(name: str, task: Literal["puzzles", "language"], known: Iterable[str]) -> UsageError:
    """What to say of a name that is none of the `known` presets of a task: that it is one of the
    other task's, or which is nearest."""
    other = {"puzzles": "language", "language": "puzzles"}[task]
    command = {"puzzles": "train", "language": "pretrain"}[other]
    for row in json.loads(PRESETS_FILE.read_text()):
        if (row["preset"], row["task"]) == (name, other):
            return UsageError(f"{name} is a preset of {other}; `loopbench {command}` takes it")
    return UsageError(unknown_name("preset", name, known, "`loopbench presets`"))


PUZZLE_MODELS = Registry(
    what="puzzle model",
    shipped={
        "attractor": "reasoning.attractor:Attractor",
        "trm": "baselines.trm:TRM",
        "hrm": "baselines.hrm:HRM",
        "transformer": "baselines.transformer:Transformer",
        "two-step": "baselines.controls:TwoStep",
        "attractor-reset": "baselines.controls:AttractorReset",
    },
    group=MODEL_GROUPS[0],
    needs=("initial_state", "segment", "decode"),
    settings=(),
    answers="reasoning.model_config:ModelConfig",
    configs={
        "attractor": "reasoning.attractor_config:AttractorConfig",
        "trm": "baselines.configs:TRMConfig",
        "hrm": "baselines.configs:HRMConfig",
        "transformer": "baselines.configs:TransformerConfig",
        "two-step": "baselines.configs:TwoStepConfig",
        "attractor-reset": "baselines.configs:AttractorResetConfig",
    },
)
LANGUAGE_MODELS = Registry(
    what="language model",
    shipped={
        "attractor": "reasoning.attractor_lm:AttractorLM",
        "transformer": "baselines.gpt:GPT",
        "parcae": "baselines.parcae:Parcae",
        "deq": "baselines.deq:DEQ",
    },
    group=MODEL_GROUPS[1],
    needs=("forward", "new_cache", "parameter_roles", "cost", "blocks", "repeated_blocks"),
    settings=("context",),
    answers="reasoning.language_config:LanguageFacts",
    configs={
        "attractor": "reasoning.attractor_lm_config:AttractorLMConfig",
        "transformer": "baselines.configs:GPTConfig",
        "parcae": "baselines.configs:ParcaeConfig",
        "deq": "baselines.configs:DEQConfig",
    },
)
