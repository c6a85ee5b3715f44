"""`loopbench import-released` end to end: a released file becomes a run that answers puzzles."""

import json

import pytest
import released_oracle as oracle
import torch
import yaml

from reasoning.supervision import Depth
from reasoning.training.distribution import join_world
from scripts.cli import main
from scripts.runs.session import open_run

SIZE = {"width": 32, "vocabulary": 6, "inner": 256}
SYSTEMS = {
    "hrm": (("H_level", "L_level"), {}),
    "trm": (("L_level",), {}),
    "eqr": (("L_level",), {"length": 16, "inner_t": 256, "puzzles": 0}),
}
DEPTH = ["--cycles", "1", "--inner-steps", "2"]


@pytest.fixture
def released(tmp_path):
    """Writes a system's file with its prefixes; returns its path and the tensors."""

    def write(system):
        levels, sizes = SYSTEMS[system]
        weights = oracle.random_state(levels, 1, **SIZE, **sizes)
        path = tmp_path / f"{system}.pt"
        torch.save({f"_orig_mod.model.inner.{k}": v for k, v in weights.items()}, path)
        return path, weights

    return write


def refused(capsys, words, *parts):
    assert main([str(word) for word in words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(part in said for part in parts), said


@pytest.mark.parametrize("system", SYSTEMS)
def test_an_imported_run_is_evaluated_and_solves(system, released, sudokus, tmp_path, capsys):
    path, _ = released(system)
    run = tmp_path / "run"
    words = ["import-released", str(path), "--model", system, "--out", str(run)]
    assert main([*words, "--cells", "16", "--heads", "2", *DEPTH]) == 0
    said = capsys.readouterr().out
    assert "sudoku of size 4" in said
    assert ("H_init, L_init" in said) == (system == "eqr")
    record = json.loads((run / "config.json").read_text())
    assert record["config"]["preset"] == f"{system}-released"
    assert record["config"]["supervision"]["halting"] == (
        "q-learning" if system == "hrm" else "halt"
    )
    assert record["released"]["file"] == path.name

    assert main(["evaluate", str(run), "--data", str(sudokus), "--device", "cpu"]) == 0
    evaluation = json.loads((run / "evaluation-sudoku4.json").read_text())
    assert evaluation["metrics"]["exact"]["n"] == 20
    assert evaluation["segments"] == 16
    capsys.readouterr()
    assert main(["solve", str(run), "1...  ..3.  .4..  ...2", "--device", "cpu"]) in (0, 1)
    assert "net calls" in capsys.readouterr().out
    refused(capsys, ["train", "--resume", run], "imported weights", "nothing to resume")
    refused(capsys, [*words, "--cells", 16], "already holds a run")


ARCH = {
    "name": "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1", "halt_max_steps": 3,
    "H_cycles": 1, "L_cycles": 2, "L_layers": 1, "H_layers": 0, "hidden_size": 32, "num_heads": 2,
    "expansion": 4, "puzzle_emb_ndim": 32, "puzzle_emb_len": 16, "pos_encodings": "rope",
    "mlp_t": False,
}  # fmt: skip


def test_every_setting_is_told_and_recorded_with_who_says_it(released, sudokus, tmp_path, capsys):
    path, _ = released("trm")
    words = ["import-released", str(path), "--model", "trm", "--cells", "16", "--out"]
    assert main([*words, str(tmp_path / "plain")]) == 0
    said = capsys.readouterr().out
    assert (
        "no all_config.yaml beside the file; assumed, as published: heads 8, puzzle_tokens" in said
    )
    for setting in ("positions rope", "cycles 3", "inner_steps 6", "rope_theta 10000"):
        assert setting in said.split("as published: ")[1]

    path.with_name("all_config.yaml").write_text(yaml.dump({"arch": ARCH}))
    run = tmp_path / "stated"
    assert main([*words, str(run), "--heads", "1"]) == 0
    said = capsys.readouterr().out
    assert "by option: cells 16, heads 1 (for 2)" in said
    assert "by all_config.yaml: puzzle_tokens 16, positions rope, cycles 1, inner_steps 2" in said
    assert "assumed, as published: rope_theta 10000, rms_norm_eps 1e-05" in said
    record = json.loads((run / "config.json").read_text())
    assert record["config"]["supervision"]["segments"] == 3
    assert record["released"]["settings"]["cycles"] == {
        "value": 1,
        "source": "all_config.yaml",
        "other": None,
    }
    path.with_name("all_config.yaml").write_text(yaml.dump({"arch": ARCH | {"gates": 2}}))
    refused(capsys, [*words, tmp_path / "none"], "all_config.yaml", "gates")


def test_an_imported_run_answers_as_the_published_module(released, tmp_path):
    path, weights = released("trm")
    run = tmp_path / "run"
    words = ["import-released", str(path), "--model", "trm", "--out", str(run), "--cells", "16"]
    assert main([*words, "--heads", "1", *DEPTH]) == 0
    model = open_run(run, join_world("cpu")).model
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randint(1, 6, (2, 16), generator=generator)
    ids = torch.zeros(2, dtype=torch.int64)
    with torch.no_grad():
        x = oracle.embed(weights, inputs, ids, 16)
        y, z = oracle.trm_segment(weights, *oracle.start(weights, 2, 32), x, 1, 1, 2)
        output = model.segment(model.initial_state(2), inputs, ids, Depth())
    logits, q = oracle.read(weights, y, 16)
    torch.testing.assert_close(output.logits, logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(output.q, q, rtol=0, atol=1e-5)
    torch.testing.assert_close(output.state, (y, z), rtol=0, atol=1e-5)


def test_the_kind_follows_from_the_tensors_or_is_given(released, tmp_path, capsys):
    path, _ = released("hrm")
    for more, grid in (
        ([], {"kind": "maze", "size": 30, "cells": 900, "vocabulary": 6, "puzzles": 1}),
        (["--kind", "maze", "--cells", "16"], {"kind": "maze", "size": 4, "cells": 16}),
    ):
        run = tmp_path / f"run{len(more)}"
        assert main(["import-released", str(path), "--model", "hrm", "--out", str(run), *more]) == 0
        assert json.loads((run / "config.json").read_text())["grid"].items() >= grid.items()
    capsys.readouterr()
    words = ["import-released", path, "--model", "hrm", "--out", tmp_path / "none"]
    refused(capsys, [*words, "--kind", "sudoku"], "--kind sudoku", "900 cells", "--cells")
    refused(capsys, [*words, "--cells", "17"], "seq_len 17")
    refused(capsys, [*words, "--hedas", "2"], "--heads")
    refused(capsys, [*words[:3], "trm", *words[4:]], "holds H_level", "hrm.pt")
    assert not (tmp_path / "none").exists()


def test_imported_runs_are_rows_of_their_own(released, sudokus, tmp_path, capsys):
    path, _ = released("trm")
    runs, out = [tmp_path / "plain", tmp_path / "deeper"], tmp_path / "table"
    sizes = ["--cells", "16", "--heads", "2"]
    for run, depth in zip(runs, (DEPTH, ["--cycles", "2", "--inner-steps", "2"]), strict=True):
        words = ["import-released", str(path), "--model", "trm", "--out", str(run)]
        assert main([*words, *sizes, *depth]) == 0
    words = ["compare", *map(str, runs), "--out", str(out)]
    capsys.readouterr()
    refused(capsys, words, "plain", "--data")
    assert main([*words, "--data", str(sudokus)]) == 0
    groups = json.loads((out / "comparison.json").read_text())
    assert list(groups) == ["trm-released plain", "trm-released deeper"]
    assert not (out / "curves.png").exists()
