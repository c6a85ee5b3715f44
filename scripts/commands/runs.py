"""`loopbench runs`: the runs under a folder, where each stands and its best numbers so far."""

import json as json_text
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.table import Table

from reasoning.training.runs import RunError
from scripts.reports.curves import run_curve
from scripts.reports.numbers import percent
from scripts.runs.described import describe_run, find_runs, reading
from scripts.terminal.console import Console
from scripts.usage import UsageError, parse

# How a state is told that is no state of a training here.
_TOLD = {"imported": "imported weights", "pulled": "files of the hub"}


def show_runs(
    folder: Annotated[Path, tyro.conf.Positional], json: bool = False, curves: Path | None = None
) -> int:
    """List the runs under a folder: preset, task, state, steps, best and last held-out score. Exit
    code 1 if one of them cannot be read.

    Args:
        folder: where to look, however deep; a run's own folder is one run.
        json: print JSON, every field in full.
        curves: draw the loss and the held-out accuracy of its puzzle runs against time and FLOPs
            into this PNG file; a run that began with another's weights follows that one.
    """
    if curves is not None:
        _check_picture(curves)
    if not folder.is_dir():
        raise UsageError(f"{folder}: {'not a' if folder.exists() else 'no such'} folder")
    rows = [describe_run(run) for run in find_runs(folder)]
    if not rows:
        raise UsageError(f"{folder}: holds no runs; `loopbench train --out RUN` makes one")
    if curves is not None:
        _draw(rows, folder, curves)
    if json:
        print(json_text.dumps(rows, indent=2))
    else:
        _print(rows, folder)
    return int(any(row["state"] == "unreadable" for row in rows))


def _draw(rows: Sequence[dict[str, Any]], folder: Path, path: Path) -> None:
    """Draw the runs on puzzles, and tell which are left out and why."""
    from scripts.reports.figures import plot_curves

    drawn, reasons = [], []
    for row in rows:
        if row["state"] == "unreadable" or row["task"] == "language":
            continue
        run = Path(row["run"])
        try:
            with reading(run):
                curve = run_curve(_name(run, folder), run)
        except RunError as error:
            reasons.append(str(error))
            continue
        if curve.loss or curve.exact:
            drawn.append(curve)
        else:
            reasons.append(f"{run}: has logged no training")
    if not drawn:
        why = reasons[0] if reasons else f"{folder} holds no run on puzzles that can be read"
        raise UsageError(f"--curves: {why}")
    for reason in reasons:
        print(f"--curves: left out: {reason}", file=sys.stderr)
    plot_curves(drawn, path)


def _check_picture(path: Path) -> None:
    if path.suffix != ".png":
        raise UsageError(f"--curves: {path}: name a PNG file")
    if not path.parent.is_dir():
        raise UsageError(f"--curves: {path.parent}: no such folder")


def _name(run: Path, folder: Path) -> str:
    """A run by its place under the folder, or by the folder's own name where it is that folder."""
    return str(run.relative_to(folder)) if run != folder else folder.resolve().name


def _print(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    console = Console(width=max(140, Console().width), highlight=False)
    table = Table()
    for heading in ("run", "preset", "task", "state", "step", "best", "at", "last", "written"):
        right = heading in ("step", "best", "at", "last")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for row in rows:
        name = _name(Path(row["run"]), folder)
        if row["state"] == "unreadable":
            table.add_row(name, "", "", "unreadable", "", "", "", "", "")
            continue
        best = row["best"]
        table.add_row(
            name,
            f"{row['preset']} seed {row['seed']}",
            row["task"],
            _TOLD.get(row["state"], row["state"]),
            "-" if row["step"] is None else f"{row['step']:,} of {row['steps']:,}",
            _told(best),
            f"{best['step']:,}" if best else "",
            _told(row["last"]).partition(" ±")[0],
            row["written"][:16].replace("T", " "),
        )
    console.print(table)
    for row in rows:
        if row["state"] == "unreadable":
            console.print(row["reason"], soft_wrap=True)


def _told(score: dict[str, Any] | None) -> str:
    if score is None:
        return "-"
    if score["name"] == "exact":
        return f"{percent(score['value'], score['stderr'])} % (n {score['n']})"
    return f"{score['value']:.3f} nats"


def main(words: Sequence[str]) -> int:
    return parse(show_runs, words, "loopbench runs")()
