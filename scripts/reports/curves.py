"""Learning curves of runs as numbers, for pictures and for the page that shows them by hand."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from reasoning.training.logs import RunLog
from reasoning.training.runs import RunError, begun_with, read_config

_MOST = 400  # points of one curve that a page holds


class Point(NamedTuple):
    """After a step: training minutes, TFLOP (None where they were not measured), and a value: the
    training loss of a cell, or held-out exact % with its standard error."""

    step: int
    minutes: float
    tflop: float | None
    value: float
    error: float = 0.0


class Spent(NamedTuple):
    """What a run was begun with: minutes and TFLOP (None: not measured) of the one before it."""

    minutes: float = 0.0
    tflop: float | None = 0.0


FRESH = Spent()


@dataclass(frozen=True)
class Curve:
    """A run's training, by its logs, and what was spent before it."""

    label: str
    seed: int
    loss: Sequence[Point]
    exact: Sequence[Point]
    before: Spent = FRESH


def read_curve(label: str, seed: int, folder: Path, before: Spent = FRESH) -> Curve:
    """The curves of a run's folder; its costs are of training, evaluation apart, and come on top of
    what was spent before.

    label: the name that the curve has in pictures; seed: the run's; folder: the run's own.
    """
    log = RunLog(folder)
    timing = log.took()
    minutes = _sums(timing, "seconds", 1 / 60, before.minutes)
    tflop = {} if before.tflop is None else _sums(timing, "flops", 1e-12, before.tflop)

    def points(split: str, name: str) -> list[Point]:
        curve = []
        for record in log.learned(split):
            step = record["step"]
            # A killed run may lack its last time.
            if step not in minutes or record.get(name) is None:
                continue
            value, error = record[name], 0.0
            if split == "test":
                value, error = (100 * value[key] for key in ("mean", "stderr"))
            curve.append(Point(step, minutes[step], tflop.get(step), value, error))
        return curve

    return Curve(label, seed, points("train", "cell_loss"), points("test", "exact"), before)


def starts(run: Path) -> Iterator[tuple[Path, int]]:
    """The runs that a run's weights came from, the last one first, each with the step at which they
    were taken. RunError, after those that are, where one is not there, is a file, or began with
    itself."""
    known = {run.resolve()}
    while (begun := begun_with(run)) is not None:
        start, _ = begun
        if start.is_file():
            raise RunError(f"{run}: began with {start.name}, whose training's cost nothing tells")
        if start.resolve() in known:
            raise RunError(f"{run}: began with {start}, which began with it: one was written over")
        known.add(start.resolve())
        yield begun
        run = start


def run_curve(label: str, run: Path) -> Curve:
    """A run's curve, after those of the runs that its weights came from. RunError as of `starts`.

    label: the name that the curve has in pictures.
    """
    before = FRESH
    for start, step in reversed(list(starts(run))):
        before = _spent_by(read_curve(label, 0, start, before), step)
    return read_curve(label, read_config(run)["config"]["seed"], run, before)


def spent_on(run: Path, step: int) -> Spent:
    """What a run's training took up to a step, that of the runs its weights came from included.
    RunError as of `run_curve`."""
    return _spent_by(run_curve("", run), step)


def _spent_by(curve: Curve, step: int) -> Spent:
    """What a run had spent when it was at a step, as far as it was logged by then, what came before
    it included."""
    points = [p for p in curve.loss if p.step <= step]
    return Spent(points[-1].minutes, points[-1].tflop) if points else curve.before


def _sums(
    timing: Sequence[Mapping[str, Any]], name: str, unit: float, total: float
) -> dict[int, float]:
    """What training took up to every logged step; empty where it was not measured.

    timing: its records. name: the quantity there, times unit. total: what was spent before.
    """
    if not all(name in record for record in timing):
        return {}
    at = {}
    for record in timing:
        total += record[name] * unit
        at[record["step"]] = total
    return at


def for_page(curves: Sequence[Curve]) -> dict[str, Any]:
    """What the page's script draws: models by name, and of every run its points, each a list as
    `Point`; of long runs every so many, the last among them."""
    models = list(dict.fromkeys(curve.label for curve in curves))
    return {
        "models": models,
        "runs": [
            {
                "model": models.index(curve.label),
                "seed": curve.seed,
                "loss": _few(curve.loss),
                "exact": _few(curve.exact),
            }
            for curve in curves
        ],
    }


def _few(points: Sequence[Point]) -> list[list[float | None]]:
    every = -(-len(points) // _MOST)
    kept = points[::-1][:: max(every, 1)][::-1]
    return [[None if v is None else float(f"{v:.6g}") for v in point] for point in kept]
