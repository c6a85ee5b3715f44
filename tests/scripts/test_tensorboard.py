"""`--tensorboard`: the run's own numbers, once each, resumed runs included."""

import json
import sys

import pytest

from reasoning.training.loop import Trainer
from scripts.cli import main
from scripts.terminal import extras


def logged(run):
    """The points of the log: name to {step: value}, each step once."""
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="needs the extra `tensorboard`",
    )
    read = event_accumulator.EventAccumulator(str(run / "tensorboard"))
    read.Reload()
    found = {}
    for name in read.Tags()["scalars"]:
        points = read.Scalars(name)
        assert len({point.step for point in points}) == len(points)
        found[name] = {point.step: point.value for point in points}
    return found


def test_a_killed_and_resumed_run_logs_its_metrics_once_each(sudokus, tmp_path, dies_at):
    pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")
    run = tmp_path / "run"
    words = ["train", "--preset", "transformer-mini", "--data", str(sudokus), "--out", str(run)]
    words += ["--steps", "20", "--checkpoint-every", "5", "--evaluate-every", "10"]
    with dies_at(Trainer, 13):
        main([*words, "--device", "cpu", "--tensorboard"])
    assert main(["train", "--resume", str(run), "--tensorboard"]) == 0
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = logged(run)
    for split, name, of in (
        ("train", "loss", lambda line: line["loss"]),
        ("test", "exact", lambda line: line["exact"]["mean"]),
    ):
        expected = {line["step"]: of(line) for line in lines if line["split"] == split}
        assert found[f"{split}/{name}"] == pytest.approx(expected)


def test_without_the_package_it_is_refused_before_a_step(sudokus, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    run = tmp_path / "run"
    words = ["train", "--preset", "transformer-mini", "--data", str(sudokus), "--out", str(run)]
    assert main([*words, "--steps", "5", "--device", "cpu", "--tensorboard"]) == 2
    assert "pip install 'loopbench[tensorboard]'" in capsys.readouterr().err
    assert not run.exists()


def test_it_is_not_loaded_unless_asked(sudokus, tmp_path):
    sys.modules.pop("torch.utils.tensorboard", None)
    run = tmp_path / "run"
    words = ["train", "--preset", "transformer-mini", "--data", str(sudokus), "--out", str(run)]
    assert main([*words, "--steps", "5", "--device", "cpu"]) == 0
    assert "torch.utils.tensorboard" not in sys.modules
    assert not (run / "tensorboard").exists()
