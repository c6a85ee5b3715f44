"""Searching with a run's net as the judge (`reasoning.judged`): accuracy against calls.

The search looks at the puzzle's rules, which the model was not given, so it is a column of its own
and never the headline. What it owes to the net is told by its control, the same search with an
untrained net's weights, those of the run's seed.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from puzzles.metrics import agreement_with
from puzzles.parallel import Progress
from puzzles.puzzle_set import PuzzleSet
from reasoning.judged import Judged, UnitRules, judge
from reasoning.precision import autocast
from reasoning.randomness import content_seeds
from reasoning.search_config import JudgeConfig
from reasoning.supervision import Depth
from reasoning.training.distribution import World
from reasoning.training.evaluation import gather, share_of
from scripts.models.grids import puzzle_structure
from scripts.models.presets import build_model
from scripts.runs.exploration import doublings
from scripts.runs.session import TrainedRun, evaluation_batch
from scripts.usage import UsageError


def unit_rules(puzzles: PuzzleSet, device: torch.device) -> UnitRules:
    """The rules that a search goes by. UsageError for puzzles of others."""
    try:
        return UnitRules.of(*puzzle_structure(puzzles.kind, puzzles.size), device)
    except ValueError as error:
        raise UsageError(
            f"--search judge: fills cells by the rule that every unit holds every symbol once, "
            f"as in a sudoku; of a {puzzles.kind} {error}"
        ) from error


def search_judged(
    run: TrainedRun,
    puzzles: PuzzleSet,
    config: JudgeConfig,
    world: World,
    depth: Depth | None = None,
    seed: int = 0,
    control: bool = False,
    tell: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """The record of a search of every puzzle, by calls of the judge: 1, 2, 4, ... and all of them.

    exact: the answer is the label; solved: it keeps the rules; net_calls: what a puzzle took on
    average.

    run: whose model judges; puzzles: of a kind whose units hold every symbol once, else UsageError.
    config: most calls of the judge, and segments of a call.
    world: the processes, which share the puzzles and all get the record.
    depth: overrides of the model's depth; None: its own.
    seed: of what a model draws at random, together with a puzzle's content.
    control: the same with an untrained net.
    tell: called now and then with this process's calls done, and all of its calls.
    """
    rules = unit_rules(puzzles, world.device)
    budgets = doublings(config.calls)
    record = config.model_dump() | {"seed": seed, "n": len(puzzles), "budgets": list(budgets)}
    runs = {"trained": run}
    if control:
        fresh = build_model(run.config, run.shape).to(world.device).eval()
        runs["untrained"] = replace(run, model=fresh)
    for number, (name, judging) in enumerate(runs.items()):

        def told(done: int, total: int, number: int = number) -> None:
            tell(number * total + done, len(runs) * total)

        judged = _judged(judging, puzzles, rules, config, world, depth, seed, told)
        record[name] = _curve(judged, agreement_with(puzzles.labels, judged.answers)[1], budgets)
    return record


def _judged(
    run: TrainedRun,
    puzzles: PuzzleSet,
    rules: UnitRules,
    config: JudgeConfig,
    world: World,
    depth: Depth | None,
    seed: int,
    tell: Progress,
) -> Judged:
    """The outcome of the search for every puzzle, gathered on all processes.

    run: its net judges. rules: of the puzzles. config: of the search. world: shares the puzzles.
    depth: of a segment; None: the net's own. seed: of random starts. tell: progress.
    """
    rows = share_of(len(puzzles), world)
    inputs = torch.from_numpy(puzzles.inputs[rows])
    with autocast(world.device, run.config.precision):
        judged = judge(
            run.model,
            inputs.to(world.device, torch.int64),
            torch.from_numpy(puzzles.puzzle_ids[rows]).to(world.device, torch.int64),
            content_seeds(inputs, seed).to(world.device),
            rules,
            config,
            evaluation_batch(run.config, puzzles, world.device),
            depth,
            run.config.loss,
            tell,
        )
    shares = {name: torch.from_numpy(values) for name, values in vars(judged).items()}
    on_device = {name: values.to(world.device) for name, values in shares.items()}
    return Judged(**gather(on_device, len(puzzles), world))


def _curve(judged: Judged, right: np.ndarray, budgets: tuple[int, ...]) -> dict[str, Any]:
    """{mean, stderr} lists by budget; right (N,): whether the last answer is the label."""
    solved = np.stack([judged.solved_within(calls) for calls in budgets], axis=1)
    # Who is not solved has the first call's answer, which broke the rules: it is never the label.
    shares = {"exact": solved & right[:, None], "solved": solved}
    spent = np.stack([judged.net_calls[:, :calls].sum(1) for calls in budgets], axis=1)
    return {
        name: {
            "mean": values.mean(0).tolist(),
            "stderr": (values.std(0) / np.sqrt(len(values))).tolist(),
        }
        for name, values in (shares | {"net_calls": spent}).items()
    }
