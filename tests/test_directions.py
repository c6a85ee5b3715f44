"""Who may import whom: the house's one architectural rule, read from the source."""

import ast
import graphlib
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
    "reasoning/errors.py": (),
    "reasoning/fixed_point": ("reasoning.errors", "reasoning.fixed_point", "reasoning.precision"),
    "reasoning/frozen.py": (),
    "reasoning/precision.py": ("reasoning.errors",),
    "reasoning/nn/layers.py": ("reasoning.errors", "reasoning.precision", "reasoning.randomness"),
    "reasoning/loss_config.py": ("reasoning.frozen",),
    "reasoning/language_config.py": (
        "reasoning.errors",
        "reasoning.frozen",
        "reasoning.pretraining.passes",
        "reasoning.solver_config",
    ),
    "reasoning/losses.py": ("reasoning.errors", "reasoning.loss_config", "reasoning.precision"),
    "reasoning/pretraining/passes.py": (),
    "reasoning/randomness.py": ("reasoning.errors",),
    "reasoning/supervision.py": (
        "reasoning.errors",
        "reasoning.losses",
        "reasoning.randomness",
        "reasoning.supervision_config",
    ),
    "reasoning/supervision_config.py": ("reasoning.errors", "reasoning.frozen"),
}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return names


def members(path: Path) -> set[str]:
    """What is imported from modules, which may be modules as well."""
    nodes = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
    return {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}


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


# The rooms of scripts and whose modules each may import, `usage` and `entry` apart.
BELOW = {
    "terminal": set(),
    "reports": {"terminal"},
    "models": {"terminal"},
    "runs": {"terminal", "reports", "models"},
    "exchange": {"terminal", "reports", "models", "runs"},
    "timing": {"terminal", "reports", "models", "runs"},
    "studies": {"terminal", "reports", "models", "runs", "exchange", "timing"},
    "gpu": {"terminal", "reports", "models", "runs", "exchange", "timing", "studies"},
    "commands": {"terminal", "reports", "models", "runs", "exchange", "timing", "studies", "gpu"},
}


@pytest.mark.parametrize("room", sorted(BELOW))
def test_a_room_of_scripts_imports_only_from_below(room):
    for path in (ROOT / "scripts" / room).rglob("*.py"):
        ours = {name for name in imported(path) if name.startswith("scripts.")}
        rooms = {name.split(".")[1] for name in ours} - {"usage", "entry", room}
        assert rooms <= BELOW[room], f"{path} imports {rooms - BELOW[room]}"


def test_every_module_of_scripts_is_in_a_room():
    rooms = {path.name for path in (ROOT / "scripts").iterdir() if path.is_dir()}
    assert rooms - {"__pycache__"} == set(BELOW)
    top = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    old = {"train", "pretrain", "evaluate", "evaluate_lm", "compare", "reproduce"}
    assert top == {"__init__", "__main__", "cli", "entry", "usage"} | old


def test_modules_of_scripts_import_one_another_in_no_circle():
    graph = {}
    for path in (ROOT / "scripts").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = imported(path) | members(path)
    for name in graph:
        graph[name] = (graph[name] & set(graph)) - {name}
    tuple(graphlib.TopologicalSorter(graph).static_order())  # CycleError names the circle


def test_errors_that_a_person_mends_are_of_the_class_that_commands_tell_in_one_line():
    for package in sorted(OURS):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                named = node.exc if isinstance(node, ast.Raise) else None
                raised = named.func if isinstance(named, ast.Call) else named
                bases = node.bases if isinstance(node, ast.ClassDef) else []
                plain = [b.id for b in (raised, *bases) if isinstance(b, ast.Name)]
                assert path.name == "errors.py" or "ValueError" not in plain, path
