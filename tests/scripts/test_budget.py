"""Equal budgets are measured on the model that will run."""

import json
import re
import time
from types import SimpleNamespace

import pytest
import torch

from puzzles.dataset import read_split
from puzzles.stream import BatchStream
from reasoning.training.distribution import join_world
from reasoning.training.loop import Trainer
from reasoning.training.meter import Meter
from reasoning.training.runs import read_jsonl
from scripts.cli import main
from scripts.models.grids import grid_shape
from scripts.models.presets import RunConfig, build_model, preset
from scripts.studies.asked import Asked
from scripts.studies.budget import cost_of, steps_within
from scripts.studies.comparison import Spending, within_budget
from scripts.usage import UsageError


def config(name, **changes):
    return RunConfig.model_validate(preset(name).model_dump() | changes)


def test_flops_of_a_step_follow_the_curriculum(sudokus):
    train, world = read_split(sudokus, "train"), join_world("cpu")
    whole = config("trm-mini")
    deep = cost_of(config("trm-mini", supervision={"segments": 16}), train, world, "flops").per_step
    shallow = config("trm-mini", supervision={"curriculum": [_stage(whole, 0)]})
    cheap = cost_of(shallow, train, world, "flops").per_step
    # One cycle of two in the first three quarters: the second costs its forward pass only.
    mean = cost_of(whole, train, world, "flops").per_step
    assert cheap < deep
    assert mean == pytest.approx(0.75 * cheap + 0.25 * deep, rel=1e-6)


def test_training_flops_are_those_of_every_step(sudokus, tmp_path):
    """Stages begin inside log intervals, and are in the count from their first step."""
    train, world = read_split(sudokus, "train"), join_world("cpu")
    whole = config("attractor-mini", steps=30, checkpoint_every=30)
    run = tmp_path / "run"
    words = ["train", "--preset", "attractor-mini", "--data", str(sudokus), "--out", str(run)]
    assert main([*words, "--steps", "30", "--device", "cpu"]) == 0
    timing = read_jsonl(run / "timing.jsonl")
    said = sum(record["flops"] for record in timing if record["split"] == "train")
    torch.manual_seed(whole.seed)
    trainer = Trainer(
        build_model(whole, grid_shape(train)),
        BatchStream(train, whole.batch, whole.seed, whole.augment),
        whole,
        world,
    )
    executed = sum(float(trainer.metered()["flops"]) for _ in range(30))
    assert said == pytest.approx(executed, rel=5e-3)


def _stage(whole, number):
    return whole.supervision.curriculum[number].model_dump() | {"until": 1.0}


def test_steps_share_a_budget_by_measured_cost(sudokus):
    train, world = read_split(sudokus, "train"), join_world("cpu")
    trm, one_pass = config("trm-mini"), config("transformer-mini")
    total = trm.steps * cost_of(trm, train, world, "flops").per_step
    assert steps_within(trm, total, train, world, "flops") == trm.steps
    steps = steps_within(one_pass, total, train, world, "flops")
    spent = steps * cost_of(one_pass, train, world, "flops").per_step
    slack = one_pass.log_every * cost_of(one_pass, train, world, "flops").per_step
    assert abs(spent - total) <= slack
    assert steps > 3 * trm.steps
    assert steps_within(trm, 35, train, world, "steps") == 35
    first = trm.log_every * cost_of(trm, train, world, "flops").per_step
    with pytest.raises(UsageError, match=re.escape(f"spends {first:.3g} by its first log line")):
        steps_within(trm, 0.4 * first, train, world, "flops")


