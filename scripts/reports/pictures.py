"""Pictures of a search at test time: depth by breadth, accuracy against cost, abstention."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure in inches; matplotlib is imported only where something is drawn."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def finish(
    axes: Sequence["Axes"],
    figure: "Figure",
    path: Path,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Light grid and no frame above and right on the axes of a figure, saved to a path. metadata:
    texts that a PNG holds beside, by keyword."""
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=DPI, metadata=metadata)


def plot_grid(grid: Mapping[str, Any], rule: str, path: Path) -> None:
    """The heat map of a record's `grid`: exact % by depth (segments) and breadth (candidates)."""
    exact = 100 * np.array(grid["exact"][rule]["mean"])
    depths, breadths = grid["depths"], grid["breadths"]
    figure = new_figure(2.4 + 0.8 * len(breadths), 1.6 + 0.5 * len(depths))
    axes = figure.subplots()
    axes.imshow(exact, origin="lower", aspect="auto", cmap="viridis")
    middle = (exact.min() + exact.max()) / 2
    for (row, column), value in np.ndenumerate(exact):
        ink = "white" if value <= middle else "black"  # viridis grows lighter
        axes.text(column, row, f"{value:.1f}", ha="center", va="center", color=ink, fontsize=9)
    axes.set_xticks(range(len(breadths)), breadths)
    axes.set_yticks(range(len(depths)), depths)
    axes.set(xlabel="breadth, candidates", ylabel="depth, segments")
    axes.set_title(f"held-out exact, %; by {rule}; n = {grid['n']}", fontsize=10)
    figure.savefig(path, dpi=DPI)


def plot_cost(grid: Mapping[str, Any], rule: str, path: Path) -> None:
    """Exact % against net calls, and against solver evaluations where there are any, a puzzle.

    A line per breadth along growing depth, with standard errors; of one depth, a line along growing
    breadth. At full breadth also what answering at the first halt gives and, grey, what checking
    the rules would.
    """
    every, most = np.s_[:], grid["breadths"][-1]
    if len(grid["depths"]) > 1:
        lines = [(rule, (every, w), f"{rule}, breadth {b}") for w, b in enumerate(grid["breadths"])]
        beside, of = (every, -1), f"breadth {most}"
    else:
        lines = [(rule, (0, every), f"{rule}, breadth 1 to {most}")]
        beside, of = (0, every), f"breadth 1 to {most}"
    if rule not in ("halt-first", "restart"):
        lines.append(("halt-first", beside, f"halt-first, {of}"))
    lines.append(("verified", beside, f"verified by the rules, {of}"))
    costs = {"net_calls": "net calls a puzzle", "evaluations": "solver evaluations a puzzle"}
    if not np.any(grid["evaluations"][rule]):
        del costs["evaluations"]
    figure = new_figure(6.4 * len(costs), 4.4)
    for axes, (cost, title) in zip(
        np.atleast_1d(figure.subplots(1, len(costs), sharey=True)), costs.items(), strict=True
    ):
        for place, (name, of, label) in enumerate(lines):
            plain = name == rule
            axes.errorbar(
                np.array(grid[cost][name])[of],
                100 * np.array(grid["exact"][name]["mean"])[of],
                100 * np.array(grid["exact"][name]["stderr"])[of],
                label=label,
                marker="o",
                ms=3,
                lw=1.4,
                capsize=2,
                color="0.5" if name == "verified" else f"C{place}",
                ls="-" if plain else "--",
            )
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set(xlabel=title, ylim=(-2, 102))
    first = figure.axes[0]
    first.set(ylabel="held-out exact, %", title=f"n = {grid['n']}")
    first.legend(frameon=False, fontsize=8)
    finish(figure.axes, figure, path)


def plot_risk(abstention: Mapping[str, Any], path: Path) -> None:
    """Risk against coverage of every confidence score of a record's `abstention`."""
    figure = new_figure(6, 4.2)
    axes = figure.subplots()
    for name, score in abstention.items():
        curve = score["risk_coverage"]
        label = f"{name}: AUROC {score['auroc']['mean']:.3f}, area {curve['area']['mean']:.3f}"
        coverage, risk = ([100 * v for v in curve[axis]] for axis in ("coverage", "risk"))
        axes.step(coverage, risk, where="post", label=label)
    axes.set(xlabel="coverage, % of puzzles answered", ylabel="risk, % of those wrong")
    axes.set(xlim=(0, 101), ylim=(-2, None))
    axes.legend(frameon=False)
    finish((axes,), figure, path)
