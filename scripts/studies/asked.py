"""What studies are asked for: read, and refused, before torch is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from puzzles.puzzle_set import PuzzleSet
from reasoning.names import Device
from scripts.models.presets import RunConfig, preset
from scripts.models.variants import changes_of, merged
from scripts.runs.data import training_stream
from scripts.terminal.console import Console
from scripts.terminal.folders import keep_apart
from scripts.usage import at_least

if TYPE_CHECKING:
    from reasoning.training.distribution import World

OWN_FLAGS = {  # fields of a puzzle run that studies have options for
    **{"steps": "--steps", "seed": "--seeds", "data": "--data", "device": "--device"},
    "compile": "--compile",
}


@dataclass(frozen=True)
class Asked:
    """Of any study."""

    out: Path
    """folder for runs, tables and pictures."""
    device: Device = "auto"
    """where to run; auto: the best present."""
    jobs: int | None = None
    """runs that train at a time, by one thread each, with the same results however many; none: as
    many as cores and memory allow where nets are small, else one, on every core."""

    def check(self) -> None:
        """UsageError for what no study can be asked for."""
        at_least(1, jobs=self.jobs)
        keep_apart(self.out, "comparison")

    @cached_property
    def world(self) -> "World":
        """The processes, joined when first asked for: torch is loaded then."""
        from reasoning.training.distribution import join_world

        return join_world(self.device)

    @cached_property
    def console(self) -> Console:
        """Of the first process; the others print nothing."""
        return Console(quiet=not self.world.is_main)


@dataclass(frozen=True)
class PuzzlesAsked(Asked):
    """Of a study of puzzle models."""

    seeds: int = 1
    """seeds of each row, 0 upwards."""

    def check(self) -> None:
        super().check()
        at_least(1, seeds=self.seeds)


@dataclass(frozen=True)
class TableAsked(PuzzlesAsked):
    """Of one with rows of its own."""

    steps: int | None = None
    """optimiser steps per run; none: each preset's own."""
    compile: bool = False
    """compile the nets with torch.compile."""
    set: tuple[str, ...] = ()
    """fields changed in every row, NAME=VALUE each, such as precision=bf16."""
    yes: bool = False
    """begin though it takes more than an hour; the plan is told either way."""
    only: tuple[str, ...] = ()
    """rows to train and tell of, by their names, beside those of --also; none: all."""

    def check(self) -> None:
        super().check()
        at_least(1, steps=self.steps)

    @property
    def changes(self) -> dict[str, Any]:
        """Nested fields laid over every run's configuration. UsageError for --set of what has an
        option of its own."""
        fixed = {"compile": self.compile} | ({} if self.steps is None else {"steps": self.steps})
        return changes_of(self.set, OWN_FLAGS | {"preset": "--scale"}) | fixed


def configurations(
    names: Sequence[str], train: PuzzleSet, changes: Mapping[str, Any]
) -> list[RunConfig]:
    """Presets by name for a set of puzzles, with nested fields changed. UsageError for an unknown
    one, InputError for changes that these puzzles cannot be trained with."""
    configs = [
        RunConfig.model_validate(
            merged(preset(name, train.kind, train.seq_len).model_dump(), changes)
        )
        for name in names
    ]
    for config in configs:
        training_stream(config, train)
    return configs
