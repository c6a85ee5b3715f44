"""Tables and curves over runs: Markdown, JSON, PNG."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puzzles.errors import DataError
from reasoning.training.runs import read_jsonl


@dataclass(frozen=True)
class Row:
    """One run of a comparison: its evaluation record and what its training took."""

    folder: Path
    evaluation: dict[str, Any]
    net_calls: float
    seconds: float


def read_row(folder: Path, evaluation: dict[str, Any]) -> Row:
    """A run's training cost beside its evaluation."""
    training = [r for r in read_jsonl(folder / "metrics.jsonl") if r["split"] == "train"]
    timing = [r for r in read_jsonl(folder / "timing.jsonl") if r["split"] == "train"]
    return Row(
        folder, evaluation, training[-1]["total_net_calls"], sum(r["seconds"] for r in timing)
    )


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and standard deviation over runs, with n (deviation 0 for one run)."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "sd": deviation, "n": len(values)}


def comparison(rows: Sequence[Row]) -> dict[str, Any]:
    """Rows grouped by preset, in order of first appearance; every run is listed."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.evaluation["preset"], []).append(row)
    return {name: _group(members) for name, members in groups.items()}


def _group(members: Sequence[Row]) -> dict[str, Any]:
    first = members[0].evaluation
    names = list(first["metrics"])
    if any(list(m.evaluation["metrics"]) != names for m in members):
        raise DataError("runs of one preset were scored on different kinds of puzzle")
    return {
        "parameters": first["parameters"],
        "segments": first["segments"],
        "puzzles": first["metrics"]["exact"]["n"],
        "metrics": {
            name: spread([m.evaluation["metrics"][name]["mean"] for m in members]) for name in names
        },
        "training_net_calls": spread([m.net_calls for m in members]),
        "training_seconds": spread([m.seconds for m in members]),
        "net_calls_per_puzzle": spread([m.evaluation["net_calls_per_puzzle"] for m in members]),
        "runs": [
            {
                "run": str(m.folder),
                "seed": m.evaluation["seed"],
                "steps": m.evaluation["step"],
                "seconds": m.seconds,
                **{name: m.evaluation["metrics"][name] for name in names},
            }
            for m in members
        ],
    }


def _percent(value: dict[str, float]) -> str:
    mean = f"{100 * value['mean']:.1f}"
    return f"{mean} ± {100 * value['sd']:.1f}" if value["n"] > 1 else mean


def markdown(groups: dict[str, Any]) -> str:
    """The comparison as a Markdown table: % as mean ± deviation over seeds, then every run."""
    names = list(next(iter(groups.values()))["metrics"])
    shown = [name.replace("_", " ") for name in names]
    head = ["preset", "parameters", "seeds", *(f"{name} %" for name in shown)]
    head += ["training net calls, 1e6", "training minutes", "net calls a puzzle"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for preset, group in groups.items():
        cells = [preset, f"{group['parameters']:,}", str(group["metrics"]["exact"]["n"])]
        cells += [_percent(group["metrics"][name]) for name in names]
        cells += [
            f"{group['training_net_calls']['mean'] / 1e6:.2f}",
            f"{group['training_seconds']['mean'] / 60:.1f}",
            f"{group['net_calls_per_puzzle']['mean']:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    puzzles = next(iter(groups.values()))["puzzles"]
    lines += ["", f"{puzzles} held-out puzzles; ± is the standard deviation over seeds.", ""]
    lines += ["| run | seed | steps | exact % (standard error) |", "|---|---|---|---|"]
    for group in groups.values():
        for run in group["runs"]:
            exact = run["exact"]
            value = f"{100 * exact['mean']:.1f} ({100 * exact['stderr']:.1f})"
            lines.append(f"| {Path(run['run']).name} | {run['seed']} | {run['steps']} | {value} |")
    return "\n".join(lines) + "\n"


def plot_curves(runs: Sequence[tuple[str, Path]], path: Path) -> None:
    """Learning curves of runs (label, folder): training loss, and held-out accuracy, over minutes.

    Runs of one label share a colour.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    loss, exact = figure.subplots(1, 2)
    labels = list(dict.fromkeys(label for label, _ in runs))
    for label, folder in runs:
        colour, seen = f"C{labels.index(label)}", {line.get_label() for line in exact.lines}
        metrics = read_jsonl(folder / "metrics.jsonl")
        minutes = _minutes(read_jsonl(folder / "timing.jsonl"))
        training = [r for r in metrics if r["split"] == "train"]
        held_out = [r for r in metrics if r["split"] == "test"]
        style = {"color": colour, "lw": 1.6, "alpha": 0.9}
        times = [minutes[r["step"]] for r in training]
        loss.plot(times, [r["cell_loss"] for r in training], **style)
        exact.plot(
            [minutes[r["step"]] for r in held_out],
            [100 * r["exact"]["mean"] for r in held_out],
            label=label if label not in seen else None,
            marker="o",
            ms=3,
            **style,
        )
    loss.set(xlabel="training minutes", ylabel="cell loss (training)")
    exact.set(xlabel="training minutes", ylabel="held-out exact, %", ylim=(-2, 102))
    exact.legend(frameon=False)
    for axis in (loss, exact):
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def _minutes(timing: Sequence[dict[str, Any]]) -> dict[int, float]:
    """Training minutes, evaluation apart, at every logged step."""
    total, at = 0.0, {}
    for record in timing:
        if record["split"] == "train":
            total += record["seconds"] / 60
            at[record["step"]] = total
    return at
