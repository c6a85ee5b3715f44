"""`loopbench compare`: one table over runs, or over presets x seeds trained on the same data."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from puzzles.puzzle_set import PuzzleSet
from reasoning.names import Device
from scripts.models.presets import RunConfig
from scripts.runs.data import read_puzzles
from scripts.studies.asked import configurations
from scripts.terminal.choices import Budget
from scripts.terminal.console import Console, show
from scripts.terminal.folders import expect, keep_apart
from scripts.usage import UsageError, at_least, names_in

if TYPE_CHECKING:
    from reasoning.training.distribution import World
    from scripts.studies.comparison import Comparison


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
    data, out = None if data is None else Path(data), Path(out)  # a notebook may give text
    of_training = {
        "seeds": seeds,
        "steps": steps,
        "hints": hints or None,
        "budget": None if budget == "steps" else budget,
        "amount": amount,
        "compile": compile or None,
        "jobs": jobs,
    }
    _check_options(runs, presets, data, of_training)
    keep_apart(out, "comparison")
    if runs:
        compared = partial(_scored, runs, data)
    else:
        train = read_puzzles(data, "train")
        changes = {"data": str(data), "device": device, "compile": compile, "hints": hints}
        changes |= {} if steps is None else {"steps": steps}
        configs = configurations(names_in(presets, "--presets"), train, changes)
        spent = (budget, amount)
        compared = partial(_trained, configs, train, 3 if seeds is None else seeds, spent, jobs)

    from reasoning.training.distribution import join_world

    world = join_world(device)
    console = Console(quiet=not world.is_main)
    if amount is not None and steps is not None:
        console.print("--amount sets the steps: --steps is not used")
    comparison = compared(out, world, console)
    text = comparison.write(out, f"Comparison on {data or 'the data of each run'}")
    show(text, 190, console.quiet)
    told = f"wrote {out}/report.html, comparison.md, comparison.json and pictures"
    console.print(told, soft_wrap=True)
    return comparison.groups()


def _check_options(
    runs: tuple[Path, ...], presets: str, data: Path | None, training: dict[str, Any]
) -> None:
    """UsageError for options that do not go together, and folders that are something else.

    training: what only presets take, by option; None: not given.
    """
    if bool(runs) == bool(presets):
        raise UsageError("give either runs or --presets with --data")
    for name, value in training.items():
        if runs and value is not None:
            raise UsageError(f"--{name} is for training: give --presets, not runs")
    amount, least = training["amount"], 1 if training["budget"] is None else 0
    if amount is not None and not (math.isfinite(amount) and amount > 0 and amount >= least):
        raise UsageError(f"--amount: must be a number above 0, of steps 1 or more (got {amount})")
    at_least(1, steps=training["steps"], jobs=training["jobs"], seeds=training["seeds"])
    at_least(0, hints=training["hints"])
    if data is not None:
        expect(data, "data")
    elif presets:
        raise UsageError("--presets needs --data DIR")
    for run in runs:
        expect(run, "puzzle run")
    if len({run.resolve() for run in runs}) < len(runs):
        raise UsageError("a run stands there twice: it would count as two seeds")


def _scored(
    runs: Sequence[Path], data: Path | None, out: Path, world: "World", console: Console
) -> "Comparison":
    """Finished runs. UsageError if none of them can be scored."""
    from scripts.studies.comparison import Comparison

    _check_kinds(runs)
    _make_folder(out, world)
    comparison = Comparison(data, world)
    for folder in runs:
        comparison.add(folder)
    if all(row.evaluation is None for row in comparison.rows):
        names = ", ".join(map(str, runs))
        raise UsageError(f"{names}: no run has a checkpoint to compare; train one first")
    return comparison


def _trained(
    configs: Sequence[RunConfig],
    train: PuzzleSet,
    seeds: int,
    spent: tuple[Budget, float | None],
    jobs: int | None,
    out: Path,
    world: "World",
    console: Console,
) -> "Comparison":
    """Runs of every preset and seed, trained to an equal budget and its amount, and scored."""
    from scripts.studies.comparison import planned_runs, train_and_compare, within_budget
    from scripts.studies.plan import lanes_of, rehearse_own

    planned = planned_runs(configs, seeds, out, train)
    rehearse_own(planned, world)
    lanes = lanes_of(jobs, planned, world)
    _make_folder(out, world)
    with lanes.threads():
        configs = within_budget(configs, train, world, *spent, out, console)
    planned = planned_runs(configs, seeds, out, train)
    return train_and_compare(planned, lanes, Path(configs[0].data), world, console)


def _make_folder(out: Path, world: "World") -> None:
    """Before hours are spent: RunError if the report could not be written there."""
    from reasoning.training.runs import make_folder

    if world.is_main:
        make_folder(out)


def _check_kinds(runs: Sequence[Path]) -> None:
    """UsageError unless these are runs of one kind of puzzle."""
    from scripts.runs.recorded import load_config

    kinds = {load_config(run)[1]["kind"] for run in runs}
    if len(kinds) > 1:
        raise UsageError(
            f"runs of {' and of '.join(sorted(kinds))} puzzles have no common table: compare them "
            "apart"
        )
