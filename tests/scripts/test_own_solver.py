"""The solver and the gradient of reasoning/README.md, as they stand there: solved, trained with."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch

from reasoning.fixed_point import solve
from reasoning.solver_config import GradientConfig, SolverConfig
from scripts.cli import main

PAGE = (Path(__file__).parents[2] / "reasoning" / "README.md").read_text()
SECTION = PAGE.split("## A solver and a gradient of your own\n")[1]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with heavy.py, as it stands on the page."""
    (code,) = re.findall(r"```python\n(.*?)```", SECTION, flags=re.DOTALL)
    (tmp_path / "heavy.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    yield tmp_path
    sys.modules.pop("heavy", None)


def test_the_pages_solver_finds_it_and_its_samples_leave_the_batch(place):
    from heavy import HeavyBall

    torch.manual_seed(0)
    weight = 0.2 * torch.rand(4, 4, dtype=torch.float64)  # rows sum to less than 1
    x = torch.rand(3, 4, dtype=torch.float64)
    exact = torch.linalg.solve(torch.eye(4, dtype=torch.float64) - weight, x.mT).mT
    start = torch.zeros_like(x)
    start[0] = exact[0]  # at rest at once: the map is asked of the others alone
    asked = []

    def of(rows):
        asked.append(len(rows))
        return lambda z: z @ weight.mT + x[rows]

    found = solve(of(torch.arange(3)), start, HeavyBall(1e-12, 500, 0), restrict=of)
    torch.testing.assert_close(found.value, exact, rtol=1e-9, atol=1e-9)
    assert found.evaluations[0] == 1
    assert asked[:2] == [3, 2]


def test_the_pages_commands_train_with_them(place, sudokus, capsys):
    commands = re.findall(r"^loopbench (train .*)$", SECTION, flags=re.MULTILINE)
    assert len(commands) == 2
    kinds = {}
    for line in commands:
        words = line.replace("attractor-cpu", "attractor-mini").split()
        words[words.index("data")] = str(sudokus)
        assert main([*words, "--steps", "2", "--device", "cpu"]) == 0, capsys.readouterr().err
        run = Path(words[words.index("--out") + 1])
        kinds[run.name] = json.loads((run / "config.json").read_text())["config"]["model"]
        assert main(["evaluate", str(run), "--data", str(sudokus), "--device", "cpu"]) == 0
    assert kinds["run"]["solver"]["kind"] == "heavy:HeavyBall"
    assert kinds["run2"]["gradient"]["kind"] == "heavy:Fading"


def test_what_is_no_solver_is_refused_while_settings_are_read(place):
    for kind, part in (
        ("andersen", "anderson, picard"),
        ("heavy:Fading", "derived from reasoning.fixed_point.Iteration"),
        ("heavy:None", "cannot be imported"),
        ("nowhere:Solver", "No module named 'nowhere'"),
    ):
        with pytest.raises(ValueError, match=part):
            SolverConfig(kind=kind)
    with pytest.raises(ValueError, match="never forms"):
        GradientConfig(kind="heavy:Fading", clip=1.0)
    with pytest.raises(ValueError, match=r"derived from reasoning.fixed_point.Gradient"):
        GradientConfig(kind="heavy:HeavyBall")


def test_a_class_that_cannot_be_made_is_told_by_its_path(place):
    (place / "unmade.py").write_text(
        "from heavy import HeavyBall, Fading\n"
        "class Undecorated(HeavyBall):\n    mixing: float = 0.3\n"
        "class OwnInit(HeavyBall):\n    def __init__(self, tolerance): pass\n"
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\nclass Failing(Fading):\n"
        "    def __post_init__(self): raise OSError('no file')\n"
    )
    for kind, part in (
        ("Undecorated", r"unmade:Undecorated: has fields, so decorate it with @dataclass"),
        ("OwnInit", r"unmade:OwnInit: cannot be made .*early_exit"),
    ):
        with pytest.raises(ValueError, match=part):
            SolverConfig(kind=f"unmade:{kind}")
    with pytest.raises(ValueError, match=r"unmade:Failing: cannot be made .*OSError: no file"):
        GradientConfig(kind="unmade:Failing")
    del sys.modules["unmade"]


def test_settings_reach_the_fields_that_a_class_has(place):
    (place / "mixed.py").write_text(
        "from dataclasses import dataclass\n"
        "from reasoning.fixed_point import Anderson, Phantom\n"
        "@dataclass(frozen=True)\nclass Solver(Anderson): pass\n"
        "@dataclass(frozen=True)\nclass Gradient(Phantom): pass\n"
    )
    solver = SolverConfig(kind="mixed:Solver", window=3, mixing=0.5, damping=0.7, tolerance=0.1)
    assert (solver.build().window, solver.build().mixing, solver.build().tolerance) == (3, 0.5, 0.1)
    gradient = GradientConfig(kind="mixed:Gradient", steps=4, damping=0.3)
    assert (gradient.build().steps, gradient.build().damping) == (4, 0.3)
    assert (gradient.forward_steps, gradient.passes()) == (4, (4, 4))
    del sys.modules["mixed"]
