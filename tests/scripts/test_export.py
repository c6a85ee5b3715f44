"""Exported programs: equal to the model under onnxruntime and torch.export, told what they are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from puzzles.dataset import read_split
from reasoning.nn.grid import GridShape
from reasoning.supervision import Depth, infer
from reasoning.training.distribution import join_world
from scripts.cli import main
from scripts.exchange import export
from scripts.exchange.export import Compared, compare
from scripts.exchange.exported import programs
from scripts.models.grids import puzzle_structure
from scripts.models.presets import RunConfig, build_model, preset
from scripts.runs.session import open_run
from scripts.terminal import extras
from scripts.usage import UsageError

SUDOKU = GridShape(16, 6, 2, *puzzle_structure("sudoku", 4))
MAZE = GridShape(25, 6, 2, *puzzle_structure("maze", 5))
ONE = {"solver": {"max_evaluations": 1}, "gradient": {"steps": 1, "damping": 0.5}}
SHORT = {"cycles": 1, "inner_steps": 1}
FIELDS = {"fields": "digits", "mixer": "relations", "norm": "pre", "halting_from": "mean"}
# One of every model but the Attractor (see `trained` below), and between them every mixer, position
# encoding and solver.
MODELS = {
    "attractor-reset": (SUDOKU, ONE | FIELDS | {"puzzle_tokens": 0, "positions": "none"}),
    "attractor-z": (MAZE, {"solver": {"kind": "picard", "max_evaluations": 1}, "sweeps": 1}),
    "trm-mlp": (SUDOKU, SHORT | {"normalise_product": True}),
    "trm-axial": (SUDOKU, SHORT | {"heads": 3, "width": 24, "states": 1}),
    "trm-digits": (SUDOKU, SHORT),
    "transformer-axial": (MAZE, {"update_damping": 0.1}),
    "two-step": (SUDOKU, SHORT | {"positions": "rope"}),
    "hrm": (SUDOKU, SHORT),
}


def small_model(name: str):
    """A model with fresh weights, its halting head's drawn too, which begin at zero."""
    shape, changes = MODELS[name]
    kind = "maze" if shape is MAZE else "sudoku"
    values = preset(f"{name}-mini", kind, shape.cells).model_dump()
    for key, value in changes.items():
        whole = isinstance(value, dict) and isinstance(values["model"][key], dict)
        values["model"][key] = values["model"][key] | value if whole else value
    model = build_model(RunConfig.model_validate(values), shape).eval()
    torch.manual_seed(1)
    torch.nn.init.normal_(model.heads.q_head.weight)
    return model


def onnx_calls(model):
    pytest.importorskip("onnxscript", reason="needs the extra `export`")
    from scripts.exchange.exported_onnx import DECOMPOSITIONS, session, to_onnx

    running = {name: session(to_onnx(p)) for name, p in programs(model, DECOMPOSITIONS).items()}
    return {
        name: lambda given, run=run: run({key: value.numpy() for key, value in given.items()})
        for name, run in running.items()
    }


@pytest.mark.parametrize("name", sorted(MODELS))
def test_onnxruntime_computes_what_the_model_does(name):
    model = small_model(name)
    compared = compare(model, onnx_calls(model), segments=2)
    assert max(compared.map, compared.heads, compared.segment, compared.solve) <= 1e-5


@pytest.mark.parametrize(
    ("segment", "rounding", "told"),
    [(9e-6, 0.0, False), (2e-5, 0.0, True), (2e-5, 1.1e-5, False), (2e-4, 1.0, True)],
)
def test_a_segment_may_differ_by_what_its_rounding_does(segment, rounding, told):
    compared = Compared(0.0, 0.0, segment, rounding, 0.0, 1.0)
    assert (compared.too_far() is not None) == told
    assert Compared(2e-5, 0.0, 0.0, rounding, 0.0, 1.0).too_far() is not None


def test_a_difference_is_seen():
    """Another model's programs, and values that are no numbers."""
    model, other = small_model("hrm"), small_model("hrm")
    with torch.no_grad():
        other.heads.lm_head.weight[0, 0] += 1e-3
    traced = programs(other)
    modules = {name: program.traced.module() for name, program in traced.items()}
    calls = {
        name: lambda given, name=name: modules[name](*(given[k] for k in traced[name].inputs))
        for name in modules
    }
    compared = compare(model, calls, segments=2)
    assert compared.map < 1e-5 < min(compared.heads, compared.segment, compared.solve)
    with torch.no_grad():
        other.heads.lm_head.weight[0, 0] = torch.nan
    assert compare(model, calls, segments=1).heads == np.inf


