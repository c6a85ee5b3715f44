"""Who may import whom: the house's one architectural rule, read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"reasoning", "puzzles", "baselines", "scripts"}
ALLOWED = {
    "puzzles": {"puzzles"},
    "reasoning": {"reasoning"},
    "baselines": {"baselines", "reasoning"},
    "scripts": OURS,
}
# Inside reasoning: the bottom knows nothing above it.
BOTTOM = {
    "reasoning/fixed_point": ("reasoning.fixed_point", "reasoning.precision"),
    "reasoning/frozen.py": (),
    "reasoning/precision.py": (),
    "reasoning/nn/layers.py": ("reasoning.precision", "reasoning.randomness"),
    "reasoning/losses.py": ("reasoning.frozen", "reasoning.precision"),
    "reasoning/randomness.py": (),
    "reasoning/supervision.py": ("reasoning.frozen", "reasoning.losses", "reasoning.randomness"),
}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return names


@pytest.mark.parametrize("package", sorted(OURS))
def test_a_package_imports_only_what_it_may(package):
    for path in (ROOT / package).rglob("*.py"):
        tops = {name.split(".")[0] for name in imported(path)} & OURS
        assert tops <= ALLOWED[package], f"{path} imports {tops - ALLOWED[package]}"


def test_puzzles_know_nothing_of_torch():
    for path in (ROOT / "puzzles").rglob("*.py"):
        assert "torch" not in {name.split(".")[0] for name in imported(path)}, path


@pytest.mark.parametrize("place", sorted(BOTTOM))
def test_the_bottom_of_reasoning_imports_nothing_above(place):
    target = ROOT / place
    for path in target.rglob("*.py") if target.is_dir() else [target]:
        ours = {name for name in imported(path) if name.split(".")[0] == "reasoning"}
        assert all(name.startswith(BOTTOM[place]) for name in ours), f"{path}: {ours}"


def test_training_sees_models_only_through_the_protocol():
    models = {"reasoning.attractor", "reasoning.nn.reasoner"}
    for path in (ROOT / "reasoning" / "training").rglob("*.py"):
        assert not imported(path) & models, path


def test_pretraining_sees_models_only_through_the_protocol():
    models = {"reasoning.attractor_lm", "reasoning.nn.language", "reasoning.nn.causal"}
    for path in (ROOT / "reasoning" / "pretraining").rglob("*.py"):
        assert not imported(path) & models, path
