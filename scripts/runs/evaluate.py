"""`loopbench evaluate`: score a run on held-out puzzles, with as much test-time compute as asked.

The headline is what one rule of selection answers (see `scripts.runs.selection`); every other rule
is reported in a row of its own, the one that checks the puzzle's rules apart from the rest.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from puzzles.kinds import puzzle_of
from puzzles.metrics import score
from puzzles.parallel import Progress
from puzzles.puzzle import Puzzle
from puzzles.puzzle_set import PuzzleSet
from reasoning.nn.reasoner import embedding_count, parameter_count
from reasoning.records import finite
from reasoning.supervision import Depth
from reasoning.training.distribution import World
from reasoning.training.evaluation import predict
from reasoning.training.meter import Meter
from scripts.runs.abstention import auroc, risk_coverage
from scripts.runs.exploration import CERTIFYING, REST, Outcome, explore
from scripts.runs.search_plan import Plan
from scripts.runs.selection import RULES, WINDOW
from scripts.runs.session import TrainedRun, metrics

_METERED = 4  # puzzles whose FLOPs are counted
BINS = 5  # groups of equal size for the breakdown by difficulty


@dataclass(frozen=True)
class Evaluated:
    """A run on N puzzles: the record, and per puzzle what pictures need.

    answers: uint8 (N, C); right: bool (N,), and after each segment (N, S); residual: (N,) after the
    last segment; solved: whether it is a solver's (else the change of y).
    """

    record: dict[str, Any]
    answers: np.ndarray
    right: np.ndarray
    right_after: np.ndarray
    residual: np.ndarray
    solved: bool


def evaluate_run(
    run: TrainedRun,
    puzzles: PuzzleSet,
    segments: int,
    world: World,
    depth: Depth | None = None,
    plan: Plan | None = None,
    metered: bool = True,
    tell: Progress = lambda done, total: None,
) -> Evaluated:
    """Score a run on a puzzle set under a plan of search (none: one start, every segment).

    segments: of every start.
    world: the processes, which share the puzzles and all get the scores.
    depth: overrides of the model's depth; None: its own.
    metered: report FLOPs a puzzle, a net call's as counted on a few puzzles times the net calls.
    tell: called now and then with the segments done and all of them.
    """
    plan = plan or Plan()
    outcome = explore(run, puzzles, segments, plan, world, depth, tell)
    headline = RULES.index(plan.rule)
    answers = outcome.answers[:, headline]
    right = score(puzzles.kind, puzzles.inputs, puzzles.labels, answers).exact
    record: dict[str, Any] = {
        "preset": run.config.preset,
        "step": run.step,
        "seed": run.config.seed,
        "segments": segments,
        "parameters": parameter_count(run.model),
        "embedding_parameters": embedding_count(run.model),
        "metrics": metrics(puzzles, answers),
        "by_segment": [
            {"segment": s + 1, "exact": exact["mean"], "exact_stderr": exact["stderr"]}
            | {"cell": float(outcome.segment_cell[:, s].mean()), "n": exact["n"]}
            for s, exact in enumerate(map(mean, outcome.segment_right.T))
            if s + 1 == segments or not plan.claim_ends
        ],
        "net_calls_per_puzzle": float(outcome.net_calls[:, headline, -1, -1].mean()),
        "search": plan.model_dump(exclude={"select"})
        | {"rule": plan.rule, "candidates": plan.candidates, "residual_window": WINDOW}
        | {"residual_of": "solver" if outcome.solved else "change of y"},
    }
    record |= _breakdown(puzzles, answers)
    record |= _diagnostics(outcome, right)
    if outcome.solved:
        evaluations = outcome.evaluations[:, headline, -1, -1]
        record["evaluations_per_puzzle"] = float(evaluations.mean())
    record["selection"] = _selection(puzzles, outcome)
    record["grid"] = _grid(outcome)
    record["abstention"] = {
        name: {"auroc": auroc(value, right), "risk_coverage": risk_coverage(value, right)}
        for name, value in (("residual", -outcome.residual), ("halting score", outcome.halt))
    }
    record["at_rest"] = _at_rest(outcome)
    if metered:
        few = min(_METERED, len(puzzles)) if outcome.solved else 1  # else all take the same
        flops = _flops_per_call(run, puzzles, few, segments, world, depth)
        record["flops_per_puzzle"] = flops * record["net_calls_per_puzzle"]
    return Evaluated(
        record, answers, right, outcome.segment_right, outcome.last_residual, outcome.solved
    )


def _flops_per_call(
    run: TrainedRun, puzzles: PuzzleSet, few: int, segments: int, world: World, depth: Depth | None
) -> float:
    """FLOPs of a net call, with its share of what a segment costs beside.

    few: so many of the puzzles, run one at a time as the run evaluates them (segments, depth): in
    a batch some that have converged are computed along. world: gives the device.
    """
    alone = World(0, 1, world.device)
    rows = np.linspace(0, len(puzzles) - 1, few).astype(int)
    with Meter(run.config.compile) as meter:
        questions = puzzles.inputs[rows], puzzles.puzzle_ids[rows]
        predictions = predict(
            run.model, *questions, segments, 1, alone, run.config.precision, depth
        )
    return meter.flops / int(predictions.net_calls.sum())


def mean(values: np.ndarray) -> dict[str, float]:
    """{mean, stderr, n} over puzzles (N,)."""
    deviation = float(values.std()) / math.sqrt(len(values))
    return {"mean": float(values.mean()), "stderr": deviation, "n": len(values)}


def _selection(puzzles: PuzzleSet, outcome: Outcome) -> dict[str, Any]:
    """Every rule's metrics and cost at full depth and breadth."""
    return {
        rule: {
            "metrics": metrics(puzzles, outcome.answers[:, r]),
            "net_calls_per_puzzle": mean(outcome.net_calls[:, r, -1, -1]),
            "evaluations_per_puzzle": mean(outcome.evaluations[:, r, -1, -1]),
        }
        for r, rule in enumerate(RULES)
    }


