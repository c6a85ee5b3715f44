"""`loopbench compare`: one table over runs, or over presets x seeds trained on the same data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from scripts.models.variants import changes_of
from scripts.runs.data import read_data
from scripts.runs.recorded import load_config
from scripts.studies.asked import OWN_FLAGS, Asked, configurations
from scripts.terminal.choices import Budget
from scripts.terminal.console import show
from scripts.terminal.folders import expect
from scripts.usage import UsageError, at_least, given, names_in

if TYPE_CHECKING:
    from scripts.studies.comparison import Comparison

_OF_TRAINING = ("jobs", "seeds", "steps", "hints", "budget", "amount", "compile", "set")


@dataclass(frozen=True)
class Compare(Asked):
    """Finished runs, or presets to train, and what is common to them."""

    out: Path = Path("runs/comparison")
    """folder for the report and, with --presets, the runs."""
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """folders of finished runs; none with --presets."""
    presets: str = ""
    """presets to train, separated by commas."""
    data: Path | None = None
    """data folder; with runs, none means each run's own."""
    seeds: int | None = None
    """seeds per preset, 0 upwards; none: 3."""
    steps: int | None = None
    """optimiser steps; none: each preset's own."""
    hints: int = 0
    """cells of its answer that a training puzzle is given each time it is drawn, from 0 to so many,
    whichever the preset."""
    budget: Budget = "steps"
    """what every preset gets equally: steps, training FLOPs, or training time. The last two set the
    number of steps by what a few steps of each measure."""
    amount: float | None = None
    """the budget, in steps, FLOPs or minutes; none: each preset's own steps, or what the first
    preset spends on its own."""
    compile: bool = False
    """compile the nets with torch.compile."""
    set: tuple[str, ...] = ()
    """fields changed in every preset, NAME=VALUE each, such as model.width=96."""

    def check(self) -> None:
        """UsageError for what does not go together or is not there."""
        super().check()
        if bool(self.runs) == bool(self.presets):
            raise UsageError("give either runs or --presets with --data")
        if self.data is not None:
            expect(self.data, "data")
        if self.runs:
            self._check_runs()
        else:
            self._check_training()

    def _check_runs(self) -> None:
        defaults = {field.name: field.default for field in fields(self)}
        for name in _OF_TRAINING:
            if getattr(self, name) != defaults[name]:
                raise UsageError(f"--{name} is for training: give --presets, not runs")
        for run in self.runs:
            expect(run, "puzzle run")
        if len({run.resolve() for run in self.runs}) < len(self.runs):
            raise UsageError("a run stands there twice: it would count as two seeds")
        kinds = {load_config(run)[1]["kind"] for run in self.runs}
        if len(kinds) > 1:
            raise UsageError(
                f"runs of {' and of '.join(sorted(kinds))} puzzles have no common table: compare "
                "them apart"
            )

    def _check_training(self) -> None:
        if self.data is None:
            raise UsageError("--presets needs --data DIR")
        at_least(1, steps=self.steps, seeds=self.seeds)
        at_least(0, hints=self.hints)
        if self.amount is not None:
            least = 1 if self.budget == "steps" else 0
            if not (0 < self.amount < math.inf and self.amount >= least):
                raise UsageError(
                    f"--amount: must be a number above 0, of steps 1 or more (got {self.amount})"
                )

    def compared(self) -> "Comparison":
        """The runs, scored; of presets, trained first, to an equal budget. UsageError if none can
        be scored."""
        return self._scored() if self.runs else self._trained()

    def _scored(self) -> "Comparison":
        from scripts.studies.comparison import compare_finished

        return compare_finished(self.runs, self.data, self)

    def _trained(self) -> "Comparison":
        train, _ = read_data(self.data)
        changes = changes_of(self.set, OWN_FLAGS | {"hints": "--hints", "preset": "--presets"})
        changes |= {"data": str(self.data), "device": self.device, "compile": self.compile}
        changes |= {"hints": self.hints} | ({} if self.steps is None else {"steps": self.steps})
        configs = configurations(names_in(self.presets, "--presets"), train, changes)

        from scripts.studies.comparison import Spending, planned_equally, train_and_compare

        if self.amount is not None and self.steps is not None:
            self.console.print("--amount sets the steps: --steps is not used")
        equal, seeds = Spending(self.budget, self.amount), 3 if self.seeds is None else self.seeds
        planned, lanes = planned_equally(configs, seeds, train, equal, self)
        return train_and_compare(planned, lanes, self.data, self.world, self.console)


def compare(runs: Sequence[Path | str] = (), **options: Any) -> dict[str, Any]:
    """Compare finished runs, or train presets x seeds on the same data order and compare those.

    runs: their folders; options: of `loopbench compare`, by name, see `Compare`.

    Returns what comparison.json holds, see `scripts.reports.report.comparison`. TypeError for an
    option that there is not, UsageError for a value of another kind.
    """
    return report(given(Compare, {"runs": tuple(runs)} | options))


def report(asked: Compare) -> dict[str, Any]:
    """Compare what is asked for, and write and print the report; returns what comparison.json
    holds."""
    asked.check()
    comparison = asked.compared()
    text = comparison.write(asked.out, f"Comparison on {asked.data or 'the data of each run'}")
    show(text, 190, asked.console.quiet)
    told = f"wrote {asked.out}/report.html, comparison.md, comparison.json and pictures"
    asked.console.print(told, soft_wrap=True)
    return comparison.groups()