def test_compare_trains_to_equal_flops_and_reports_what_ran(sudokus, tmp_path, capsys):
    out = tmp_path / "equal"
    words = ["--presets", "trm-mini,transformer-mini", "--data", str(sudokus), "--seeds", "1"]
    assert main(["compare", *words, "--steps", "20", "--budget", "flops", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "steps for" in said
    groups = json.loads((out / "comparison.json").read_text())
    flops = [group["training_flops"]["mean"] for group in groups.values()]
    assert flops[1] == pytest.approx(flops[0], rel=0.15)
    assert (out / "report.html").stat().st_size > 20_000


@pytest.fixture
def clock(monkeypatch):
    """A clock that only training moves: a step takes 1 s (0.5 s of a one-pass net), a run's first
    4 s more, and metering a step 3 s more."""
    clock = SimpleNamespace(now=0.0, slowness=1.0)
    advance, enter = Trainer.advance, Meter.__enter__

    def slow_advance(trainer):
        clock.now += 4 if trainer.carry is None else 0
        clock.now += clock.slowness * (0.5 if "transformer" in trainer.config.preset else 1)
        return advance(trainer)

    def slow_enter(meter):
        clock.now += 3
        return enter(meter)

    monkeypatch.setattr(Trainer, "advance", slow_advance)
    monkeypatch.setattr(Meter, "__enter__", slow_enter)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    return clock


def trained_seconds(run):
    timing = read_jsonl(run / "timing.jsonl")
    return sum(r["seconds"] for r in timing if r["split"] == "train")


def test_runs_of_a_time_budget_take_that_time(sudokus, tmp_path, clock, capsys):
    out = tmp_path / "timed"
    words = ["compare", "--data", str(sudokus), "--budget", "time", "--amount", "0.5"]
    words += ["--out", str(out), "--device", "cpu", "--seeds", "1", "--presets"]
    assert main([*words, "trm-mini,transformer-mini"]) == 0
    for name, second in (("trm-mini", 1.0), ("transformer-mini", 0.5)):
        a_line = 5 * second + 3  # of five steps, one of them metered
        assert trained_seconds(out / f"{name}-seed0") == pytest.approx(30, abs=a_line / 2)
    capsys.readouterr()


def test_a_time_budget_is_measured_once_and_the_same_command_goes_on(
    sudokus, tmp_path, clock, capsys
):
    out = tmp_path / "timed"
    words = ["compare", "--presets", "transformer-mini", "--data", str(sudokus), "--seeds", "1"]
    words += ["--budget", "time", "--amount", "0.2", "--out", str(out), "--device", "cpu"]
    assert main(words) == 0
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("manifest.json")}
    clock.slowness = 10.0  # measured anew, the steps would come out different
    assert main(words) == 0
    assert stamps == {p: p.stat().st_mtime_ns for p in out.rglob("manifest.json")}
    (out / "budget.json").write_text("[{}]")
    capsys.readouterr()
    assert main(words) == 2
    assert "budget.json" in capsys.readouterr().err


def test_another_model_joins_a_time_budget_and_another_request_is_measured(
    sudokus, tmp_path, clock
):
    train, asked = read_split(sudokus, "train"), Asked(tmp_path, "cpu")
    trm, one_pass = config("trm-mini"), config("transformer-mini")

    def steps(configs, amount):
        return [c.steps for c in within_budget(configs, train, Spending("time", amount), asked)]

    (first,) = steps([one_pass], 2.0)
    clock.slowness = 4.0
    joined, kept = steps([trm, one_pass], 2.0)
    assert kept == first
    assert joined < first / 2
    assert steps([trm, one_pass], 2.0) == [joined, first]
    assert steps([one_pass], 4.0)[0] < 2 * first


def test_the_first_preset_keeps_the_steps_that_are_the_budget(sudokus, tmp_path, clock, capsys):
    out = tmp_path / "own"
    words = ["--presets", "trm-mini,transformer-mini", "--data", str(sudokus), "--seeds", "1"]
    words += ["--steps", "10", "--budget", "time", "--out", str(out), "--device", "cpu"]
    assert main(["compare", *words]) == 0
    assert read_jsonl(out / "trm-mini-seed0" / "metrics.jsonl")[-1]["step"] == 10
    spent, other = (trained_seconds(out / f"{m}-mini-seed0") for m in ("trm", "transformer"))
    assert other == pytest.approx(spent, abs=(5 * 0.5 + 3) / 2)
    capsys.readouterr()


def test_what_counts_in_steps_keeps_its_part_of_a_shorter_run(sudokus, tmp_path, clock):
    train, asked = read_split(sudokus, "train"), Asked(tmp_path, "cpu")
    speed = config("trm-mlp-speed-mini")
    (short,) = within_budget([speed], train, Spending("time", 0.3), asked)
    assert short.steps < speed.steps
    assert short.ema.start == round(speed.ema.start * short.steps / speed.steps) > 0
    assert short.optimizer.warmup == round(speed.optimizer.warmup * short.steps / speed.steps) > 0
