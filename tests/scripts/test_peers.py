"""`loopbench bench --parts peers`: what is said of a solver is what it did, seen with stand-ins."""

import json
import sys
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import torch

from reasoning.attractor import Attractor, AttractorConfig
from reasoning.fixed_point import Anderson
from scripts.cli import main
from scripts.models.grids import grid_shape
from scripts.models.presets import preset
from scripts.timing import peer_folder, peer_jax, peers
from scripts.timing.clocks import Clock
from scripts.timing.measures import sudokus
from scripts.timing.peer_maps import attractor, linear
from scripts.timing.peer_process import Failed, started
from scripts.timing.peers import Found, Ours

CPU = torch.device("cpu")
SHORT = Clock(CPU, seconds=0.0, least=1, warmup=0)

# Of the real entry what is called, solved by plain steps: to a tolerance that the slowest sample of
# the batch meets, backward through its last step alone.
TORCHDEQ = """
import torch


class DEQ(torch.nn.Module):
    def __init__(self, f_solver, f_max_iter, f_tol, f_stop_mode, **backward):
        super().__init__()
        assert f_solver in ("anderson", "broyden", "fixed_point_iter") and f_stop_mode == "rel"
        self.most, self.tolerance = f_max_iter, f_tol

    def forward(self, f, start, solver_kwargs):
        w = start
        with torch.no_grad():
            for _ in range(self.most - 1):
                image = f(*w)
                apart = [(a - b).flatten(1).norm(dim=1) for a, b in zip(image, w)]
                size = [b.flatten(1).norm(dim=1) for b in image]
                w = image
                if all((a <= self.tolerance * b).all() for a, b in zip(apart, size)):
                    break
        return [f(*w)], {}


def get_deq(**settings):
    return DEQ(**settings)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder as pip makes it, with a stand-in for torchdeq and nothing else."""
    made = tmp_path / "peers"
    (made / "torchdeq").mkdir(parents=True)
    (made / "torchdeq" / "__init__.py").write_text(TORCHDEQ)
    (made / "torchdeq-0.1.0.dist-info").mkdir()
    about = "Metadata-Version: 2.1\nName: torchdeq\nVersion: 0.1.0\n"
    (made / "torchdeq-0.1.0.dist-info" / "METADATA").write_text(about)
    monkeypatch.delitem(sys.modules, "torchdeq", raising=False)
    yield made
    sys.modules.pop("torchdeq", None)


def exact(problem):
    """The linear map's fixed points, by a direct solve."""
    weight = problem.module.weight.detach()
    return torch.linalg.solve(torch.eye(len(weight)) - weight, problem.x, left=False)


class Liar:
    """Says it is done at once; or stops within a tolerance times `factor`."""

    def __init__(self, factor):
        self.factor = factor

    def solve(self, problem, tolerance):
        # (1 + e) w* has residual e |(A - 1) w*| / |w*|, within [0.1 e, 1.9 e] at radius 0.9.
        return Found((exact(problem) * (1 + self.factor * tolerance),), 1, len(problem.x))

    def run(self, problem, tolerance):
        self.solve(problem, tolerance)

    def gradient(self, problem, tolerance):
        raise Failed("it has none")


def test_what_is_within_a_tolerance_is_computed_and_not_believed():
    problem = linear(3, CPU)
    rivals = {"ours: Anderson": Ours(Anderson), "good": Liar(0.5), "bad": Liar(20.0)}
    rows = {(r["solver"], r["tolerance"]): r for r in peers.compare_on(problem, rivals, SHORT)}
    assert rows["good", 1e-3]["reached"] == 1
    assert rows["bad", 1e-3]["reached"] == 0
    assert "seconds" not in rows["bad", 1e-3]
    ours = rows["ours: Anderson", 1e-5]
    assert ours["reached"] == 1
    assert ours["largest_residual"] <= 1.05e-5
    assert ours["times_ours"] == 1
    assert ours["batch_change"] < 1e-12
    assert rows["good", 1e-3]["gradient_failed"] == "it has none"
    good, mine = rows["good", 1e-3], rows["ours: Anderson", 1e-3]
    assert good["times_ours"] == pytest.approx(good["seconds"] / mine["seconds"])


