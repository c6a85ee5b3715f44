"""Pictures of a comparison: learning curves, accuracy against difficulty, residuals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.reports.curves import Curve
from scripts.reports.pictures import DPI, finish, new_figure

_COLUMNS = 3  # panels in a row


def plot_curves(curves: Sequence[Curve], path: Path) -> None:
    """Learning curves of runs, those of one label in one colour: the training loss over minutes,
    and held-out accuracy over minutes and over FLOPs."""
    figure = new_figure(15, 4)
    loss, clock, flops = figure.subplots(1, 3)
    labels = list(dict.fromkeys(curve.label for curve in curves))
    for curve in curves:
        seen = {line.get_label() for line in clock.lines}
        style = {"color": f"C{labels.index(curve.label) % 10}", "lw": 1.6, "alpha": 0.9}
        if labels.index(curve.label) >= 10:
            style["ls"] = "--"
        loss.plot([p.minutes for p in curve.loss], [p.value for p in curve.loss], **style)
        style |= {"marker": "o", "ms": 3}
        name = curve.label if curve.label not in seen else None
        exact = [p.value for p in curve.exact]
        clock.plot([p.minutes for p in curve.exact], exact, label=name, **style)
        spent = [p.tflop for p in curve.exact]
        if None not in spent:
            flops.plot(spent, exact, **style)
    loss.set(xlabel="training minutes", ylabel="cell loss (training)")
    clock.set(xlabel="training minutes", ylabel="held-out exact, %", ylim=(-2, 102))
    flops.set(xlabel="training TFLOP, as executed", ylabel="held-out exact, %", ylim=(-2, 102))
    # Over the losses, which have fallen by then, there is room.
    loss.legend(*clock.get_legend_handles_labels(), frameon=False, fontsize=8, loc="upper right")
    finish((loss, clock, flops), figure, path)


def plot_difficulty(records: Sequence[tuple[str, Mapping[str, Any]]], path: Path) -> bool:
    """Exact % in bins of growing difficulty, a panel for each set of puzzles: the mean over runs of
    a label, with its standard error over puzzles, which is a run's (they share their puzzles).
    Draws nothing and returns False where no record has bins."""
    panels: dict[tuple[str, ...], dict[str, list[Mapping[str, Any]]]] = {}
    for label, record in records:
        if "by_difficulty" in record:
            breakdown = record["by_difficulty"]
            place = tuple(f"{b['from']:.3g} to {b['to']:.3g}" for b in breakdown["bins"])
            panels.setdefault((breakdown["name"], *place), {}).setdefault(label, []).append(
                breakdown
            )
    if not panels:
        return False
    figure = new_figure(7 * len(panels), 4)
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, ((name, *place), labels) in zip(row, panels.items(), strict=True):
        for label, parts in labels.items():
            exact = [[b["metrics"]["exact"] for b in part["bins"]] for part in parts]
            mean, error = (
                100 * np.mean([[b[what] for b in bins] for bins in exact], 0)
                for what in ("mean", "stderr")
            )
            axes.errorbar(place, mean, error, marker="o", ms=4, capsize=2, label=label)
        axes.set(xlabel=name, ylabel="held-out exact, %", ylim=(-2, 102))
        axes.legend(frameon=False, fontsize=8)
    finish(row, figure, path)
    return True


def plot_residuals(
    residuals: Sequence[tuple[str, np.ndarray, np.ndarray, bool]], path: Path
) -> bool:
    """Histograms of the last residual, right and wrong answers apart, on shared axes and bins:
    (label, residual (N,), right (N,), whether it is a solver's). Draws nothing and returns False
    where there is no finite residual."""
    shown = [(n, r[np.isfinite(r)], ok[np.isfinite(r)], solved) for n, r, ok, solved in residuals]
    shown = [panel for panel in shown if len(panel[1])]
    if not shown:
        return False
    logs = [np.log10(np.maximum(residual, 1e-9)) for _, residual, _, _ in shown]
    edges = np.linspace(min(map(np.min, logs)) - 1e-3, max(map(np.max, logs)) + 1e-3, 31)
    columns = min(len(shown), _COLUMNS)
    rows = -(-len(shown) // columns)
    figure = new_figure(4.6 * columns, 3.4 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.ravel()[len(shown) :]:
        axes.set_visible(False)
    for axes, (name, _, ok, solved), log in zip(grid.ravel(), shown, logs, strict=False):
        for part, colour, verdict in ((ok, "C0", "right"), (~ok, "C3", "wrong")):
            label = f"{verdict}, n = {part.sum()}"
            axes.hist(log[part], edges, color=colour, alpha=0.6, label=label)
        what = "residual" if solved else "change of y"
        axes.set(xlabel=f"log10 of the last {what}", ylabel="puzzles")
        axes.tick_params(labelbottom=True, labelleft=True)
        axes.set_title(name, fontsize=10)
        axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=DPI)
    return True
