"""`loopbench compare`: one table over runs, or over presets x seeds trained on the same data."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from reasoning.names import Device
from scripts.terminal.choices import Budget
from scripts.terminal.folders import expect, keep_apart
from scripts.usage import UsageError

if TYPE_CHECKING:
    from reasoning.training.distribution import World
    from scripts.studies.comparison import Comparison


def compare(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    presets: str = "",
    data: Path | None = None,
    seeds: int = 3,
    steps: int | None = None,
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
        seeds: seeds per preset, 0 upwards.
        steps: optimiser steps; none: each preset's own.
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
    _check_options(runs, presets, data, seeds, steps, budget, amount, jobs)
    names = _names(presets) if presets else []

    from rich.markdown import Markdown

    from reasoning.training.distribution import join_world
    from scripts.models.presets import RunConfig, preset
    from scripts.runs.data import read_puzzles
    from scripts.studies.comparison import planned_runs, train_and_compare, within_budget
    from scripts.studies.plan import lanes_of
    from scripts.terminal.console import Console

    world = join_world(device)
    console = Console(quiet=not world.is_main)
    if amount is not None and steps is not None:
        console.print("--amount sets the steps: --steps is not used")
    if runs:
        comparison = _scored(runs, data, out, world)
    else:
        train = read_puzzles(data, "train")
        changes = {"data": str(data), "device": device, "compile": compile}
        changes |= {} if steps is None else {"steps": steps}
        configs = [
            RunConfig.model_validate(preset(name, train.kind, train.seq_len).model_dump() | changes)
            for name in names
        ]
        lanes = lanes_of(jobs, planned_runs(configs, seeds, out, train), world)
        _make(out, world.is_main)
        with lanes.threads():
            configs = within_budget(configs, train, world, budget, amount, out, console)
        planned = planned_runs(configs, seeds, out, train)
        comparison = train_and_compare(planned, lanes, data, world, console)
    text = comparison.write(out, f"Comparison on {data or 'the data of each run'}")
    Console(width=max(190, console.width), quiet=console.quiet).print(Markdown(text))
    told = f"wrote {out}/report.html, comparison.md, comparison.json and pictures"
    console.print(told, soft_wrap=True)
    return comparison.groups()


def _check_options(
    runs: tuple[Path, ...],
    presets: str,
    data: Path | None,
    seeds: int,
    steps: int | None,
    budget: Budget,
    amount: float | None,
    jobs: int | None,
) -> None:
    """UsageError for options that do not go together, and folders that are something else."""
    if bool(runs) == bool(presets):
        raise UsageError("give either runs or --presets with --data")
    least = 1 if budget == "steps" else 0
    if amount is not None and not (math.isfinite(amount) and amount > 0 and amount >= least):
        raise UsageError(f"--amount: must be a number above 0, of steps 1 or more (got {amount})")
    if steps is not None and steps < 1:
        raise UsageError(f"--steps: must be at least 1 (got {steps})")
    if runs and steps is not None:
        raise UsageError("--steps is for training: give --presets, not runs")
    if runs and (budget != "steps" or amount is not None):
        raise UsageError("--budget and --amount are for training: give --presets, not runs")
    if runs and jobs is not None:
        raise UsageError("--jobs is for training: give --presets, not runs")
    if data is not None:
        expect(data, "data")
    elif presets:
        raise UsageError("--presets needs --data DIR")
    for run in runs:
        expect(run, "puzzle run")
    if presets and seeds < 1:
        raise UsageError(f"--seeds: must be at least 1 (got {seeds})")


def _names(presets: str) -> list[str]:
    """Names separated by commas. UsageError if there is none, or one twice."""
    names = [name.strip() for name in presets.split(",") if name.strip()]
    if not names or len(set(names)) < len(names):
        fault = "one stands there twice" if names else "no name in it"
        raise UsageError(f"--presets: {fault} ({presets})")
    return names


def _scored(runs: tuple[Path, ...], data: Path | None, out: Path, world: "World") -> "Comparison":
    """Finished runs. UsageError if none of them can be scored."""
    from scripts.studies.comparison import Comparison

    _check_runs(runs)
    _make(out, world.is_main)
    comparison = Comparison(data, world)
    for folder in runs:
        comparison.add(folder)
    if all(row.evaluation is None for row in comparison.rows):
        names = ", ".join(map(str, runs))
        raise UsageError(f"{names}: no run has a checkpoint to compare; train one first")
    return comparison


def _make(out: Path, is_main: bool) -> None:
    """Before hours are spent: RunError if the report could not be written."""
    from reasoning.training.runs import make_folder

    keep_apart(out, "comparison")
    if is_main:
        make_folder(out)


def _check_runs(runs: Sequence[Path]) -> None:
    """UsageError unless these are different runs of one kind of puzzle."""
    from scripts.runs.session import load_config

    if len({run.resolve() for run in runs}) < len(runs):
        raise UsageError("a run stands there twice: it would count as two seeds")
    kinds = {load_config(run)[1]["kind"] for run in runs}
    if len(kinds) > 1:
        raise UsageError(
            f"runs of {' and of '.join(sorted(kinds))} puzzles have no common table: compare them "
            "apart"
        )