def test_the_reference_gradient_is_that_of_a_direct_solve():
    problem = linear(2, CPU, radius=0.8)
    few, found = peers.firm(problem)
    x = few.x.double().requires_grad_()
    weight = few.module.weight.detach().double().requires_grad_()
    eye = torch.eye(len(weight), dtype=torch.float64)
    w = torch.linalg.solve(eye - weight, x, left=False)
    (v,) = peer_jax.directions([w])
    by_x, by_weight = torch.autograd.grad((w * torch.from_numpy(v)).sum(), [x, weight])
    torch.testing.assert_close(
        found, torch.cat([by_x.flatten(), by_weight.flatten()]), rtol=1e-6, atol=1e-6
    )
    mine = Ours(Anderson).gradient(few, 1e-5)
    assert (mine - found).norm() < 1e-4 * found.norm()
    assert (Ours(Anderson).gradient(few, 0.3) - found).norm() > 1e-3 * found.norm()


def test_maps_for_jax_are_those_of_torch():
    config = preset("attractor-mini").model
    changes = {"mixer": "mlp", "mixer_norm": "tokens", "puzzle_tokens": 0, "inner_steps": 2}
    config = AttractorConfig.model_validate(config.model_dump() | changes)
    model = Attractor(config, grid_shape(sudokus(4, 1)))
    for problem in (attractor("x", model, 4, 2, CPU), linear(2, CPU)):
        arrays = problem.arrays()
        map_of = peer_jax.MAPS[arrays["kind"].item()]
        start = [arrays[f"w{i}"] for i in range(len(problem.start))]
        with torch.no_grad():
            image = problem.of(slice(None))(problem.start)
        for row in range(2):
            given = {name: part for name, part in arrays.items() if name not in ("x", "w0", "w1")}
            found = map_of(tuple(part[row] for part in start), arrays["x"][row], given, np)
            for a, b in zip(found, image, strict=True):
                np.testing.assert_allclose(a, b[row].numpy(), rtol=1e-4, atol=1e-5)


def test_the_command_compares_with_a_folder_given(folder, tmp_path, monkeypatch, capsys):
    small = replace(linear(2, CPU, radius=0.5), name="small")
    small.start[0][1] = 0.99 * exact(small)[1]  # the second sample needs fewer steps than the first
    monkeypatch.setattr(peers, "problems", lambda batch, device: [small])
    file = tmp_path / "speed.json"
    words = ["bench", "--quick", "--device", "cpu", "--seconds", "0.001", "--parts", "peers"]
    assert main([*words, "--peers", str(folder), "--json", str(file)]) == 0
    said = capsys.readouterr().out
    assert "without optimistix: it is not in" in said
    record = json.loads(file.read_text())
    assert record["peer_versions"] == {"torchdeq": "0.1.0"}
    assert list(record["peers_missing"]) == ["optimistix"]
    rows = {(r["solver"], r["tolerance"]): r for r in record["peers"]}
    assert len(rows) == 10  # two of ours and three of torchdeq's, at two tolerances
    for (solver, tolerance), row in rows.items():
        assert row["map"] == "small"
        assert row["reached"] == 1, solver
        assert row["largest_residual"] <= 1.05 * tolerance
        assert row["times_ours"] > 0
        assert (row["batch_change"] < 1e-12) == solver.startswith("ours")
        # The stand-in's gradient stops after one step.
        assert (row["gradient_error"] < 1e-2) == solver.startswith("ours")
        assert f"{solver}"[:8] in said
    assert str(folder) not in sys.path