def _grid(outcome: Outcome) -> dict[str, Any]:
    """Exact accuracy and mean cost a puzzle of every rule: lists by depth, then breadth."""
    n = len(outcome.right)
    exact, deviation = outcome.right.mean(0), outcome.right.std(0) / math.sqrt(n)
    calls, evaluations = outcome.net_calls.mean(0), outcome.evaluations.mean(0)
    return {
        "depths": list(outcome.depths),
        "breadths": list(outcome.breadths),
        "n": n,
        "exact": {
            rule: {"mean": exact[r].tolist(), "stderr": deviation[r].tolist()}
            for r, rule in enumerate(RULES)
        },
        "net_calls": {rule: calls[r].tolist() for r, rule in enumerate(RULES)},
        "evaluations": {rule: evaluations[r].tolist() for r, rule in enumerate(RULES)},
    }


def _at_rest(outcome: Outcome) -> dict[str, Any]:
    """By rule of CERTIFYING and breadth, of the answer chosen: `at_rest`, the share of puzzles on
    which its state is at rest, and of those the share on which it is wrong (a spurious fixed
    point); `claimed`, the same of a positive halting score; `area` under risk-coverage, with what
    the rule goes by as confidence."""
    rules = {}
    for r, rule in enumerate(CERTIFYING):
        right = outcome.right[:, RULES.index(rule), -1]  # (N, W)
        areas = [
            risk_coverage(outcome.confidence[:, r, w], right[:, w])["area"]
            for w in range(len(outcome.breadths))
        ]
        rules[rule] = {
            "at_rest": _wrong_among(outcome.rested[:, r], right),
            "claimed": _wrong_among(outcome.claimed[:, r], right),
            "area": {name: [area[name] for area in areas] for name in ("mean", "stderr")},
        }
    breadths = list(outcome.breadths)
    return {"residual": REST, "breadths": breadths, "puzzles": len(outcome.rested), "by": rules}


