"""Sizes, cost and recipe of every preset, counted on models that are built (without memory).

python -m scripts.preset_sizes      writes what `loopbench presets` shows, after a change
"""

from typing import Any

import torch

from baselines.hrm import HRMConfig
from baselines.trm import TRMConfig
from reasoning.attractor import AttractorConfig
from reasoning.nn.grid import GridShape
from reasoning.nn.reasoner import parameter_count
from reasoning.training.runs import write_json
from scripts.lm_presets import describe_language_presets
from scripts.preset_table import PRESETS_FILE
from scripts.presets import ModelConfig, build_model, preset, preset_names
from scripts.session import puzzle_structure


def describe_presets() -> list[dict[str, Any]]:
    """Every preset, of puzzles first."""
    return [*map(describe_preset, preset_names()), *describe_language_presets()]


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


if __name__ == "__main__":
    write_json(PRESETS_FILE, describe_presets())
