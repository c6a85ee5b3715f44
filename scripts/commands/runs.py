"""`loopbench runs`: the runs under a folder, where each stands and its best numbers so far."""

import json as json_text
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.table import Table

from reasoning.training.runs import RunError, begun_with, list_checkpoints, read_config, read_jsonl
from scripts.reports.curves import FRESH, Curve, read_curve, spent_by
from scripts.terminal.console import Console
from scripts.terminal.folders import kind_of
from scripts.usage import UsageError, parse

_LOG = "metrics.jsonl"
_PUSHED = ("loopbench.json", "model.safetensors")  # what a run is on the hub, beside its settings
# How a state is told that is no state of a training here.
_TOLD = {"imported": "imported weights", "pulled": "files of the hub"}


def find_runs(folder: Path) -> Iterator[Path]:
    """Every folder with a config.json at or under this one, in order of their names; none within
    another."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        if "config.json" in files:
            folders.clear()
            yield Path(place)


def describe_run(run: Path) -> dict[str, Any]:
    """What a run is, where it stands and the best of its held-out scores.

    state: finished; stopped (it has a checkpoint to resume from, and may be running now); begun (it
    has none yet); imported (weights that others trained, of no step); pulled (files of the hub, of
    the step that they were pushed at, no run to go on with); unreadable, with a `reason`.
    best, last: `name`, `value`, `stderr` and `n` of a held-out score and the `step` it is of: exact
    of puzzles, of text the loss in nats per token at the model's own budget. None before the first.
    """
    row: dict[str, Any] = {"run": str(run)}
    try:
        kind, record = kind_of(run), read_config(run)
        config = record["config"]
        language = kind == "language run"
        steps = config["steps"]
        row |= {"preset": config["preset"], "seed": config["seed"], "steps": steps}
        row["task"] = "language" if language else f"{record['grid']['kind']} {_size(record)}"
        lines = read_jsonl(run / _LOG) if (run / _LOG).is_file() else []
        split = "validation" if language else "test"
        held_out = [_score(line, language) for line in lines if line["split"] == split]
        scores = [score for score in held_out if score is not None]
        choose = min if language else max
        row["best"] = choose(scores, key=lambda score: score["value"]) if scores else None
        row["last"] = scores[-1] if scores else None
        row |= _standing(run, record, steps)
    except (RunError, OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        told = (
            str(error) if isinstance(error, RunError | OSError) else f"not as a run's ({error!r})"
        )
        return row | {"state": "unreadable", "reason": told}
    row["logged"] = max((line["step"] for line in lines), default=0)
    newest = max(
        path.stat().st_mtime for path in (run / "config.json", run / _LOG) if path.exists()
    )
    row["written"] = datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds")
    return row


def _size(record: dict[str, Any]) -> str:
    side = record["grid"]["size"]
    return f"{side}x{side}"


def _standing(run: Path, record: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """The state of a run that can be read, and the step of its weights."""
    saved = list_checkpoints(run)
    if not saved and all((run / name).is_file() for name in _PUSHED):
        pushed = json_text.loads((run / _PUSHED[0]).read_text())
        return {"state": "pulled", "step": pushed["step"]}
    if not record["config"].get("data", "a corpus"):
        return {"state": "imported", "step": None}
    step = int(saved[-1].name.removeprefix("step-")) if saved else 0
    state = "finished" if step >= steps else "stopped" if step else "begun"
    return {"state": state, "step": step}


def _score(line: dict[str, Any], language: bool) -> dict[str, Any] | None:
    """The held-out score in a line of the log; None of another budget, or where it is no number."""
    if not language:
        return {"name": "exact", "step": line["step"]} | _renamed(line["exact"])
    if line["max_evaluations"] is not None or line["loss"] is None:
        return None
    spread = {"stderr": line["stderr"], "n": line["tokens"]}
    return {"name": "loss", "step": line["step"], "value": line["loss"]} | spread


def _renamed(score: dict[str, float]) -> dict[str, float]:
    return {"value": score["mean"], "stderr": score["stderr"], "n": score["n"]}


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
            curve = _curve(_name(run, folder), run)
        except (RunError, KeyError, TypeError) as error:
            told = (
                str(error) if isinstance(error, RunError) else f"{run}: not as a run's ({error!r})"
            )
            reasons.append(told)
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


def _curve(label: str, run: Path, after: frozenset[Path] = frozenset()) -> Curve:
    """A run's curve, after those of the runs that its weights came from. `after`: the runs that
    began with it. RunError where one of them cannot be read or began with itself."""
    after = after | {run.resolve()}
    begun, before = begun_with(run), FRESH
    if begun is not None:
        start, step = begun
        if start.resolve() in after:
            raise RunError(f"{run}: began with {start}, which began with it: one was written over")
        before = spent_by(_curve(label, start, after), step)
    return read_curve(label, read_config(run)["config"]["seed"], run, before)


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
            console.print(f"{row['run']}: {row['reason']}", soft_wrap=True)


def _told(score: dict[str, Any] | None) -> str:
    if score is None:
        return "-"
    if score["name"] == "exact":
        return f"{100 * score['value']:.1f} ± {100 * score['stderr']:.1f} % (n {score['n']})"
    return f"{score['value']:.3f} nats"


def main(words: Sequence[str]) -> int:
    return parse(show_runs, words, "loopbench runs")()
