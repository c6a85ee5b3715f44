"""`loopbench train --for`: the run that was planned is a run like any other."""

import json

import pytest

from reasoning.training import deadline
from reasoning.training.runs import read_jsonl
from scripts.cli import main
from scripts.runs.recorded import load_config

WORDS = ("--preset", "attractor-mini", "--device", "cpu", "--evaluate-puzzles", "4")


def test_a_run_to_a_deadline_is_the_run_of_as_many_steps(sudokus, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(deadline, "LONGEST", 0.3)
    monkeypatch.setattr(deadline.Costs, "steps_in", lambda costs, seconds, config: 5)
    words = ["train", *WORDS, "--data", str(sudokus)]
    planned, counted = tmp_path / "planned", tmp_path / "counted"
    assert main([*words, "--out", str(planned), "--for", "10m"]) == 0
    config, _ = load_config(planned)
    record = json.loads((planned / "config.json").read_text())["deadline"]
    assert record["steps"] == config.steps == 5
    assert 0 < record["left"] < record["seconds"] == 600
    assert "5 steps are to end 600 s" in capsys.readouterr().err
    assert read_jsonl(planned / "metrics.jsonl")[-1]["step"] == config.steps

    same = ["--steps", str(config.steps)]
    same += ["--optimizer.warmup", str(config.optimizer.warmup)]
    assert main([*words, "--out", str(counted), *same]) == 0
    logs = [(run / "metrics.jsonl").read_bytes() for run in (planned, counted)]
    assert logs[0] == logs[1]
    assert main(["train", "--resume", str(planned)]) == 0


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--for", "2"], "write 2h"),
        (["--for", "2h", "--steps", "5"], "--for and --steps"),
        (["--for", "0.001s"], "no step fits into 0.001 s"),
    ],
)
def test_refusals(sudokus, tmp_path, capsys, more, part):
    out = tmp_path / "run"
    assert main(["train", *WORDS, "--data", str(sudokus), "--out", str(out), *more]) == 2
    said = capsys.readouterr().err
    assert part in said
    assert said.count("\n") == 1
    assert not (out / "config.json").exists()
