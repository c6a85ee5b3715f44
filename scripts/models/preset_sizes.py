"""Sizes, cost and recipe of every preset, counted on models that are built (without memory).

python -m scripts.models.preset_sizes      writes what `loopbench presets` shows, after a change
"""

from typing import Any

import torch
from pydantic import ValidationError

from reasoning.model_config import SCALES, ModelConfig
from reasoning.nn.grid import GridShape
from reasoning.nn.reasoner import parameter_count
from reasoning.training.runs import write_json
from scripts.models.grids import puzzle_structure
from scripts.models.lm_models import SIZES
from scripts.models.lm_presets import describe_language_preset, describe_language_presets
from scripts.models.presets import build_model, preset, preset_names
from scripts.models.registry import LANGUAGE_MODELS, PUZZLE_MODELS
from scripts.terminal.choices import PRESETS_FILE
from scripts.usage import describe


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
    for task, registry, sizes, described_as in kinds:
        for model, point in registry.installed().items():
            for name in (f"{model}-{size}" for size in sizes):
                try:
                    row = described_as(name)
                except Exception as error:  # what a package does is not in our hands
                    refused = isinstance(error, ValidationError)
                    reason = describe(error) if refused else f"{error or type(error)}"
                    row = {"preset": name, "task": task, "error": reason}
                described.append(row | {"package": point.dist.name, "model": point.value})
    return described


def _net_calls(model: ModelConfig) -> str | None:
    """Of a segment."""
    most = model.most_net_calls()
    if most is None:
        return None
    return str(most) if model.solver_settings() is None else f"up to {most}"


if __name__ == "__main__":
    write_json(PRESETS_FILE, describe_presets())
