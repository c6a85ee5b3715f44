"""The bench's figures as tables and its scaling as a picture."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from scripts.reports.numbers import percent
from scripts.reports.pictures import finish, new_figure

Record = dict[str, Any]
# Heading and text of a column, from a record.
Column = tuple[str, Callable[[Record], str]]


def _text(name: str) -> Callable[[Record], str]:
    return lambda r: str(r[name])


def _percent(name: str) -> Callable[[Record], str]:
    return lambda r: percent(r[name])


def _milliseconds(name: str) -> Callable[[Record], str]:
    return lambda r: f"{1e3 * r[name]:,.2f}" if name in r else ""


def _number(name: str, spelled: str, unit: float = 1.0) -> Callable[[Record], str]:
    return lambda r: "" if r.get(name) is None else format(r[name] / unit, spelled)


def _mebibytes(name: str) -> Callable[[Record], str]:
    return lambda r: f"{r[name] / 2**20:,.1f}" if name in r else ""


_STEP: list[Column] = [
    ("", _text("preset")),
    ("precision", _text("precision")),
    ("mode", _text("mode")),
    ("ms a step", _milliseconds("seconds_per_step")),
    ("first, s", lambda r: f"{r['first_step_seconds']:.1f}"),
]
_WORK: list[Column] = [
    ("GFLOP a step", lambda r: f"{r['flops_per_step'] / 1e9:,.2f}"),
    ("matmul GFLOP/s", lambda r: f"{r['matmul_flops_per_second'][r['precision']] / 1e9:,.0f}"),
    ("% of matmul rate", _percent("of_matmul_rate")),
    ("peak MiB", _mebibytes("peak_bytes")),
]
_TABLES: dict[str, tuple[str, list[Column]]] = {
    "training": (
        "training steps at full depth; puzzles a second if each takes every segment",
        [
            *_STEP,
            ("steps/s", lambda r: f"{r['steps_per_second']:.2f}"),
            ("segments/s", lambda r: f"{r['segments_per_second']:,.0f}"),
            ("puzzles/s", lambda r: f"{r['puzzles_per_second']:,.1f}"),
            *_WORK,
        ],
    ),
    "published": (
        "TRM at D 128, 9x9, T 3, n 6: where fp32 matrix products run at 200 GFLOP/s",
        [
            *_STEP,
            ("s at 200 GFLOP/s", lambda r: f"{r['seconds_at_200_gflops']:.2f}"),
            *(
                (f"x {name} ({seconds} s)", lambda r, n=name: f"{r['times_faster_than'][n]:.2f}")
                for name, seconds in (("as shipped", 3.33), ("fp32 eager", 1.31))
            ),
            *_WORK[:3],
        ],
    ),
    "solver": (
        "the solver, an evaluation: all but the map",
        [
            ("", _text("solver")),
            ("mode", _text("mode")),
            ("evaluations", _text("evaluations")),
            ("map, ms", _milliseconds("map_seconds")),
            ("solver, ms", _milliseconds("solver_seconds")),
            ("% of the map", _percent("over_map")),
        ],
    ),
    "shares": (
        "parts of a training step",
        [
            ("", _text("preset")),
            ("part", _text("part")),
            ("ms", _milliseconds("seconds")),
            ("step, ms", _milliseconds("step_seconds")),
            ("% of the step", lambda r: f"{100 * r['of_step']:.2f}"),
        ],
    ),
    "evaluation": (
        "evaluation, puzzles a second; starts at rest stay or leave",
        [
            ("", _text("preset")),
            ("segments", _text("segments")),
            ("stay", lambda r: f"{r['puzzles_per_second_stay']:,.1f}"),
            ("leave", lambda r: f"{r['puzzles_per_second_leave']:,.1f}"),
            ("times", lambda r: f"{r['times_faster']:.2f}"),
            ("% of calls left", _percent("calls_left")),
        ],
    ),
    "language": (
        "pretraining steps",
        [*_STEP, ("tokens/s", lambda r: f"{r['tokens_per_second']:,.0f}"), *_WORK],
    ),
    "memory": (
        "what a training segment keeps for its backward pass",
        [
            ("gradient", _text("gradient")),
            ("evaluations", _text("evaluations")),
            ("layers", _text("layers")),
            ("saved MiB", _mebibytes("saved_bytes")),
            ("peak MiB", _mebibytes("peak_bytes")),
        ],
    ),
    "peers": (
        "fixed-point solvers to a relative residual, each sample's recomputed in float64",
        [
            ("", _text("map")),
            ("tolerance", lambda r: f"{r['tolerance']:.0e}"),
            ("solver", _text("solver")),
            ("% reach it", lambda r: f"{100 * r['reached']:.0f}"),
            ("evaluations", lambda r: f"{r['evaluations']:.1f}"),
            ("ms", _milliseconds("seconds")),
            ("x ours", _number("times_ours", ".2f")),
            ("change alone", _number("batch_change", ".0e")),
            ("gradient error", _number("gradient_error", ".0e")),
            ("ms with it", _milliseconds("gradient_seconds")),
        ],
    ),
    "scaling": (
        "a training step, and an evaluation, as one size departs from the preset",
        [
            ("", _text("preset")),
            ("axis", _text("axis")),
            ("value", _text("value")),
            ("batch", _text("batch")),
            ("ms a step", _milliseconds("seconds_per_step")),
            ("GFLOP a step", _number("flops_per_step", ",.2f", 1e9)),
            ("saved MiB", _mebibytes("saved_bytes")),
            ("peak MiB", _mebibytes("peak_bytes")),
            ("evaluated segments/s", _number("evaluated_per_second", ",.0f")),
        ],
    ),
    "exponents": (
        "exponents of growth, of time and of FLOPs as executed; at the end: of the two largest",
        [
            ("", _text("preset")),
            ("axis", _text("axis")),
            ("from", _text("from")),
            ("to", _text("to")),
            ("theory, at most", _text("theory")),
            ("step", _number("step", ".2f")),
            ("its FLOPs", _number("flops", ".2f")),
            ("evaluation", _number("evaluation", ".2f")),
            ("its FLOPs", _number("evaluation_flops", ".2f")),
            ("at the end", _number("end", ".2f")),
            ("FLOPs there", _number("end_flops", ".2f")),
            ("above", lambda r: "yes" if r["above"] else ""),
        ],
    ),
}


def table(part: str, records: Sequence[Record]) -> Table:
    """The table of a part."""
    title, columns = _TABLES[part]
    shown = Table(title=title)
    rows = [[show(record) for _, show in columns] for record in records]
    for i, (heading, _) in enumerate(columns):
        text = heading in ("", "precision", "mode", "part", "gradient", "axis", "solver")
        least = max((len(row[0]) for row in rows), default=0) if i == 0 else None  # its name, whole
        shown.add_column(heading, justify="left" if text else "right", min_width=least)
    for row in rows:
        shown.add_row(*row)
    return shown


def plot_scaling(records: Sequence[Record], path: Path) -> None:
    """Seconds along every axis, a line a preset, beside what its FLOPs alone would make of the
    first (dashed): of a training step, and along the axis of segments of an evaluation."""
    axes_of = list(dict.fromkeys(r["axis"] for r in records))
    presets = list(dict.fromkeys(r["preset"] for r in records))
    columns = min(4, len(axes_of))
    lines = -(-len(axes_of) // columns)
    figure = new_figure(3.4 * columns, 3.2 * lines)
    plots = figure.subplots(lines, columns, squeeze=False).ravel()
    for plot, axis in zip(plots, axes_of, strict=False):
        along = [r for r in records if r["axis"] == axis]
        for color, preset in enumerate(presets):
            rows = [r for r in along if r["preset"] == preset]
            if rows:  # a model without a solver has no axis of evaluations
                _plot_growth(plot, rows, f"C{color}", preset)
        ticks = {_size(r): str(_size(r)) for r in along}
        plot.set_xscale("log", base=2)
        plot.set_yscale("log")
        plot.set_xticks(list(ticks), list(ticks.values()))
        what = "evaluation" if axis == "segments" else "step"
        plot.set(xlabel="cells" if axis == "grid" else axis, ylabel=f"seconds, {what}")
        plot.plot([], [], ls="--", color="0.5", label="as its FLOPs")
        plot.legend(frameon=False, fontsize=7)
    for plot in plots[len(axes_of) :]:
        plot.set_axis_off()
    finish(plots[: len(axes_of)], figure, path)


def _size(record: Record) -> int:
    return record["value"] ** 2 if record["axis"] == "grid" else record["value"]


def _plot_growth(plot: Any, rows: Sequence[Record], color: str, name: str) -> None:
    sizes = [_size(r) for r in rows]
    if "seconds_per_step" in rows[0]:
        times = [r["seconds_per_step"] for r in rows]
        flops = [r["flops_per_step"] for r in rows]
    else:
        times = [r["segments"] * r["seconds_per_evaluated_segment"] for r in rows]
        flops = [r["segments"] * r["flops_per_evaluated_segment"] for r in rows]
    plot.plot(sizes, times, marker="o", ms=4, color=color, label=name)
    plot.plot(sizes, [times[0] * f / flops[0] for f in flops], ls="--", color=color, alpha=0.5)