def test_without_peers_nothing_is_measured(tmp_path, monkeypatch, capsys):
    def refused(folder, words):
        assert words == peer_folder.TORCHDEQ
        return "No matching distribution found for torchdeq==0.1.0"

    monkeypatch.setattr(peer_folder, "_install", refused)
    assert main(["bench", "--quick", "--parts", "training", "peers"]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "No matching distribution" in said.err
    assert "--peers DIR" in said.err
    assert "training steps" not in said.out
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    assert main(["bench", "--quick", "--parts", "peers", "--peers", str(tmp_path / "other")]) == 2
    assert "torchdeq is not in it" in capsys.readouterr().err
    assert main(["bench", "--quick", "--parts", "training", "--peers", str(tmp_path)]) == 2
    assert "--parts peers" in capsys.readouterr().err


def test_pip_says_why_it_cannot_install(tmp_path):
    said = peer_folder._install(tmp_path, ("--no-index", "torchdeq==0.1.0"))
    assert "torchdeq" in said


# Of jax, optimistix and lineax what the process calls, in numpy; no gradients.
JAX = """
import contextlib
import numpy as np
import jax.numpy

block_until_ready = jit = lambda given: given
enable_x64 = lambda enabled: contextlib.nullcontext()


def vmap(f, axes):
    assert axes == (None, 0, 0)

    def mapped(weights, x, start):
        made = [f(weights, x[i], tuple(part[i] for part in start)) for i in range(len(x))]
        values, steps = zip(*made)
        return tuple(np.stack(parts) for parts in zip(*values)), np.array(steps)

    return mapped


def grad(f, at):
    def refused(*given):
        raise RuntimeError("Traceback\\nSolverError: a stagnation\\nfor more, ask again")

    return refused
"""
OPTIMISTIX = """
from types import SimpleNamespace


class FixedPointIteration(SimpleNamespace):
    pass


class ImplicitAdjoint(SimpleNamespace):
    pass


def rms_norm(state):
    return (sum((part**2).sum() for part in state) / sum(part.size for part in state)) ** 0.5


def fixed_point(f, solver, y, args, max_steps, adjoint, throw):
    for step in range(1, max_steps + 1):
        image = f(y, args)
        new = tuple((1 - solver.damp) * a + solver.damp * b for a, b in zip(image, y))
        size = solver.norm(tuple(a - b for a, b in zip(new, y)))
        y = new
        if size < solver.atol:
            break
    return SimpleNamespace(value=y, stats={"num_steps": step})
"""


@pytest.fixture
def numpys_jax(tmp_path):
    for name, text in {
        "jax/__init__.py": JAX,
        "jax/numpy.py": "from numpy import *",
        "optimistix.py": OPTIMISTIX,
        "lineax.py": "from types import SimpleNamespace as GMRES",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_another_process_solves_the_same_problem(numpys_jax):
    problem = linear(3, CPU, radius=0.5)
    problem.start[0][1] = 0.99 * exact(problem)[1]
    with started(numpys_jax, 64, 1e-6) as jax:
        found = jax.solve(problem, 1e-4)
        assert (problem.residuals(found.value) < 1e-4).all()
        assert found.value[0].dtype == torch.float32
        (alone,) = jax.solve(problem.rows(slice(1, 2)), 1e-4).value
        assert torch.equal(alone[0], found.value[0][1])
        wide = jax.solve(problem.double(), 1e-9)
        assert wide.value[0].dtype == torch.float64
        assert found.calls < wide.calls < 64
        assert wide.rows == 3 * wide.calls
        assert jax.solve(problem, 1e-30).calls == 64
        with pytest.raises(Failed, match=r"^a stagnation$"):
            jax.gradient(problem, 1e-4)
        jax.run(problem, 1e-4)  # it goes on


def test_a_process_that_ends_says_why_and_is_left_out(numpys_jax):
    (numpys_jax / "jax" / "__init__.py").write_text("raise ImportError('built for another CPU')")
    there = peer_folder.Peers(numpys_jax, {}, {})
    with ExitStack() as stack, pytest.warns(UserWarning, match="built for another CPU"):
        assert peers._optimistix(there, stack) is None
    assert "built for another CPU" in there.missing["optimistix"]
