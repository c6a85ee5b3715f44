"""`train --loss.jacobian`: the regularised map, told in the log, resumed exactly."""

import json
import shutil

import pytest

from scripts.cli import main


def train(data, out, *words) -> int:
    given = ("train", "--data", data, "--out", out, "--device", "cpu", *words)
    return main([str(word) for word in given])


@pytest.mark.parametrize(
    "words",
    [("--preset", "trm-mini"), ("--preset", "attractor-mini", "--model.solve-for", "z")],
)
def test_a_model_without_a_map_is_refused(words, sudokus, tmp_path, capsys):
    out = tmp_path / "run"
    assert train(sudokus, out, *words, "--loss.jacobian", "0.1") == 2
    assert "loss.jacobian" in capsys.readouterr().err
    assert not out.exists()


def test_a_run_tells_its_energy_and_resumes_exactly(sudokus, tmp_path):
    words = ("--preset", "attractor-mini", "--loss.jacobian", "0.5", "--steps", "4")
    words += ("--log-every", "1", "--checkpoint-every", "2", "--evaluate-every", "4")
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    assert train(sudokus, whole, *words) == 0
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    trained = [line for line in lines if line["split"] == "train"]
    assert all(line["jacobian_energy"] > 0 for line in trained)
    total = [
        line["cell_loss"] + 0.5 * line["halting_loss"] + 0.5 * line["jacobian_energy"]
        for line in trained
    ]
    assert [line["loss"] for line in trained] == pytest.approx(total, rel=1e-5)
    assert train(sudokus, halved, *words) == 0
    shutil.rmtree(halved / "checkpoints" / "step-00000004")  # as if stopped after step 2
    assert main(["train", "--resume", str(halved)]) == 0
    assert (halved / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
