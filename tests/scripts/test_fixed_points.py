"""`reproduce fixed-point`: what is measured of a trained map, against dense linear algebra and
against a record of `evaluate`."""

import json
from pathlib import Path

import pytest
import torch

from puzzles.dataset import read_split
from reasoning.randomness import content_seeds
from reasoning.supervision import Depth
from reasoning.training.distribution import join_world
from scripts.cli import main
from scripts.runs.session import open_run
from scripts.studies import fixed_points

WORDS = ["reproduce", "fixed-point", "--scale", "mini", "--steps", "8", "--device", "cpu"]


@pytest.fixture(scope="module")
def out(sudokus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fixed") / "points"
    words = [*WORDS, "--seeds", "1", "--data", str(sudokus), "--out", str(folder)]
    assert main([*words, "--only", "as it is", "Jacobian 1", "TRM"]) == 0
    return folder


@pytest.fixture(scope="module")
def groups(out):
    return json.loads((out / "fixed-point.json").read_text())


def test_rows_have_equal_flops_and_a_map_where_they_seek_a_fixed_point(groups):
    assert list(groups) == ["as it is", "Jacobian 1", "TRM"]
    runs = [group["runs"][0] for group in groups.values()]
    plain, regularised, trm = (run["cost"]["flops"] / run["cost"]["net_calls"] for run in runs)
    assert regularised > 1.5 * plain > 1.4 * trm  # the term's own products are counted
    assert runs[1]["cost"]["net_calls"] < runs[0]["cost"]["net_calls"]
    of_the_map = {"radius", "norm", "solved_exact", "evaluations_1e-3", "converged_1e-5"}
    assert of_the_map <= runs[0].keys()
    assert of_the_map.isdisjoint(runs[2])
    assert {"longer_exact", "at_rest"} <= runs[2].keys()


def test_the_jacobian_is_that_of_dense_linear_algebra(out, groups, sudokus, monkeypatch):
    (described,) = groups["as it is"]["runs"]
    run = open_run(Path(described["run"]), join_world("cpu"))
    puzzles = read_split(sudokus, "test")
    monkeypatch.setattr(fixed_points, "_PROBED", 1)
    monkeypatch.setattr(fixed_points, "_POWER_STEPS", 200)
    told = fixed_points._jacobian(run, puzzles, join_world("cpu"))

    inputs = torch.from_numpy(puzzles.inputs[:1]).long()
    ids, seeds = torch.zeros(1, dtype=torch.int64), content_seeds(inputs, 0)
    state = run.model.initial_state(1, seeds)
    with torch.no_grad():
        for _ in range(16):
            state = run.model.segment(state, inputs, ids, Depth(), seeds).state
    x = run.model.embedding(inputs, ids).detach()
    shapes = [part.shape for part in state]

    def f(flat: torch.Tensor) -> torch.Tensor:
        y, z = (p.view(s) for p, s in zip(flat.chunk(2), shapes, strict=True))
        z = run.model.net(z, y + x)  # n = 1
        return torch.cat([run.model.net(y, z).flatten(), z.flatten()])

    point = torch.cat([part.flatten() for part in state])
    dense = torch.autograd.functional.jacobian(f, point, vectorize=True).double()
    assert told["norm"]["mean"] == pytest.approx(
        float(torch.linalg.matrix_norm(dense, 2)), rel=0.02
    )
    radius = float(torch.linalg.eigvals(dense).abs().max())
    assert told["radius"]["mean"] == pytest.approx(radius, rel=0.05)


def test_a_single_solve_is_what_evaluate_finds(out, groups, sudokus, tmp_path):
    (described,) = groups["as it is"]["runs"]
    words = ["evaluate", described["run"], "--data", str(sudokus), "--segments", "1"]
    words += ["--evaluations", "64", "--tolerance", "1e-3", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "single")]) == 0
    (path,) = (tmp_path / "single").glob("*.json")
    record = json.loads(path.read_text())["diagnostics"]
    assert described["evaluations_1e-3"]["mean"] == pytest.approx(record["evaluations"][-1])
    assert described["converged_1e-3"]["mean"] == pytest.approx(record["converged"][-1])


def test_it_can_be_recorded_and_told_again(out, groups, sudokus, tmp_path, capsys):
    record = ["record", str(out / "fixed-point.json"), "--name", "points", "--command", "it"]
    assert main([*record, "--into", str(tmp_path)]) == 0
    recorded = json.loads((tmp_path / "points.json").read_text())
    values = recorded["arms"][0]["runs"][0]["values"]
    assert values["radius"]["mean"] == groups["as it is"]["runs"][0]["radius"]["mean"]
    assert "| as it is | 1 |" in (out / "fixed-point.md").read_text()
    capsys.readouterr()


def test_a_row_alone_gets_the_steps_that_it_has_in_the_table(out, groups, sudokus, tmp_path):
    words = [*WORDS, "--seeds", "1", "--data", str(sudokus), "--only", "Jacobian 1"]
    assert main([*words, "--out", str(tmp_path / "alone")]) == 0
    alone = json.loads((tmp_path / "alone" / "fixed-point.json").read_text())
    runs = [table["Jacobian 1"]["runs"][0] for table in (alone, groups)]
    assert runs[0]["cost"]["flops"] == runs[1]["cost"]["flops"]
