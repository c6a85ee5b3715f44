"""`loopbench presets`: every preset of puzzles and of language with its size, cost and recipe, or
one of them as YAML."""

from collections.abc import Sequence
from json import dumps
from typing import Annotated, Any, Literal

import torch
import tyro
from rich.console import Console
from rich.table import Table

from baselines.hrm import HRMConfig
from baselines.trm import TRMConfig
from reasoning.attractor import AttractorConfig
from reasoning.nn.grid import GridShape
from reasoning.nn.reasoner import parameter_count
from scripts.config_files import to_yaml
from scripts.lm_models import LANGUAGE_MODELS
from scripts.lm_presets import describe_language_presets, language_preset
from scripts.presets import ModelConfig, build_model, preset, preset_names
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
    model, optimizer = config.model, config.optimizer
    rate = optimizer.muon_lr if optimizer.name == "muon" else optimizer.lr
    recipe = f"{optimizer.name} {rate:g}, batch {config.batch}, {config.steps} steps"
    return {
        "preset": name,
        "task": "puzzles",
        "parameters": counts,
        "layers": model.layers,
        "width": model.width,
        "segments": config.supervision.segments,
        "net_calls_per_segment": calls,
        "recipe": recipe,
    }


def _net_calls(model: ModelConfig) -> str:
    """Of a segment."""
    match model:
        case AttractorConfig():
            most = model.solver.max_evaluations + model.gradient.forward_steps
            joint, sweep = most * (model.inner_steps + 1), most * model.inner_steps + 1
            return f"up to {joint if model.solve_for == 'joint' else model.sweeps * sweep}"
        case TRMConfig() | HRMConfig():
            return str(model.cycles * (model.inner_steps + 1))
        case _:
            return "1"


def show_presets(json: bool = False) -> None:
    """List the presets: parameters, sizes, cost, recipe. Those of puzzles are for `loopbench
    train`, their parameters without the puzzle embedding, their net calls of sudoku / mazes where
    these differ; those of language for `loopbench pretrain`, at a vocabulary of 32,768.

    Args:
        json: print JSON, every field in full; `task` tells puzzles' presets from language's.
    """
    puzzles = [describe_preset(name) for name in preset_names()]
    language = describe_language_presets()
    if json:
        print(dumps([*puzzles, *language], indent=2))
        return
    console = Console(width=max(120, Console().width))
    console.print(_puzzle_table(puzzles))
    console.print(_language_table(language))


def _table(title: str, headings: Sequence[str], words: set[str]) -> Table:
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in words else "right")
    return table


def _puzzle_table(described: Sequence[dict[str, Any]]) -> Table:
    headings = ("preset", "9x9 sudoku", "30x30 maze", "layers", "width", "segments")
    table = _table("presets", (*headings, "net calls/segment", "recipe"), {"preset", "recipe"})
    for row in described:
        counts = ["-" if n is None else f"{n:,}" for n in row["parameters"].values()]
        sizes = (str(row[k]) for k in ("layers", "width", "segments"))
        calls = dict.fromkeys(c for c in row["net_calls_per_segment"].values() if c)
        table.add_row(row["preset"], *counts, *sizes, " / ".join(calls), row["recipe"])
    return table


def _language_table(described: Sequence[dict[str, Any]]) -> Table:
    headings = ("preset", "parameters", "in matmuls", "width", "layers", "repeated", "tokens")
    table = _table("language presets", (*headings, "recipe"), {"preset", "recipe"})
    for row in described:
        counts = (f"{row[name]:,}" for name in ("parameters", "matmul_parameters"))
        sizes = (str(row[name]) for name in ("width", "layers", "core_layers"))
        table.add_row(row["preset"], *counts, *sizes, f"{row['tokens']:.3g}", row["recipe"])
    return table


def show_preset(
    name: Annotated[str, tyro.conf.Positional],
    task: Literal["sudoku", "maze", "language"] | None = None,
) -> None:
    """Print a preset as YAML, for `train --config FILE` or `pretrain --config FILE`.

    Args:
        name: its name.
        task: what for; none: sudokus, or language where no preset of puzzles has that name.
    """
    of_puzzles = preset_names()
    if task == "language" or (task is None and name not in of_puzzles and name in LANGUAGE_MODELS):
        config = language_preset(name)
    else:
        config = preset(name, task or "sudoku")
    print(to_yaml(config), end="")


def main(words: Sequence[str]) -> int:
    if words and not words[0].startswith("-"):
        parse(show_preset, words, "loopbench presets")()
        return 0
    parse(show_presets, words, "loopbench presets")()
    return 0
