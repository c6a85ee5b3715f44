"""Figures 6 and 7 of the paper: how states converge, and what more evaluations bring."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reasoning.pretraining.packing import validation_rows
from reasoning.training.logs import RunLog
from reasoning.training.runs import write_json
from scripts.models.variants import Variant
from scripts.reports.pictures import finish, new_figure
from scripts.reports.report import spread
from scripts.runs.lm_session import open_language_run
from scripts.studies.language.comparison import (
    Study,
    bundle_scores,
    full_rows,
    held_out,
    train_variants,
)
from scripts.studies.language.probes import distances_to_last, principal_components, trajectory
from scripts.studies.language.reading import OWN, Reading
from scripts.studies.language.tables import FIGURE_6, FIGURE_7, TABLE_1, sizes_of

ITERATIONS = 16
_ROWS = 16  # held-out rows whose states are followed; the first is drawn


def figure6(study: Study) -> str:
    """The last position's state over 16 iterations, and evaluations over training; writes
    fig6.png and .json."""
    (size,) = sizes_of(FIGURE_6, study.scale, study.sizes)
    moving, solving = FIGURE_6[size]
    failures = train_variants(study, moving + solving, size)
    trajectories = {
        v.name: _trajectory(study, study.folder(v, size, 0))
        for v in moving
        if (v.name, 0) not in failures
    }
    evaluations = {
        v.name: [
            _evaluations(study.folder(v, size, seed))
            for seed in range(study.seeds)
            if (v.name, seed) not in failures
        ]
        for v in solving
    }
    record = {
        "size": size,
        "iterations": ITERATIONS,
        "published": "Attractor: iterations 8 to 16 collapse onto a point, Parcae drifts on; "
        "DEQ's evaluations rise over training, the Attractor's fall to the least allowed",
        "trajectories": trajectories,
        "evaluations": evaluations,
        "failures": {f"{name} seed {seed}": reason for (name, seed), reason in failures.items()},
    }
    if study.world.is_main:
        write_json(study.out / "fig6.json", study.describe() | record)
        _draw_figure6(record, study.out / "fig6.png")
    return _figure6_text(record)


def _trajectory(study: Study, run: Path) -> dict[str, Any]:
    opened = open_language_run(run, study.world.device)
    count = min(_ROWS, full_rows(study.text, opened.config))
    rows = validation_rows(study.text, opened.config.context, count).tokens[:, :-1]
    tokens = torch.from_numpy(rows).to(study.world.device)
    states = trajectory(opened.model, tokens, ITERATIONS)
    points, shares = principal_components(states[0])
    return {
        "points": points.tolist(),
        "variance_shares": shares.tolist(),
        "distance_to_last": distances_to_last(states).mean(axis=0).tolist(),
        "rows": len(rows),
    }


def _evaluations(run: Path) -> dict[str, list[float]]:
    records = RunLog(run).learned("train")
    return {name: [r[name] for r in records] for name in ("step", "evaluations")}


def _draw_figure6(record: Mapping[str, Any], path: Path) -> None:
    ways = record["trajectories"]
    figure = new_figure(3.6 * (len(ways) + 2), 3.4)
    panels = figure.subplots(1, len(ways) + 2)
    for axes, (name, way) in zip(panels, ways.items(), strict=False):
        x, y = np.array(way["points"]).T
        axes.plot(x, y, color="0.7", lw=1)
        drawn = axes.scatter(x, y, c=np.arange(len(x)), cmap="viridis", s=22, zorder=2)
        shares = [100 * share for share in way["variance_shares"]]
        axes.set(xlabel=f"axis 1, {shares[0]:.0f} %", ylabel=f"axis 2, {shares[1]:.0f} %")
        axes.set_title(f"{name}: last position", fontsize=10)
        figure.colorbar(drawn, ax=axes, label="iteration")
    for name, way in ways.items():
        steps = way["distance_to_last"][:-1]
        panels[-2].semilogy(np.maximum(steps, 1e-9), marker="o", ms=3, label=name)
    panels[-2].set(xlabel="iteration k", ylabel=f"|y_k - y_{ITERATIONS}| / |y_{ITERATIONS}|")
    for place, (name, runs) in enumerate(record["evaluations"].items()):
        for i, run in enumerate(runs):
            style = {"color": f"C{place}", "lw": 1.2, "label": name if i == 0 else None}
            panels[-1].plot(run["step"], run["evaluations"], **style)
    panels[-1].set(xlabel="training step", ylabel="evaluations per token", ylim=(0, None))
    for axes in panels[-2:]:
        axes.legend(frameon=False, fontsize=8)
    finish(panels, figure, path)


def _figure6_text(record: Mapping[str, Any]) -> str:
    lines = [f"Figure 6 at {record['size']}; the paper: {record['published']}.", ""]
    for name, way in record["trajectories"].items():
        at = ", ".join(f"k = {k}: {way['distance_to_last'][k]:.2g}" for k in (0, 1, 2, 4, 8, 12))
        lines.append(f"* {name}, distance to iteration {ITERATIONS}: {at}")
    for name, runs in record["evaluations"].items():
        ends = ", ".join(f"{r['evaluations'][0]:.1f} to {r['evaluations'][-1]:.1f}" for r in runs)
        lines.append(f"* {name}, evaluations over training: {ends or 'no run'}")
    return "\n".join(lines) + "\n"


# Figure 7

_BUDGETS = range(9)


def figure7(study: Study) -> str:
    """Held-out perplexity against T, and CORE with a bundle; writes fig7.png and .json."""
    sizes = sizes_of(FIGURE_7, study.scale, study.sizes)
    panels = {size: _figure7_size(study, size) for size in sizes}
    record = study.describe() | {"budgets": list(_BUDGETS), "sizes": panels}
    if study.world.is_main:
        write_json(study.out / "fig7.json", record)
        _draw_figure7(panels, study.out / "fig7.png")
    return _figure7_text(panels)


def _figure7_size(study: Study, size: str) -> dict[str, Any]:
    variants = FIGURE_7[size]
    failures = train_variants(study, variants, size)
    published = {
        entry.name: entry.published["perplexity"]
        for entry in TABLE_1.rows(size)
        if "perplexity" in entry.published
    }
    return {
        "published": published,
        "models": {v.name: _swept(study, v, size, failures) for v in variants},
        "failures": {f"{name} seed {seed}": reason for (name, seed), reason in failures.items()},
    }


def _swept(
    study: Study, variant: Variant, size: str, failures: Mapping[tuple[str, int], str]
) -> dict[str, Any]:
    """Spreads over seeds by T, and under the model's own budget.

    study: holds the runs of this variant at this size. failures: runs that are left out.
    """
    seeds = [seed for seed in range(study.seeds) if (variant.name, seed) not in failures]
    runs = [study.folder(variant, size, seed) for seed in seeds]
    readings = {str(t): Reading(max_evaluations=t) for t in _BUDGETS} | {"own": OWN}
    by_run = [held_out(study, run, list(readings.values())) for run in runs]
    by_budget: dict[str, Any] = {}
    for i, (t, reading) in enumerate(readings.items() if runs else ()):
        by_budget[t] = {
            "perplexity": spread([scores[i]["perplexity_with_bos"] for scores in by_run])
        }
        cores = [bundle_scores(study, run, reading).get("core") for run in runs]
        if None not in cores:
            by_budget[t]["core"] = spread(cores)
    return by_budget


def _draw_figure7(panels: Mapping[str, Any], path: Path) -> None:
    figure = new_figure(4.6 * len(panels), 3.6)
    drawn = np.atleast_1d(figure.subplots(1, len(panels)))
    for axes, (size, panel) in zip(drawn, panels.items(), strict=True):
        for name, swept in panel["models"].items():
            points = [swept[str(t)]["perplexity"] for t in _BUDGETS] if swept else []
            means, errors = ([p[key] for p in points] for key in ("mean", "sd"))
            axes.errorbar(_BUDGETS[: len(points)], means, errors, marker="o", ms=4, capsize=2,
                          label=name)  # fmt: skip
        axes.set_yscale("log")  # Parcae's start is random, its T = 0 no answer
        axes.set(xlabel="T, evaluations or loops", ylabel="held-out perplexity", title=size)
        axes.legend(frameon=False, fontsize=8)
    finish(drawn, figure, path)


def _figure7_text(panels: Mapping[str, Any]) -> str:
    lines = ["Held-out perplexity by T, mean over seeds", ""]
    for size, panel in panels.items():
        for name, swept in panel["models"].items():
            at = ", ".join(f"{t}: {each['perplexity']['mean']:.3f}" for t, each in swept.items())
            lines.append(f"* {name}-{size}: {at or 'every run failed'}")
        published = ", ".join(f"{name} {value}" for name, value in panel["published"].items())
        lines.append(f"* paper, table 1 (140m beside mini): {published}")
    return "\n".join(lines) + "\n"


FIGURES = {"fig6": figure6, "fig7": figure7}