def _wrong_among(certified: np.ndarray, right: np.ndarray) -> dict[str, list]:
    """Lists by breadth, of bool (N, W): the share certified, how many they are (n), and of those
    the share that is wrong with its standard error; None of none."""
    counts, wrong = certified.sum(0), (certified & ~right).sum(0)
    rates = [w / n if n else math.nan for w, n in zip(wrong, counts, strict=True)]
    return {
        "share": (counts / len(certified)).tolist(),
        "n": counts.tolist(),
        "wrong": [finite(rate) for rate in rates],
        "stderr": [
            finite(math.sqrt(rate * (1 - rate) / n)) if n else None
            for rate, n in zip(rates, counts, strict=True)
        ],
    }


def difficulty_edges(values: np.ndarray) -> np.ndarray:
    """Edges of up to BINS bins of about equal size; the last closes its bin.

    Where most puzzles share the least difficulty (no guess needed), that is a bin of its own.
    """
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)))
    harder = values[values > values.min()]
    if len(edges) < BINS and len(harder):
        rest = np.quantile(harder, np.linspace(0, 1, BINS))
        edges = np.unique(np.concatenate(([values.min()], rest)))
    return np.repeat(edges, 2) if len(edges) == 1 else edges


def _breakdown(puzzles: PuzzleSet, tokens: np.ndarray) -> dict[str, Any]:
    """Accuracy in bins of growing difficulty, where the set knows it."""
    if puzzles.difficulty is None:
        return {}
    edges = difficulty_edges(puzzles.difficulty)
    place = np.clip(np.searchsorted(edges, puzzles.difficulty, side="right") - 1, 0, len(edges) - 2)
    bins = []
    for i in range(len(edges) - 1):
        rows = np.flatnonzero(place == i)
        if len(rows):
            low, high = float(edges[i]), float(edges[i + 1])
            bins.append({"from": low, "to": high, "metrics": metrics(puzzles, tokens, rows)})
    return {"by_difficulty": {"name": puzzles.difficulty_name, "bins": bins}}


def _diagnostics(outcome: Outcome, right: np.ndarray) -> dict[str, Any]:
    """Means per segment of what the model reported, and the last residual of right and wrong."""
    split = {
        name: finite(np.median(outcome.last_residual[rows])) if rows.any() else None
        for name, rows in (("right", right), ("wrong", ~right))
    }
    means = {
        name: [finite(value) for value in values.mean(0)]
        for name, values in outcome.diagnostics.items()
    }
    return {"median_residual": split} | ({"diagnostics": means} if means else {})


def notes(run: TrainedRun, puzzles: PuzzleSet, data: Path, plan: Plan, segments: int) -> list[str]:
    """What a reader of this evaluation has to know, a line each.

    run: what was scored; puzzles: what it was scored on; data: their folder; plan: how they were
    searched; segments: of every start.
    """
    lines = []
    model = run.config.model
    counted = type(puzzle_of(puzzles.kind)).difficulty is not Puzzle.difficulty
    if counted and puzzles.difficulty is None:
        lines.append(f"{data} has no difficulties; `loopbench data import` adds them")
    alike = not model.reads_carry() and not model.draws()
    if alike and (segments > 1 or plan.breadth > 1):
        lines.append(f"{model.kind} reads no carried state: more segments or starts change nothing")
    if model.symmetric() and plan.symmetries > 1:
        lines.append(
            "images of a puzzle that are not transposed get one answer: ask several starts"
        )
    if plan.claim_ends or (plan.leave or 0) > REST:
        lines.append(
            "who left keeps the residual it left with, so that residuals do not tell who comes to "
            "rest, nor who is right: for that, ask --leave never"
        )
    several = puzzle_of(run.kind).images_note
    if several is not None and plan.symmetries > 1:
        lines.append(several)
    return lines
