"""The reliability programme at toy size, and that it would notice what it looks for."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from reasoning.records import sha256_of
from reasoning.training.checkpoints import list_checkpoints
from scripts.studies.reliability import CURVE, main, table
from scripts.studies.run_contents import contents, differing, same
from scripts.studies.small_disk import small_disk
from scripts.terminal.guard import run_guarded

ROOT = Path(__file__).parents[2]


def test_a_killed_run_goes_on_as_if_nothing_had_been_and_is_on_record(
    tmp_path, capsys, monkeypatch
):
    words = ["--out", str(tmp_path / "r"), "--kills", "1", "--parts", "puzzle"]
    first = [sys.executable, "-m", "scripts.studies.reliability", *words, "--steps", "20"]
    done = subprocess.run(first, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("puzzle, 0: held\n| trial")
    assert "equal byte for byte | 1 of 1 |" in done.stdout
    (found,) = json.loads((tmp_path / "r" / "results.json").read_text())["puzzle"].values()
    assert found["exit"] == 0
    assert found["differing"] == []
    monkeypatch.setattr("scripts.studies.reliability.start", None)  # nothing is left to do
    assert run_guarded(main, [*words, "--steps", "20"]) == 0
    assert capsys.readouterr().out == done.stdout.partition("\n")[2]
    assert run_guarded(main, [*words, "--steps", "30"]) == 2
    assert "is of --steps 20" in capsys.readouterr().err


@pytest.fixture
def pair(trained, tmp_path):
    """A run and its copy."""
    return trained, shutil.copytree(trained, tmp_path / "copy")


def test_every_part_of_a_run_that_differs_is_named(pair):
    run, copy = pair
    assert differing("puzzle", copy, run) == []
    last = list_checkpoints(copy)[-1]
    state = torch.load(last / "state.pt", weights_only=True)
    found = set()
    for name, change in (
        ("carry", lambda: state["state"][0].view(torch.uint8).view(-1)[0].add_(1)),
        ("position in the data", lambda: state["puzzle"][0].view(-1)[0].add_(1)),
        ("random numbers", lambda: state["rng"][0]["cpu"][0].add_(1)),
        ("optimiser", lambda: _first_tensor(state["optimizers"]).view(-1)[0].add_(1)),
    ):
        change()
        torch.save(state, last / "state.pt")
        _sign(last)
        found.add(name)
        assert set(differing("puzzle", copy, run)) == found
    for name, file in (("weights", "weights"), ("average", "ema")):
        tensors = load_file(last / f"{file}.safetensors")
        next(iter(tensors.values())).view(-1)[0].add_(1)
        save_file(tensors, last / f"{file}.safetensors")
        _sign(last)
        found.add(name)
        assert set(differing("puzzle", copy, run)) == found
    with (copy / "metrics.jsonl").open("a") as file:
        file.write("\n")
    (copy / "left").touch()
    assert set(differing("puzzle", copy, run)) == found | {"metrics", "files"}
    assert set(contents("puzzle", run)) == found | {"metrics", "files"}


def _first_tensor(nest):
    if isinstance(nest, torch.Tensor):
        return nest if nest.numel() and nest.is_floating_point() else None
    parts = nest.values() if isinstance(nest, dict) else nest if isinstance(nest, list) else ()
    return next((t for t in map(_first_tensor, parts) if t is not None), None)


def _sign(checkpoint: Path) -> None:
    """Make a changed checkpoint count as whole."""
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["sha256"] = {name: sha256_of(checkpoint / name) for name in manifest["sha256"]}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


def test_sameness_is_of_bits():
    nan = torch.tensor([float("nan"), 0.0])
    assert same({"a": [nan, 1]}, {"a": [nan.clone(), 1]})
    assert not same(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not same(torch.zeros(2), torch.zeros(2, dtype=torch.float64))
    assert not same(torch.zeros(2, 1), torch.zeros(1, 2))
    assert not same([1], [1, 2])
    assert not same({"a": 1}, {"b": 1})
    assert not same(1, 1.0)


def test_the_table_counts_what_held_and_what_did_not():
    kill = {"step": 10, "checkpoints": 0, "in_a_checkpoint": False, "held": True}
    kills = {"0": kill, "1": kill | {"step": 90, "checkpoints": 2, "held": False}}
    full = {"a shard": {"disk": "tmpfs", "exit": 2, "held": True}}
    apart = {"1": 0.0, "2": 2 * CURVE, "1, micro-batches": 1e-7}
    curves = {"puzzle": {"apart": apart, "first_apart": 1e-7, "held": False}}
    results = {"steps": 100, "puzzle": kills, "disk": full, "processes": curves}
    rows = table(results).splitlines()[2:]
    assert [row.split("|")[2].strip() for row in rows] == ["1 of 2", "1 of 1", "0 of 1"]
    assert "at steps 10 to 90 of 100, 1 before the first checkpoint" in rows[0]
    assert "2.0e-02 apart" in rows[2]


def test_where_mounting_is_not_permitted_the_files_are_limited(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")  # nor is there a mount to ask
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "left").touch()  # by one that was killed
    with small_disk(folder) as disk:
        assert disk.how == "RLIMIT_FSIZE"
        assert list(folder.iterdir()) == []
    assert not folder.exists()


@pytest.mark.parametrize("words", [["--kills", "0"], ["--steps", "15"], ["--parts", "tape"]])
def test_bad_words_are_refused(words, tmp_path, capsys):
    assert run_guarded(main, ["--out", str(tmp_path / "r"), *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "r").exists()
