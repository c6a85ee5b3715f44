"""`loopbench train --start`: a run that begins with the averaged weights of another."""

import json
import shutil

import pytest
import torch

from puzzles import sources
from puzzles.dataset import write_dataset
from reasoning.training.checkpoints import load_weights
from reasoning.training.distribution import join_world
from reasoning.training.loop import Trainer
from reasoning.training.runs import RunError, begun_with, read_jsonl
from scripts.cli import main
from scripts.models.grids import grid_shape
from scripts.models.presets import build_model
from scripts.reports.curves import run_curve
from scripts.runs.data import read_puzzles
from scripts.runs.pretrained import load_packaged
from scripts.runs.recorded import load_config

WORDS = ("train", "--preset", "attractor-axial-mini", "--device", "cpu")


@pytest.fixture(scope="module")
def first(mazes, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "first"
    assert main([*WORDS, "--data", str(mazes), "--out", str(run), "--steps", "6"]) == 0
    return run


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "maze9"
    write_dataset(folder, *sources.maze("unique", 9, train=20, test=4, seed=0))
    return folder


@pytest.fixture
def begun_from(larger, tmp_path, monkeypatch):
    """What a run on the larger mazes holds before its first step, and its record of the start."""

    def begin(start):
        begun, run = {}, tmp_path / "run"

        def seen(trainer):
            begun.update({k: v.clone() for k, v in trainer.model.state_dict().items()})
            raise SystemExit

        words = [*WORDS, "--data", str(larger), "--out", str(run), "--start", str(start)]
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "train", seen)
            with pytest.raises(SystemExit):
                main(words)
        return begun, json.loads((run / "config.json").read_text())["started_from"]

    return begin


@pytest.fixture
def killed_or_not(tmp_path, dies_at):
    """A run by these words; killed at step 3 and resumed it is the same."""

    def both(words):
        whole, killed = tmp_path / "whole", tmp_path / "killed"
        assert main([*words, "--out", str(whole)]) == 0
        with dies_at(Trainer, 3):
            main([*words, "--out", str(killed)])
        assert main(["train", "--resume", str(killed)]) == 0
        assert (killed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
        return whole

    return both


def test_it_begins_with_the_average_of_the_other(first, larger, begun_from):
    begun, record = begun_from(first)
    model = build_model(load_config(first)[0], grid_shape(read_puzzles(larger, "train")))
    assert load_weights(first, model) == 6
    assert begun.keys() == model.state_dict().keys()
    assert all(torch.equal(begun[k], v) for k, v in model.state_dict().items())
    assert record == {"run": str(first), "step": 6}


def test_it_begins_with_packaged_weights(first, mazes, larger, begun_from, tmp_path, killed_or_not):
    assert main(["package", str(first), "--data", str(mazes), "--out", str(tmp_path)]) == 0
    (file,) = tmp_path.glob("*.safetensors")
    begun, record = begun_from(file)
    packaged = load_packaged(file, join_world("cpu")).model.state_dict()
    assert begun.keys() == packaged.keys()
    assert all(torch.equal(begun[name], packaged[name]) for name in packaged)
    assert record == {"run": str(file), "step": 6}

    whole = killed_or_not([*WORDS, "--data", str(larger), "--steps", "6", "--start", str(file)])
    with pytest.raises(RunError, match=f"began with {file.name}, whose training's cost"):
        run_curve("whole", whole)


def test_stopped_before_its_first_checkpoint_it_begins_there_again(first, larger, killed_or_not):
    words = [*WORDS, "--data", str(larger), "--steps", "6", "--checkpoint-every", "5"]
    whole = killed_or_not([*words, "--start", str(first)])
    assert read_jsonl(whole / "metrics.jsonl")[-1]["step"] == 6


def test_begun_again_it_does_not_take_newer_weights(first, larger, tmp_path, dies_at, capsys):
    start, run = tmp_path / "first", tmp_path / "run"
    shutil.copytree(first, start)
    words = [*WORDS, "--data", str(larger), "--out", str(run), "--steps", "6"]
    with dies_at(Trainer, 3):
        main([*words, "--checkpoint-every", "5", "--start", str(start)])
    (newest,) = (start / "checkpoints").iterdir()
    later = newest.rename(newest.with_name(newest.name.replace("6", "8")))
    manifest = json.loads((later / "manifest.json").read_text()) | {"step": 8}
    (later / "manifest.json").write_text(json.dumps(manifest))
    assert main(["train", "--resume", str(run)]) == 2
    assert "began with step 6 of" in capsys.readouterr().err


def test_begun_again_from_elsewhere_it_finds_what_it_began_with(
    first, larger, tmp_path, dies_at, monkeypatch
):
    shutil.copytree(first, tmp_path / "first")
    monkeypatch.chdir(tmp_path)
    words = [*WORDS, "--data", str(larger), "--steps", "6", "--start", "first", "--out", "killed"]
    with dies_at(Trainer, 3):
        main([*words, "--checkpoint-every", "5"])
    monkeypatch.chdir(larger)
    assert main(["train", "--resume", str(tmp_path / "killed")]) == 0
    shutil.rmtree(tmp_path / "killed" / "checkpoints")
    (tmp_path / "first").rename(tmp_path / "moved")
    with pytest.raises(RunError, match="began with first, which is no longer there"):
        begun_with(tmp_path / "killed")


def test_weights_that_do_not_fit_are_refused(first, sudokus, tmp_path, capsys):
    run = tmp_path / "run"
    assert main([*WORDS, "--data", str(sudokus), "--out", str(run), "--start", str(first)]) == 2
    said = capsys.readouterr().err
    assert "does not fit this model" in said
    assert said.count("\n") == 1
    assert not run.exists()
    for missing in (tmp_path / "missing", tmp_path / "missing.safetensors"):
        words = [*WORDS, "--data", str(sudokus), "--out", str(run), "--start", str(missing)]
        assert main(words) == 2
        assert str(missing) in capsys.readouterr().err
