"""`loopbench compare`: one table over runs, or over presets x seeds trained on the same data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from reasoning.names import Device
from scripts.runs.data import read_puzzles
from scripts.runs.recorded import load_config
from scripts.studies.asked import Asked, configurations
from scripts.terminal.choices import Budget
from scripts.terminal.console import show
from scripts.terminal.folders import expect
from scripts.usage import UsageError, at_least, names_in

if TYPE_CHECKING:
    from scripts.studies.comparison import Comparison


@dataclass(frozen=True)
class _RunsAsked(Asked):
    """Of finished runs."""

    data: Path | None = None
    runs: tuple[Path, ...] = ()

    def check(self) -> None:
        """UsageError for what is no run, stands there twice or has no table with the others."""
        super().check()
        if self.data is not None:
            expect(self.data, "data")
        for run in self.runs:
            expect(run, "puzzle run")
        if len({run.resolve() for run in self.runs}) < len(self.runs):
            raise UsageError("a run stands there twice: it would count as two seeds")
        _check_kinds(self.runs)

    def compared(self) -> "Comparison":
        """Scores them. UsageError if none can be scored."""
        from scripts.studies.comparison import compare_finished

        return compare_finished(self.runs, self.data, self)


@dataclass(frozen=True)
class _PresetsAsked(Asked):
    """Of presets to train; the fields are the command's options."""

    data: Path | None = None
    presets: str = ""
    seeds: int | None = None
    steps: int | None = None
    hints: int = 0
    budget: Budget = "steps"
    amount: float | None = None
    compile: bool = False

    def check(self) -> None:
        """UsageError for amounts that cannot be trained, or no data."""
        super().check()
        least = 1 if self.budget == "steps" else 0
        amount = math.inf if self.amount is None else self.amount
        if self.amount is not None and not (0 < amount < math.inf and amount >= least):
            raise UsageError(
                f"--amount: must be a number above 0, of steps 1 or more (got {amount})"
            )
        at_least(1, steps=self.steps, seeds=self.seeds)
        at_least(0, hints=self.hints)
        if self.data is None:
            raise UsageError("--presets needs --data DIR")
        expect(self.data, "data")

    def compared(self) -> "Comparison":
        """Trains them to an equal budget, and scores them."""
        train = read_puzzles(self.data, "train")
        changes = {"data": str(self.data), "device": self.device, "compile": self.compile}
        changes |= {"hints": self.hints} | ({} if self.steps is None else {"steps": self.steps})
        configs = configurations(names_in(self.presets, "--presets"), train, changes)

        from scripts.studies.comparison import Spending, planned_equally, train_and_compare

        if self.amount is not None and self.steps is not None:
            self.console.print("--amount sets the steps: --steps is not used")
        equal, seeds = Spending(self.budget, self.amount), 3 if self.seeds is None else self.seeds
        planned, lanes = planned_equally(configs, seeds, train, equal, self)
        return train_and_compare(planned, lanes, self.data, self.world, self.console)


def compare(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    presets: str = "",
    data: Path | None = None,
    seeds: int | None = None,
    steps: int | None = None,
    hints: int = 0,
    budget: Budget = "steps",
    amount: float | None = None,
    out: Path = Path("runs/comparison"),
    device: Device = "auto",
    compile: bool = False,
    jobs: int | None = None,
) -> dict[str, Any]:
    """Compare finished runs, or train presets x seeds on the same data order and compare those.

    Args:
        runs: folders of finished runs; none with --presets.
        presets: presets to train, separated by commas.
        data: data folder; with runs, none means each run's own.
        seeds: seeds per preset, 0 upwards; none: 3.
        steps: optimiser steps; none: each preset's own.
        hints: cells of its answer that a training puzzle is given each time it is drawn, from 0 to
            so many, whichever the preset.
        budget: what every preset gets equally: steps, training FLOPs, or training time. The last
            two set the number of steps by what a few steps of each measure.
        amount: the budget, in steps, FLOPs or minutes; none: each preset's own steps, or what the
            first preset spends on its own.
        out: folder for the report and, with --presets, the runs.
        device: where to run; auto: the best present.
        compile: compile the nets with torch.compile.
        jobs: runs that train at a time, by one thread each, with the same results however many;
            none: as many as cores and memory allow where nets are small, else one, on every core.

    Returns:
        What comparison.json holds, see `scripts.reports.report.comparison`.
    """
    if bool(runs) == bool(presets):
        raise UsageError("give either runs or --presets with --data")
    # A notebook may give folders as text.
    out, data = Path(out), None if data is None else Path(data)
    asked = _PresetsAsked(
        out=out,
        device=device,
        jobs=jobs,
        data=data,
        presets=presets,
        seeds=seeds,
        steps=steps,
        hints=hints,
        budget=budget,
        amount=amount,
        compile=compile,
    )
    if runs:
        _refuse_training(asked)
        asked = _RunsAsked(out=out, device=device, data=data, runs=tuple(map(Path, runs)))
    asked.check()
    comparison = asked.compared()
    text = comparison.write(out, f"Comparison on {data or 'the data of each run'}")
    show(text, 190, asked.console.quiet)
    told = f"wrote {out}/report.html, comparison.md, comparison.json and pictures"
    asked.console.print(told, soft_wrap=True)
    return comparison.groups()


def _refuse_training(asked: _PresetsAsked) -> None:
    """UsageError for an option that finished runs have no use for."""
    for field in fields(asked):
        if field.name in ("out", "device", "data"):
            continue
        if getattr(asked, field.name) != field.default:
            raise UsageError(f"--{field.name} is for training: give --presets, not runs")


def _check_kinds(runs: Sequence[Path]) -> None:
    """UsageError unless these are runs of one kind of puzzle."""
    kinds = {load_config(run)[1]["kind"] for run in runs}
    if len(kinds) > 1:
        raise UsageError(
            f"runs of {' and of '.join(sorted(kinds))} puzzles have no common table: compare them "
            "apart"
        )
