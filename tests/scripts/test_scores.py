"""Scores, spreads and breakdowns by hand."""

import itertools
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from test_report import row

from puzzles.puzzle_set import PuzzleSet
from puzzles.sudoku import generator, rules
from scripts.reports.differences import compared
from scripts.reports.paired import difference, summary_difference
from scripts.reports.records import Spread
from scripts.reports.report import comparison, late_cell_loss, training_cost
from scripts.runs import evaluate
from scripts.runs.session import subset


def test_of_unpaired_arms_the_deviation_is_of_the_mean_variance_and_the_fewer_seeds_count():
    found = summary_difference(Spread(mean=1, sd=3.0, n=9), Spread(mean=0, sd=4.0, n=5))
    assert (found.deviation, found.n) == (pytest.approx(math.sqrt((9 + 16) / 2)), 5)


def test_the_bootstrap_of_unpaired_arms_draws_each_by_itself():
    a, b = [0.0, 1.0, 5.0], [0.0, 2.0, 4.0]
    means = [[np.mean(m) for m in itertools.product(values, repeat=3)] for values in (a, b)]
    every = np.sort(np.subtract.outer(*means).ravel())  # of all pairs of resamples
    tail = math.ceil(0.025 * len(every))
    found = difference(dict(enumerate(a)), dict(enumerate(b, 3))).bootstrap
    assert found == pytest.approx((every[tail - 1], every[-tail]), abs=0.34)  # a step of the means


def test_seeds_to_detect_are_of_each_model_where_none_are_shared():
    a = [row("a", seed, exact) for seed, exact in ((0, 0.5), (1, 0.6), (2, 0.7))]
    b = [row("b", seed, exact) for seed, exact in ((3, 0.3), (4, 0.5), (5, 0.4))]
    (told,) = compared(comparison([*a, *b]))
    # Both of deviation 0.1: 2.7764, t at 4 degrees of freedom, times 0.1 sqrt(2 / 3).
    assert told["interval"] == "-2.7 to 42.7, not paired"
    assert told["needed"] == "64"  # G*Power's, of half a deviation between two groups


def test_a_run_is_listed_with_what_it_says_halting_and_on_what_it_learned():
    one = row("a", 0, 0.5)
    one.training_set["metrics"]["exact"] = {"mean": 0.9, "stderr": 0.02, "n": 200}
    halting = {"exact": {"mean": 0.25, "stderr": 0.03, "n": 50}}
    one.evaluation["selection"]["halt-first"]["metrics"] = halting
    group = comparison([one])["a"]
    (run,) = group["runs"]
    exact = {name: run[name]["mean"] for name in ("exact", "training_exact", "halted_exact")}
    assert exact == {"exact": 0.5, "training_exact": 0.9, "halted_exact": 0.25}
    assert (group["halted_exact"]["mean"], group["training_metrics"]["exact"]["mean"]) == (
        0.25,
        0.9,
    )
    assert (run["halted_net_calls"]["mean"], run["net_calls"]["mean"]) == (5.0, 10.0)


def test_the_bytes_of_training_are_the_devices_peak_where_it_has_one(tmp_path):
    steps = [{"split": "train", "step": s, "total_net_calls": 1.0} for s in (1, 2)]
    bytes_ = ({"saved_bytes": 9, "peak_bytes": 30}, {"saved_bytes": 9, "peak_bytes": 20})
    timing = [r | {"seconds": 1.0, "flops": 1.0} | b for r, b in zip(steps, bytes_, strict=True)]
    for name, records in (("metrics", steps), ("timing", timing)):
        lines = "".join(json.dumps(r) + "\n" for r in records)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    assert training_cost(tmp_path, 2)["bytes"] == 30


def test_the_loss_a_run_ends_with_is_that_of_its_last_tenth(tmp_path):
    losses = [(10, 9.0), (90, 5.0), (91, 1.0), (100, 2.0), (101, 7.0)]
    lines = [{"split": "train", "step": s, "cell_loss": loss} for s, loss in losses]
    lines.insert(4, {"split": "test", "step": 100, "exact": 0.5})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in lines))
    assert late_cell_loss(tmp_path, 100) == 1.5
    assert comparison([replace(row("a", 0, 0.5), cell_loss=1.5)])["a"]["runs"][0]["cell_loss"] == {
        "mean": 1.5
    }
    lines[2].pop("cell_loss")
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in lines))
    assert late_cell_loss(tmp_path, 100) is None
    assert late_cell_loss(tmp_path / "imported", 0) is None


def numbered(count: int) -> PuzzleSet:
    """4x4 sudokus of difficulties 0, 1, 2, ..."""
    tokens = map(rules.to_tokens, generator.generate(count, 4, seed=0))
    return PuzzleSet.ungrouped("sudoku", 4, *tokens, np.arange(count, dtype=np.float32), "number")


def test_bins_of_difficulty_hold_the_scores_of_their_own_puzzles():
    """Ten puzzles each of 0 to 5, the edges; all bins but the last are open above."""
    puzzles = replace(numbered(60), difficulty=np.repeat(np.arange(6, dtype=np.float32), 10))
    answers = puzzles.labels.copy()
    answers[[0, 10, 11, 59], 0] = 0  # wrong: one of 0, two of 1, one of 5
    bins = evaluate._breakdown(puzzles, answers)["by_difficulty"]["bins"]
    assert [(b["from"], b["to"]) for b in bins] == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
    exact = [b["metrics"]["exact"] for b in bins]
    expected = [(0.9, 10), (0.8, 10), (1, 10), (1, 10), (0.95, 20)]
    assert [(e["mean"], e["n"]) for e in exact] == expected


def test_median_residuals_are_of_right_and_of_wrong_answers():
    residual = np.array([1e-3, 2e-3, 5.0, 7.0, np.inf])
    means = {"residual": np.array([[1.0, 3.0], [2.0, np.inf]])}
    outcome = SimpleNamespace(last_residual=residual, diagnostics=means)
    found = evaluate._diagnostics(outcome, np.array([True, True, False, False, False]))
    assert found["median_residual"] == {"right": pytest.approx(1.5e-3), "wrong": 7.0}
    assert found["diagnostics"] == {"residual": [1.5, None]}
    assert evaluate._diagnostics(outcome, np.ones(5, bool))["median_residual"]["wrong"] is None


def test_the_grid_has_the_standard_error_of_a_share():
    right = np.zeros((20, len(evaluate.RULES), 1, 1), bool)
    right[:5] = True
    counts = np.full(right.shape, 6)
    outcome = SimpleNamespace(
        right=right, net_calls=counts, evaluations=counts // 2, depths=(3,), breadths=(1,)
    )
    exact = evaluate._grid(outcome)["exact"]["single"]
    assert exact == {"mean": [[0.25]], "stderr": [[pytest.approx((0.25 * 0.75 / 20) ** 0.5)]]}


def test_some_of_the_puzzles_are_a_fixed_random_choice_in_order():
    puzzles = numbered(40)
    some = subset(puzzles, 10).difficulty
    assert len(set(some)) == 10
    assert (np.diff(some) > 0).all()
    assert some.max() > 20  # no mere beginning: sets are sorted
    np.testing.assert_array_equal(subset(puzzles, 10).difficulty, some)
    assert len(subset(puzzles, 0)) == len(subset(puzzles, 40)) == 40