def test_elimination_solves_small_positive_definite_systems():
    pytest.importorskip("onnxscript", reason="needs the extra `export`")
    from scripts.exchange.exported_onnx import _eliminate

    rng = np.random.default_rng(0)
    for size in (1, 2, 5):
        half = rng.normal(size=(7, size, size + 1))
        matrix, right = half @ half.swapaxes(1, 2), rng.normal(size=(7, size))
        found, _ = _eliminate(torch.from_numpy(matrix), torch.from_numpy(right))
        expected = np.linalg.solve(matrix, right[..., None])[..., 0]
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_models_that_draw_random_numbers_are_refused():
    values = preset("trm-mini", "sudoku", 16).model_dump()
    values["model"]["initial"] = "random"
    model = build_model(RunConfig.model_validate(values), SUDOKU)
    with pytest.raises(UsageError, match=r"model\.initial random"):
        programs(model)


def test_a_run_becomes_onnx_that_an_example_solves_with_alone(trained, sudokus, tmp_path, capsys):
    onnx = pytest.importorskip("onnx", reason="needs the extra `export`")
    pytest.importorskip("onnxscript", reason="needs the extra `export`")
    assert main(["export", str(trained), "--to", "onnx", "--out", str(tmp_path)]) == 0
    assert "100 % of the cells answered alike" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "heads.onnx",
        "map.onnx",
        "solve.onnx",
    ]
    read = onnx.load(tmp_path / "solve.onnx")
    onnx.checker.check_model(read, full_check=True)
    assert [node.op_type for node in read.graph.node].count("Loop") == 1
    said = {entry.key: entry.value for entry in read.metadata_props}
    assert said["opset"] == str(read.opset_import[0].version)
    assert {"torch", "onnx", "onnxscript", "onnxruntime", "loopbench", "commit"} <= said.keys()
    assert json.loads(said["config"])["preset"] == "attractor-mini"
    assert max(json.loads(said["difference"])[name] for name in ("map", "heads", "segment")) <= 1e-5
    assert str(Path.cwd()).encode() not in (tmp_path / "solve.onnx").read_bytes()

    # The example: without torch, and without this package's folder in sight.
    run = open_run(trained, join_world("cpu"))
    tokens = torch.from_numpy(read_split(sudokus, "test").inputs[:1]).long()
    last = list(infer(run.model, tokens, torch.zeros(1, dtype=torch.int64), 16, Depth()))[-1]
    puzzle, answer = (
        "".join(said["tokens"][token] for token in row[0])
        for row in (tokens, last.logits.argmax(-1))
    )
    example = Path(export.__file__).with_name("solve_without_torch.py")
    blocked = (
        "import sys, runpy\n"
        "for name in ('torch', 'scripts', 'reasoning', 'puzzles'): sys.modules[name] = None\n"
        "sys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    )
    words = [sys.executable, "-c", blocked, str(example), str(tmp_path / "solve.onnx"), puzzle]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "".join(done.stdout.split()[:4]) == answer
    assert len(example.read_text().splitlines()) <= 40


def test_a_run_becomes_programs_of_torch_export(sudokus, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    words = ["train", "--preset", "two-step-mini", "--data", str(sudokus), "--out", str(run)]
    small = ["--model.cycles", "1", "--model.inner-steps", "1"]
    assert main([*words, *small, "--steps", "2", "--device", "cpu"]) == 0
    assert main(["export", str(run), "--to", "torch", "--out", str(out)]) == 0
    extra = {"loopbench.json": ""}
    solve = torch.export.load(out / "solve.pt2", extra_files=extra)
    said = json.loads(extra["loopbench.json"])
    assert said["inputs"] == ["inputs", "puzzle_ids", "segments"]
    assert (said["task"], said["size"], said["torch"]) == ("sudoku", "4", torch.__version__)
    model = open_run(run, join_world("cpu")).model
    for batch, segments in ((1, 1), (5, 3)):
        puzzle = torch.randint(1, 6, (batch, 16)), torch.zeros(batch, dtype=torch.int64)
        ours = list(infer(model, *puzzle, segments, Depth()))[-1]
        logits, q = solve.module()(*puzzle, torch.tensor(segments))
        assert not logits.requires_grad
        torch.testing.assert_close(logits, ours.logits, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(q, ours.q, rtol=1e-5, atol=1e-5)


def test_nothing_is_written_among_puzzles(trained, sudokus, capsys):
    assert main(["export", str(trained), "--to", "torch", "--out", str(sudokus)]) == 2
    assert "is a folder of puzzles; choose another --out" in capsys.readouterr().err


def test_what_differs_is_not_written(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(export, "_torch", lambda model: ({}, {"map.pt2": None}, {}))
    monkeypatch.setattr(export, "compare", lambda *given: Compared(0.0, 0.0, 2e-5, 0.0, 0.0, 1.0))
    assert main(["export", str(trained), "--to", "torch", "--out", str(tmp_path)]) == 1
    assert "its segment differs by 2e-05" in capsys.readouterr().err
    assert not os.listdir(tmp_path)


def test_a_missing_package_is_named_before_time_is_spent(trained, monkeypatch, capsys):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "onnxscript" else name)
    assert main(["export", str(trained), "--to", "onnx"]) == 2
    error = capsys.readouterr().err
    assert "needs onnxscript" in error
    assert "[export]'" in error
