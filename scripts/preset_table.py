"""`loopbench presets`: every preset of puzzles and of language with its size, cost and recipe."""

from collections.abc import Sequence
from json import dumps
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from reasoning.model_config import SCALES, ModelConfig
from reasoning.nn.grid import GridShape
from reasoning.nn.reasoner import parameter_count
from scripts.lm_models import SIZES
from scripts.lm_presets import describe_language_preset, describe_language_presets
from scripts.presets import build_model, preset, preset_names
from scripts.registry import LANGUAGE_MODELS, PUZZLE_MODELS
from scripts.session import puzzle_structure
from scripts.usage import parse


def describe_preset(name: str) -> dict[str, Any]:
    """A preset's sizes, cost and recipe, as the table shows them."""
    config = preset(name)
    counts: dict[str, int | None] = {}
    calls: dict[str, str | None] = {}
    shapes = {
        "sudoku": GridShape(81, 11, 1, *puzzle_structure("sudoku", 9)),
        "maze": GridShape(900, 6, 1, *puzzle_structure("maze", 30)),
    }
    for (kind, shape), column in zip(shapes.items(), ("sudoku_9x9", "maze_30x30"), strict=True):
        try:
            served = preset(name, kind, shape.cells)
        except ValueError:
            counts[column] = calls[column] = None
            continue
        with torch.device("meta"):
            counts[column] = parameter_count(build_model(served, shape))
        calls[column] = _net_calls(served.model)
    sizes, optimizer = config.model.model_dump(), config.optimizer
    rate = optimizer.muon_lr if optimizer.name == "muon" else optimizer.lr
    recipe = f"{optimizer.name} {rate:g}, batch {config.batch}, {config.steps} steps"
    return {
        "preset": name,
        "task": "puzzles",
        "parameters": counts,
        "layers": sizes.get("layers"),
        "width": sizes.get("width"),
        "segments": config.supervision.segments,
        "net_calls_per_segment": calls,
        "recipe": recipe,
    }


def describe_installed() -> list[dict[str, Any]]:
    """The same of the models of installed packages, with the package; one that cannot be loaded
    has an `error` instead."""
    kinds = (
        ("puzzles", PUZZLE_MODELS, SCALES, describe_preset),
        ("language", LANGUAGE_MODELS, SIZES, describe_language_preset),
    )
    described = []
    for task, registry, sizes, describe in kinds:
        for model, point in registry.installed().items():
            for name in (f"{model}-{size}" for size in sizes):
                try:
                    row = describe(name)
                except Exception as error:  # what a package does is not in our hands
                    row = {"preset": name, "task": task, "error": f"{error or type(error)}"}
                described.append(row | {"package": point.dist.name, "model": point.value})
    return described


def _net_calls(model: ModelConfig) -> str | None:
    """Of a segment."""
    most = model.most_net_calls()
    if most is None:
        return None
    return str(most) if model.solver_settings() is None else f"up to {most}"


def show_presets(json: bool = False) -> None:
    """List the presets: parameters, sizes, cost, recipe. Those of puzzles are for `loopbench
    train`, their parameters without the puzzle embedding, their net calls of sudoku / mazes where
    these differ; those of language for `loopbench pretrain`, at a vocabulary of 32,768. Models that
    installed packages register are listed apart.

    Args:
        json: print JSON, every field in full; `task` tells puzzles' presets from language's.
    """
    puzzles = [describe_preset(name) for name in preset_names()]
    installed = describe_installed()
    language = describe_language_presets()
    if json:
        print(dumps([*puzzles, *installed, *language], indent=2))
        return
    console = Console(width=max(120, Console().width))
    console.print(_puzzle_table("presets", puzzles))
    console.print(_language_table("language presets", language))
    if installed:
        loaded = [row for row in installed if "error" not in row]
        for task, table in (("puzzles", _puzzle_table), ("language", _language_table)):
            if rows := [row for row in loaded if row["task"] == task]:
                console.print(table(f"presets of installed packages: {task}", rows))
        for row in installed:
            said = f"cannot be loaded: {row['error']}" if "error" in row else row["model"]
            console.print(f"{row['preset']}: {row['package']}, {said}", soft_wrap=True)


def _table(title: str, headings: Sequence[str], words: set[str]) -> Table:
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in words else "right")
    return table


def _puzzle_table(title: str, described: Sequence[dict[str, Any]]) -> Table:
    headings = ("preset", "9x9 sudoku", "30x30 maze", "layers", "width", "segments")
    table = _table(title, (*headings, "net calls/segment", "recipe"), {"preset", "recipe"})
    for row in described:
        counts = ["-" if n is None else f"{n:,}" for n in row["parameters"].values()]
        sizes = ("-" if row[k] is None else str(row[k]) for k in ("layers", "width", "segments"))
        calls = dict.fromkeys(c for c in row["net_calls_per_segment"].values() if c)
        table.add_row(row["preset"], *counts, *sizes, " / ".join(calls), row["recipe"])
    return table


def _language_table(title: str, described: Sequence[dict[str, Any]]) -> Table:
    headings = ("preset", "parameters", "in matmuls", "width", "layers", "repeated", "tokens")
    table = _table(title, (*headings, "recipe"), {"preset", "recipe"})
    for row in described:
        counts = (f"{row[name]:,}" for name in ("parameters", "matmul_parameters"))
        sizes = (str(row[name]) for name in ("width", "layers", "core_layers"))
        table.add_row(row["preset"], *counts, *sizes, f"{row['tokens']:.3g}", row["recipe"])
    return table


def main(words: Sequence[str]) -> int:
    parse(show_presets, words, "loopbench presets")()
    return 0
