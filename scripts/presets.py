"""Named presets `<model>-<scale>`, the configuration of a run, and how a model is built from it.

Scales: `mini` (seconds, tests), `cpu` (the quickstart: minutes on two cores), `7m` and `27m` (the
published sizes and recipe). Grid, vocabulary and length come from the data folder, so one preset
serves every puzzle.
"""

from collections.abc import Callable, Sequence
from json import dumps
from typing import Annotated, Any

import torch
from pydantic import Field
from rich.console import Console
from rich.table import Table
from torch import nn

from baselines.hrm import HRM, HRMConfig
from baselines.transformer import Transformer, TransformerConfig
from baselines.trm import TRM, TRMConfig
from reasoning.attractor import Attractor, AttractorConfig, GradientConfig
from reasoning.losses import LossConfig
from reasoning.nn.grid import GridShape
from reasoning.nn.reasoner import parameter_count
from reasoning.supervision import Stage, SupervisionConfig
from reasoning.training.config import EMAConfig, OptimizerConfig, TrainingConfig
from scripts.usage import parse

ModelConfig = Annotated[
    AttractorConfig | TRMConfig | HRMConfig | TransformerConfig, Field(discriminator="kind")
]
_MODELS: dict[type, Callable[[Any, GridShape], nn.Module]] = {
    AttractorConfig: Attractor,
    TRMConfig: TRM,
    HRMConfig: HRM,
    TransformerConfig: Transformer,
}


class RunConfig(TrainingConfig):
    """A training run: a model and how it is trained."""

    preset: str = Field(description="the preset this configuration started from")
    data: str = Field("", description="data folder")
    model: ModelConfig = Field(description="the model")


def build_model(config: RunConfig, shape: GridShape) -> nn.Module:
    """The model of a configuration, its weights drawn from the run's seed (on the CPU)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return _MODELS[type(config.model)](config.model, shape)


MODELS = ("attractor", "trm", "trm-mlp", "hrm", "transformer")
SCALES = ("mini", "cpu", "7m", "27m")

# Widths and layers of each scale; SwiGLU widths round to 32 where 256 would swamp a small net.
_SIZES = {
    "mini": {"width": 32, "layers": 1, "heads": 2, "multiple": 32, "puzzle_tokens": 1},
    "cpu": {"width": 64, "layers": 2, "heads": 4, "multiple": 32, "puzzle_tokens": 1},
    "7m": {"width": 512, "layers": 2},
    "27m": {"width": 512, "layers": 8},
}
# What leaves the plateau ("copy the givens, guess the rest") at this size: few segments at first,
# and in each no more depth than the gradient sees. The Attractor starts with no solver evaluations,
# so that its phantom steps backpropagate from the carry; TRM starts with its last cycle alone.
# They then make 6 and 4 calls of the net a segment, and 12 and 8 in the last quarter.
_CURRICULA = {
    "attractor": (
        Stage(until=0.18, segments=1, evaluations=0),
        Stage(until=0.45, segments=2, evaluations=0),
        Stage(until=0.75, segments=4, evaluations=0),
        Stage(until=1.0, segments=8),
    ),
    "trm": (
        Stage(until=0.18, segments=1, cycles=1),
        Stage(until=0.45, segments=2, cycles=1),
        Stage(until=0.75, segments=4, cycles=1),
        Stage(until=1.0, segments=8),
    ),
}
_CURRICULA["trm-mlp"] = _CURRICULA["hrm"] = _CURRICULA["trm"]


def _published(model: str) -> dict[str, Any]:
    """TRM's recipe, 50k epochs of 1000 puzzles at batch 768, or HRM's, 20k epochs at 384."""
    if model == "hrm":
        return {
            "steps": 52_083,
            "batch": 384,
            "supervision": SupervisionConfig(segments=16),
            "optimizer": OptimizerConfig(lr=7e-5),
            "ema": EMAConfig(decay=0.999),
        }
    return {
        "steps": 65_104,
        "batch": 768,
        "supervision": SupervisionConfig(segments=16),
        "optimizer": OptimizerConfig(),
        "ema": EMAConfig(decay=0.999),
    }


def _small(scale: str, model: str) -> dict[str, Any]:
    """A recipe for minutes on two cores: AdamW decaying to zero and a curriculum of depth."""
    mini = scale == "mini"
    supervision = SupervisionConfig(segments=16, curriculum=_CURRICULA.get(model, ()))
    return {
        "steps": 60 if mini else 1600,
        "batch": 16 if mini else 64,
        "log_every": 5 if mini else 20,
        "evaluate_every": 30 if mini else 400,
        "evaluate_puzzles": 128,
        "checkpoint_every": 30 if mini else 200,
        "supervision": supervision,
        "loss": LossConfig(cells="softmax"),
        "optimizer": OptimizerConfig(
            name="adamw",
            lr=4e-3,
            weight_decay=0.1,
            warmup=10 if mini else 50,
            schedule="cosine",
            clip=1.0,
            embedding_lr=1e-3,
            embedding_weight_decay=0.1,
        ),
        "ema": EMAConfig(decay=0.99, warmup=True),
    }


def _model(name: str, scale: str, puzzle: str) -> ModelConfig:
    size = dict(_SIZES[scale])
    small = scale in ("mini", "cpu")
    if small:
        size["positions"] = "learned"
    # TRM's paper: n 6 for sudoku, 4 for mazes.
    steps = 4 if puzzle == "maze" else 6
    match name:
        case "trm":
            loops = {"cycles": 2, "inner_steps": 3} if small else {"inner_steps": steps}
            return TRMConfig(**size, **loops)
        case "trm-mlp":
            loops = {"cycles": 2, "inner_steps": 3} if small else {"inner_steps": steps}
            return TRMConfig(**size | {"mixer": "mlp", "positions": "none"}, **loops)
        case "hrm":
            # Two nets share the layers of the scale.
            size["layers"] = max(1, size["layers"] // 2)
            size["puzzle_tokens"] = 1
            return HRMConfig(**size)
        case "transformer":
            return TransformerConfig(**size)
        case "attractor":
            # Damped phantom steps: without damping the map learns to swing between two states of
            # which only every second is an answer, and no fixed point is there to be found.
            inner, damped = (1 if small else 2), GradientConfig(steps=3, damping=0.5)
            return AttractorConfig(**size, inner_steps=inner, gradient=damped)
    raise AssertionError(name)


def preset_names() -> list[str]:
    """Every preset, scales grouped."""
    return [f"{model}-{scale}" for scale in SCALES for model in MODELS]


def preset(name: str, puzzle: str = "sudoku") -> RunConfig:
    """A preset's configuration for a kind of puzzle. ValueError, with the names, if unknown."""
    model, _, scale = name.rpartition("-")
    if model not in MODELS or scale not in SCALES:
        raise ValueError(f"no preset is called {name!r}; there are {', '.join(preset_names())}")
    if model == "trm-mlp" and puzzle == "maze":
        raise ValueError("trm-mlp serves sudoku only (a token mixer of 900 cells): use trm")
    one_pass = model == "transformer"
    recipe = _small(scale, model) if scale in ("mini", "cpu") else _published(model)
    if model == "hrm":
        q_learning = {"halting": "q-learning"}
        recipe["supervision"] = recipe["supervision"].model_copy(update=q_learning)
    if one_pass:
        recipe["supervision"] = SupervisionConfig(segments=1, exploration=0.0)
    return RunConfig(preset=name, model=_model(model, scale, puzzle), **recipe)


