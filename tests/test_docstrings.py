"""A function of more than three arguments explains each: its docstring names it as a word."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("baselines", "puzzles", "reasoning", "scripts")
FILES = [
    path.relative_to(ROOT).as_posix()
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
]
MOST = 3  # arguments that a function's name and types may explain
Function = ast.FunctionDef | ast.AsyncFunctionDef

SEGMENT = ("reasoning/supervision.py", "SegmentModel.segment")
LANGUAGE = ("reasoning/pretraining/protocol.py", "LanguageModel.forward")
DIFFICULTY = ("puzzles/puzzle.py", "Puzzle.difficulty")
# What fills in a method of a protocol or base, which explains the arguments; its own docstring says
# what it does with them.
ELSEWHERE = {
    ("baselines/controls.py", "AttractorReset.segment"): SEGMENT,
    ("baselines/hrm.py", "HRM.segment"): SEGMENT,
    ("baselines/transformer.py", "Transformer.segment"): SEGMENT,
    ("baselines/trm.py", "TRM.segment"): SEGMENT,
    ("reasoning/attractor.py", "Attractor.segment"): SEGMENT,
    ("baselines/deq.py", "DEQ.forward"): LANGUAGE,
    ("baselines/gpt.py", "GPT.forward"): LANGUAGE,
    ("baselines/parcae.py", "Parcae.forward"): LANGUAGE,
    ("reasoning/attractor_lm.py", "AttractorLM.forward"): LANGUAGE,
    ("puzzles/maze/puzzle.py", "Maze.difficulty"): DIFFICULTY,
    ("puzzles/sudoku/puzzle.py", "Sudoku.difficulty"): DIFFICULTY,
    ("puzzles/maze/puzzle.py", "Maze.draw"): ("puzzles/puzzle.py", "Puzzle.draw"),
}


def functions(body: list[ast.stmt], within: str = "") -> Iterator[tuple[str, Function]]:
    """Functions and methods by name, those nested in a function apart."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from functions(node.body, f"{within}{node.name}.")
        elif isinstance(node, Function):
            yield within + node.name, node


def public(file: str) -> dict[str, Function]:
    found = functions(ast.parse((ROOT / file).read_text()).body)
    return {name: node for name, node in found if not node.name.startswith("_")}


def explained(file: str) -> dict[str, Function]:
    """The public functions, and in scripts the others that have a docstring."""
    if not file.startswith("scripts/"):
        return public(file)
    found = functions(ast.parse((ROOT / file).read_text()).body)
    return public(file) | {name: node for name, node in found if ast.get_docstring(node)}


def arguments(function: Function) -> list[str]:
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def unexplained(names: list[str], function: Function) -> list[str]:
    """Those of the names that are no word of the function's docstring."""
    text = ast.get_docstring(function) or ""
    return [name for name in names if not re.search(rf"\b{name.rstrip('_')}\b", text)]


@pytest.mark.parametrize("file", FILES)
def test_a_docstring_names_each_of_many_arguments(file):
    for name, function in explained(file).items():
        names = arguments(function)
        if len(names) > MOST and (file, name) not in ELSEWHERE:
            missing = unexplained(names, function)
            assert not missing, f"{file}:{function.lineno} {name} leaves out {', '.join(missing)}"


@pytest.mark.parametrize(("here", "there"), ELSEWHERE.items(), ids=lambda place: place[1])
def test_arguments_that_are_explained_elsewhere_are(here, there):
    names = arguments(public(here[0])[here[1]])
    assert not unexplained(names, public(there[0])[there[1]])
    assert unexplained(names, public(here[0])[here[1]]), f"{here}: take it off the list"
