"""`loopbench evaluate`: score a run on every held-out puzzle of a data folder."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from puzzles.dataset import read_split
from puzzles.metrics import score
from puzzles.puzzle_set import PuzzleSet
from reasoning.nn.reasoner import parameter_count
from reasoning.supervision import Depth
from reasoning.training.distribution import World, join_world
from reasoning.training.evaluation import Predictions
from reasoning.training.runs import write_json
from scripts.session import TrainedRun, check_fits, metrics, open_run, run_predictions, subset
from scripts.usage import UsageError, parse

BINS = 5  # groups of equal size for the breakdown by difficulty


def evaluate_run(
    run: TrainedRun, puzzles: PuzzleSet, segments: int, world: World, depth: Depth | None = None
) -> dict[str, Any]:
    """Everything a report needs of a run on a puzzle set, as plain numbers."""
    predictions = run_predictions(run.model, run.config, puzzles, segments, world, depth)
    final = predictions.tokens[-1]
    record: dict[str, Any] = {
        "preset": run.config.preset,
        "step": run.step,
        "seed": run.config.seed,
        "segments": segments,
        "parameters": parameter_count(run.model),
        "metrics": metrics(puzzles, final),
        "by_segment": [
            {"segment": i + 1, **_curve_point(puzzles, tokens)}
            for i, tokens in enumerate(predictions.tokens)
        ],
        "net_calls_per_puzzle": float(predictions.net_calls.mean()),
    }
    record |= _breakdown(puzzles, final)
    record |= _diagnostics(puzzles, predictions)
    return record


def _curve_point(puzzles: PuzzleSet, tokens: np.ndarray) -> dict[str, float]:
    right = tokens == puzzles.labels
    return {"exact": float(right.all(1).mean()), "cell": float(right.mean())}


def _breakdown(puzzles: PuzzleSet, tokens: np.ndarray) -> dict[str, Any]:
    """Accuracy in bins of growing difficulty, where the set knows it."""
    if puzzles.difficulty is None:
        return {}
    edges = np.unique(np.quantile(puzzles.difficulty, np.linspace(0, 1, BINS + 1)))
    if len(edges) == 1:  # one value only: one bin
        edges = np.repeat(edges, 2)
    place = np.clip(np.searchsorted(edges, puzzles.difficulty, side="right") - 1, 0, len(edges) - 2)
    bins = []
    for i in range(len(edges) - 1):
        rows = np.flatnonzero(place == i)
        if len(rows):
            low, high = float(edges[i]), float(edges[i + 1])
            bins.append({"from": low, "to": high, "metrics": metrics(puzzles, tokens, rows)})
    return {"by_difficulty": {"name": puzzles.difficulty_name, "bins": bins}}


def _diagnostics(puzzles: PuzzleSet, predictions: Predictions) -> dict[str, Any]:
    """Means per segment of what the model reported, and the last residual of right and wrong."""
    if not predictions.diagnostics:
        return {}
    means = {
        name: [_finite(mean) for mean in value.mean(1)]
        for name, value in predictions.diagnostics.items()
    }
    right = score(puzzles.kind, puzzles.inputs, puzzles.labels, predictions.tokens[-1]).exact
    residual = predictions.diagnostics["residual"][-1]
    split = {
        name: _finite(np.median(residual[rows])) if rows.any() else None
        for name, rows in (("right", right), ("wrong", ~right))
    }
    evaluations = float(predictions.diagnostics["evaluations"].sum(0).mean())
    return {
        "diagnostics": means,
        "median_residual": split,
        "evaluations_per_puzzle": evaluations,
    }


def _finite(value: float) -> float | None:
    """A number JSON can hold; the residual of a solver that made no evaluation is infinite."""
    return float(value) if math.isfinite(value) else None


def percent(value: dict[str, float]) -> str:
    """A metric as 'mean ± stderr %'."""
    return f"{100 * value['mean']:.1f} ± {100 * value['stderr']:.1f}"


def print_record(record: dict[str, Any], title: str, console: Console) -> None:
    """The metrics, and the breakdown by difficulty, as a table."""
    names = list(record["metrics"])
    table = Table(title=title)
    for heading in ("puzzles", "n", *(f"{name} %" for name in names)):
        table.add_column(heading, justify="right" if heading != "puzzles" else "left")

    def row(label: str, values: dict[str, dict[str, float]]) -> None:
        table.add_row(label, str(values["exact"]["n"]), *(percent(values[n]) for n in names))

    row("all", record["metrics"])
    breakdown = record.get("by_difficulty")
    for part in breakdown["bins"] if breakdown else ():
        row(f"{breakdown['name']} {part['from']:g} to {part['to']:g}", part["metrics"])
    console.print(table)
    cost = f"{record['net_calls_per_puzzle']:.1f} net calls a puzzle"
    if "evaluations_per_puzzle" in record:
        cost += f", {record['evaluations_per_puzzle']:.1f} of the solver's evaluations"
        known = {name: value for name, value in record["median_residual"].items() if value}
        if known:
            shown = ", ".join(f"{value:.2g} where {name}" for name, value in known.items())
            cost += f"; median last residual {shown}"
    console.print(f"{record['segments']} segments, {cost}")


def evaluate(
    run: Annotated[Path, tyro.conf.Positional],
    data: Path,
    segments: int | None = None,
    evaluations: int | None = None,
    split: Literal["test", "train"] = "test",
    puzzles: int = 0,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
) -> None:
    """Score a run's averaged weights; prints a table and writes RUN/evaluation-<data>.json.

    Args:
        run: folder of the run.
        data: data folder.
        segments: segments per puzzle; none: as the run was configured.
        evaluations: the solver's evaluations per segment; none: as the run was configured.
        split: which split to score.
        puzzles: score a fixed random choice of this many puzzles; 0: every one.
        device: where to run; auto: the best present.
    """
    if segments is not None and segments < 1:
        raise UsageError(f"--segments: must be at least 1 (got {segments})")
    if evaluations is not None and evaluations < 0:
        raise UsageError(f"--evaluations: must be 0 or more (got {evaluations})")
    world = join_world(device)
    trained = open_run(run, world)
    chosen = subset(read_split(data, split), puzzles)
    check_fits(trained, chosen, data)
    count = segments or trained.config.supervision.segments
    record = {"run": str(run), "data": str(data), "split": split}
    record |= evaluate_run(trained, chosen, count, world, Depth(evaluations=evaluations))
    name = data.resolve().name if split == "test" else f"{data.resolve().name}-{split}"
    path = run / f"evaluation-{name}.json"
    if world.is_main:
        write_json(path, record)
        console = Console()
        print_record(record, f"{run} at step {trained.step} on {data} ({split})", console)
        console.print(f"wrote {path}")


def main(words: Sequence[str]) -> int:
    parse(evaluate, words, "loopbench evaluate")()
    return 0