def describe_preset(name: str) -> dict[str, Any]:
    """A preset's sizes, cost and recipe, as `loopbench presets` shows them."""
    config = preset(name)
    model = config.model
    counts = {}
    for kind, shape in (("sudoku_9x9", GridShape(81, 11)), ("maze_30x30", GridShape(900, 6))):
        served = kind == "sudoku_9x9" or not name.startswith("trm-mlp")
        with torch.device("meta"):
            counts[kind] = parameter_count(build_model(config, shape)) if served else None
    match model:
        case AttractorConfig():
            most = model.solver.max_evaluations + model.gradient.forward_steps
            calls = f"up to {most * (model.inner_steps + 1)}"
        case TRMConfig() | HRMConfig():
            calls = str(model.cycles * (model.inner_steps + 1))
        case _:
            calls = "1"
    optimizer = config.optimizer
    recipe = f"{optimizer.name} {optimizer.lr:g}, batch {config.batch}, {config.steps} steps"
    return {
        "preset": name,
        "parameters": counts,
        "layers": model.layers,
        "width": model.width,
        "segments": config.supervision.segments,
        "net_calls_per_segment": calls,
        "recipe": recipe,
    }


def show_presets(json: bool = False) -> None:
    """List the presets: parameters (puzzle embedding apart), sizes, cost of a segment, recipe.

    Args:
        json: print JSON, every field in full.
    """
    described = [describe_preset(name) for name in preset_names()]
    if json:
        print(dumps(described, indent=2))
        return
    table = Table(title="presets")
    right = {"9x9 sudoku", "30x30 maze", "layers", "width", "segments", "net calls/segment"}
    for heading in (
        "preset",
        "9x9 sudoku",
        "30x30 maze",
        "layers",
        "width",
        "segments",
        "net calls/segment",
        "recipe",
    ):
        table.add_column(heading, justify="right" if heading in right else "left")
    for row in described:
        counts = ["-" if n is None else f"{n:,}" for n in row["parameters"].values()]
        numbers = (row[k] for k in ("layers", "width", "segments", "net_calls_per_segment"))
        table.add_row(row["preset"], *counts, *map(str, numbers), row["recipe"])
    Console(width=max(120, Console().width)).print(table)


def main(words: Sequence[str]) -> int:
    parse(show_presets, words, "loopbench presets")()
    return 0
