"""Learning curves of runs as numbers, for pictures and for the page that shows them by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from reasoning.training.runs import read_jsonl

_MOST = 400  # points of one curve that a page holds


class Point(NamedTuple):
    """After a step: training minutes, TFLOP (None where they were not measured), and a value: the
    training loss of a cell, or held-out exact % with its standard error."""

    step: int
    minutes: float
    tflop: float | None
    value: float
    error: float = 0.0


@dataclass(frozen=True)
class Curve:
    """A run's training, by its logs."""

    label: str
    seed: int
    loss: Sequence[Point]
    exact: Sequence[Point]


def read_curve(label: str, seed: int, folder: Path) -> Curve:
    """The curves of a run's folder; its costs are of training, evaluation apart."""
    timing = [r for r in read_jsonl(folder / "timing.jsonl") if r["split"] == "train"]
    minutes = _sums(timing, "seconds", 1 / 60)
    tflop = _sums(timing, "flops", 1e-12)

    def points(split: str, name: str) -> list[Point]:
        curve = []
        for record in read_jsonl(folder / "metrics.jsonl"):
            step = record["step"]
            # A killed run may lack its last time.
            if record["split"] != split or step not in minutes or record.get(name) is None:
                continue
            value, error = record[name], 0.0
            if split == "test":
                value, error = (100 * value[key] for key in ("mean", "stderr"))
            curve.append(Point(step, minutes[step], tflop.get(step), value, error))
        return curve

    return Curve(label, seed, points("train", "cell_loss"), points("test", "exact"))


def _sums(timing: Sequence[Mapping[str, Any]], name: str, unit: float) -> dict[int, float]:
    """What training took up to every logged step; empty where it was not measured."""
    if not all(name in record for record in timing):
        return {}
    total, at = 0.0, {}
    for record in timing:
        total += record[name]
        at[record["step"]] = total * unit
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
