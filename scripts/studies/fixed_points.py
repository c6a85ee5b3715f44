"""What would make the fixed point matter? Variants of the Attractor at equal training FLOPs, beside
TRM's, and what kind of fixed point each has learned."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from puzzles.parallel import StageProgress
from puzzles.puzzle_set import PuzzleSet
from reasoning.fixed_point import jacobian_norm, spectral_radius
from reasoning.randomness import content_seeds, fold
from reasoning.supervision import Depth, infer
from reasoning.training.distribution import World
from reasoning.training.runs import write_json
from scripts.reports.earlier import keep_other_rows
from scripts.reports.numbers import grid
from scripts.runs.data import read_puzzles
from scripts.runs.evaluate import evaluate_run
from scripts.runs.session import TrainedRun, adjusted, open_run
from scripts.studies.ablations import ablation
from scripts.studies.asked import TableAsked
from scripts.terminal.console import show
from scripts.terminal.progress import stage_progress

_LONGER = 4  # times as many segments as in training
_BUDGET = 64  # most evaluations of the solve from the initial state
_PROBED = 64  # puzzles whose Jacobian is probed
_POWER_STEPS = 30
Estimate = Mapping[str, float]
_NOTE = (
    "Means over seeds; training FLOPs are those of the first row, to whole log lines. One solve is "
    f"from the initial state, with at most {_BUDGET} evaluations. Spectral radius and norm |J| are "
    "of the map's Jacobian after the trained segments, medians over puzzles. At rest is a state "
    f"whose residual is at most 1e-3 after {_LONGER} times as many segments; of these wrong: "
    "spurious. A dash: the model tells no map (`map_at`), or nothing rests."
)

# Heading, column, factor, and how the mean over runs is written.
_SHOWN = (
    ("exact %", "exact", 100, ".1f"),
    ("exact %, 4 x segments", "longer_exact", 100, ".1f"),
    ("one solve: exact %", "solved_exact", 100, ".1f"),
    ("evaluations to 1e-3", "evaluations_1e-3", 1, ".1f"),
    ("reach 1e-3 %", "converged_1e-3", 100, ".1f"),
    ("evaluations to 1e-5", "evaluations_1e-5", 1, ".1f"),
    ("reach 1e-5 %", "converged_1e-5", 100, ".1f"),
    ("spectral radius", "radius", 1, ".2f"),
    ("|J|", "norm", 1, ".2f"),
    ("at rest %", "at_rest", 100, ".1f"),
    ("of these wrong %", "spurious", 100, ".1f"),
    ("AUROC of the residual", "auroc", 1, ".3f"),
)


def fixed_points(
    asked: TableAsked, scale: str, data: Path | None, also: list[str]
) -> dict[str, Any]:
    """Train the variants as `ablation` does, at equal FLOPs, and measure the maps that they learned
    on the held-out puzzles. Writes OUT/fixed-point.json: comparison.json with more numbers a run,
    those of `measure`. Resumable.

    asked, scale, data, also: as in `ablation`.
    """
    compared = ablation("fixed-point", asked, scale, data, also)
    groups, world = compared.groups(), asked.world
    held_out = read_puzzles(data or asked.out / "data", "test")
    with stage_progress(quiet=not world.is_main) as tell:
        for group in groups.values():
            for run in group["runs"]:
                if "failure" not in run:
                    trained = open_run(Path(run["run"]), world)
                    run |= measure(trained, held_out, world, partial(_named, tell, run["run"]))
    table = _table(groups)
    if world.is_main:
        keep_other_rows(asked.out / "fixed-point.json", dict.keys, groups)
        write_json(asked.out / "fixed-point.json", groups)
        (asked.out / "fixed-point.md").write_text(table)
    world.barrier()
    show(table, 190, asked.console.quiet)
    asked.console.print(f"wrote {asked.out}/fixed-point.md and fixed-point.json")
    return groups


def _named(tell: StageProgress, run: str, stage: str, done: int, total: int) -> None:
    tell(f"{Path(run).name}: {stage}", done, total)


def measure(
    run: TrainedRun, puzzles: PuzzleSet, world: World, tell: StageProgress
) -> dict[str, Estimate]:
    """The fixed point of a trained map, {mean, n} over puzzles.

    longer_exact: after 4 times the trained segments, and of the states at rest then (residual at
        most 1e-3, share at_rest) the share that is wrong, spurious; auroc: of that residual;
    solved_exact, evaluations_T, converged_T: one solve from the initial state to a residual of T
        with at most 64 evaluations, at 1e-3 and 1e-5; solved_exact at 1e-5;
    radius, norm: of the Jacobian after the trained segments, medians over the first 64 puzzles.

    A model that has no `map_at`, as its segments seek no fixed point, has the first kind alone.

    run: whose model is measured; world: the processes, which all get the numbers; tell: told of a
    stage's name, what is done and what there is in all.
    """
    segments = run.config.supervision.segments
    longer = partial(tell, "longer")
    record = evaluate_run(run, puzzles, _LONGER * segments, world, metered=False, tell=longer)
    record = record.record
    rest = record["at_rest"]["by"]["residual"]["at_rest"]
    auroc = record["abstention"]["residual"]["auroc"]
    values = {
        "longer_exact": record["metrics"]["exact"],
        "at_rest": {"mean": rest["share"][-1], "n": len(puzzles)},
        "spurious": {"mean": rest["wrong"][-1], "stderr": rest["stderr"][-1], "n": rest["n"][-1]},
        "auroc": {} if auroc is None else {k: auroc[k] for k in ("mean", "stderr", "n")},
    }
    if run.config.model.has_map() and hasattr(run.model, "map_at"):
        for tolerance in ("1e-3", "1e-5"):
            values |= _solved(run, puzzles, world, tolerance, partial(tell, f"to {tolerance}"))
        values |= _jacobian(run, puzzles, world)
    return {name: v for name, v in values.items() if v.get("mean") is not None}


def _solved(
    run: TrainedRun, puzzles: PuzzleSet, world: World, tolerance: str, tell: Any
) -> dict[str, Estimate]:
    asked = adjusted(run, tolerance=float(tolerance)), puzzles, 1, world
    record = evaluate_run(*asked, Depth(evaluations=_BUDGET), metered=False, tell=tell).record
    told, n = record["diagnostics"], len(puzzles)
    return {
        "solved_exact": record["metrics"]["exact"],
        f"evaluations_{tolerance}": {"mean": told["evaluations"][-1], "n": n},
        f"converged_{tolerance}": {"mean": told["converged"][-1], "n": n},
    }


def _jacobian(run: TrainedRun, puzzles: PuzzleSet, world: World) -> dict[str, Estimate]:
    """In fp32, whatever the run's precision."""
    chosen = puzzles.take_groups(range(min(_PROBED, puzzles.groups)))
    inputs = torch.from_numpy(chosen.inputs).to(world.device, torch.int64)
    ids = torch.from_numpy(chosen.puzzle_ids).to(world.device, torch.int64)
    seeds = content_seeds(torch.from_numpy(chosen.inputs), 0).to(world.device)
    segments = run.config.supervision.segments
    with torch.no_grad():
        for output in infer(run.model, inputs, ids, segments, Depth(), seeds):
            state = output.state
        f = run.model.map_at(inputs, ids, fold(seeds, segments - 1))  # of the last segment's noise
    generator = torch.Generator().manual_seed(0)
    estimates = {}
    for name, probe in (("radius", spectral_radius), ("norm", jacobian_norm)):
        per_puzzle = probe(f, state, _POWER_STEPS, generator)
        estimates[name] = {"mean": float(per_puzzle.median()), "n": len(chosen)}
    return estimates


def _table(groups: Mapping[str, Any]) -> str:
    """A row a variant; means over the runs that have the number."""
    rows = []
    for name, group in groups.items():
        done = [run for run in group["runs"] if "failure" not in run]
        cells = [name, str(len(done))]
        for _, column, factor, form in _SHOWN:
            known = [factor * run[column]["mean"] for run in done if column in run]
            cells.append(f"{sum(known) / len(known):{form}}" if known else "-")
        rows.append(cells)
    head = ["variant", "seeds", *(heading for heading, *_ in _SHOWN)]
    return "\n".join([*grid(head, rows), "", _NOTE]) + "\n"
