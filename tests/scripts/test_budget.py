"""Equal budgets are measured on the model that will run."""

import pytest

from puzzles.dataset import read_split
from reasoning.training.distribution import join_world
from scripts.budget import cost_per_step, steps_within
from scripts.cli import main
from scripts.presets import RunConfig, preset


def config(name, **changes):
    return RunConfig.model_validate(preset(name).model_dump() | changes)


def test_flops_of_a_step_follow_the_curriculum(sudokus):
    train, world = read_split(sudokus, "train"), join_world("cpu")
    whole = config("trm-mini")
    deep = cost_per_step(config("trm-mini", supervision={"segments": 16}), train, world, "flops")
    shallow = config("trm-mini", supervision={"curriculum": [_stage(whole, 0)]})
    cheap = cost_per_step(shallow, train, world, "flops")
    # One cycle of two in the first three quarters: the second costs its forward pass only.
    mean = cost_per_step(whole, train, world, "flops")
    assert cheap < deep
    assert mean == pytest.approx(0.75 * cheap + 0.25 * deep, rel=1e-6)


def _stage(whole, number):
    return whole.supervision.curriculum[number].model_dump() | {"until": 1.0}


def test_steps_share_a_budget_by_measured_cost(sudokus):
    train, world = read_split(sudokus, "train"), join_world("cpu")
    trm, one_pass = config("trm-mini"), config("transformer-mini")
    total = trm.steps * cost_per_step(trm, train, world, "flops")
    assert steps_within(trm, total, train, world, "flops") == trm.steps
    steps = steps_within(one_pass, total, train, world, "flops")
    spent = steps * cost_per_step(one_pass, train, world, "flops")
    slack = one_pass.log_every * cost_per_step(one_pass, train, world, "flops")
    assert abs(spent - total) <= slack
    assert steps > 3 * trm.steps
    assert steps_within(trm, 35, train, world, "steps") == 35


def test_compare_trains_to_equal_flops_and_reports_what_ran(sudokus, tmp_path, capsys):
    out = tmp_path / "equal"
    words = ["--presets", "trm-mini,transformer-mini", "--data", str(sudokus), "--seeds", "1"]
    assert main(["compare", *words, "--steps", "20", "--budget", "flops", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "steps for" in said
    import json

    groups = json.loads((out / "comparison.json").read_text())
    flops = [group["training_flops"]["mean"] for group in groups.values()]
    assert flops[1] == pytest.approx(flops[0], rel=0.15)
    assert (out / "report.html").stat().st_size > 20_000
