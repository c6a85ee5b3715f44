"""Named presets `<model>-<scale>`, the configuration of a run, and how a model is built from it.

Scales: `mini` (seconds, tests), `cpu` (the quickstart: minutes on two cores), `1m` (under a million
parameters: hours on two cores, minutes on a GPU), `7m` and `27m` (the published sizes and recipe).
Grid, vocabulary and length come from the data folder, so one preset serves every puzzle.
"""

from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Field, model_validator
from torch import nn

from baselines.controls import (
    AttractorReset,
    AttractorResetConfig,
    TwoStep,
    TwoStepConfig,
)
from baselines.hrm import HRM, HRMConfig
from baselines.transformer import Transformer, TransformerConfig
from baselines.trm import TRM, TRMConfig
from reasoning.attractor import Attractor, AttractorConfig, GradientConfig, SolverConfig
from reasoning.losses import LossConfig
from reasoning.nn.grid import GridShape
from reasoning.supervision import Stage, SupervisionConfig
from reasoning.training.config import EMAConfig, OptimizerConfig, TrainingConfig, replanned
from scripts.usage import UsageError, unknown_name

ModelConfig = Annotated[
    AttractorConfig
    | TRMConfig
    | HRMConfig
    | TransformerConfig
    | TwoStepConfig
    | AttractorResetConfig,
    Field(discriminator="kind"),
]
_CLASSES: dict[type, Callable[[Any, GridShape], nn.Module]] = {
    AttractorConfig: Attractor,
    TRMConfig: TRM,
    HRMConfig: HRM,
    TransformerConfig: Transformer,
    TwoStepConfig: TwoStep,
    AttractorResetConfig: AttractorReset,
}


class RunConfig(TrainingConfig):
    """A training run: a model and how it is trained."""

    preset: str = Field(description="the preset this configuration started from")
    data: str = Field("", description="data folder")
    model: ModelConfig = Field(description="the model")

    @model_validator(mode="after")
    def _no_segment_is_idle(self):
        if isinstance(self.model, AttractorConfig) and not self.model.gradient.forward_steps:
            own = self.model.solver.max_evaluations
            stages = [stage.evaluations for stage in self.supervision.curriculum]
            if 0 in (own, *stages):
                raise ValueError(
                    f"without solver evaluations a {self.model.gradient.kind} gradient leaves a "
                    "segment's state as it was: give model.solver.max_evaluations and every "
                    "supervision.curriculum stage's evaluations 1 or more"
                )
        return self


def build_model(config: RunConfig, shape: GridShape) -> nn.Module:
    """The model of a configuration, its weights drawn from the run's seed (on the CPU)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return _CLASSES[type(config.model)](config.model, shape)


# Table 2's systems, the speed recipe on two of them, and the controls (`baselines.controls`).
MODELS = (
    "attractor",
    "attractor-mlp",
    "trm",
    "trm-mlp",
    "hrm",
    "transformer",
    "transformer-mlp",
    "attractor-speed",
    "trm-mlp-speed",
    "attractor-axial",
    "trm-axial",
    "transformer-axial",
    "attractor-z",
    "attractor-reset",
    "trm-matched",
    "two-step",
)
SCALES = ("mini", "cpu", "1m", "7m", "27m")

# Widths and layers of each scale; SwiGLU widths round to 32 where 256 would swamp a small net.
_SIZES = {
    "mini": {"width": 32, "layers": 1, "heads": 2, "multiple": 32, "puzzle_tokens": 1},
    "cpu": {"width": 64, "layers": 2, "heads": 4, "multiple": 32, "puzzle_tokens": 1},
    "1m": {"width": 96, "layers": 2, "heads": 6, "multiple": 32, "puzzle_tokens": 1},
    "7m": {"width": 512, "layers": 2},
    "27m": {"width": 512, "layers": 8},
}
SMALL_SCALES = ("mini", "cpu", "1m")
# The released token-mixing block normalises over the tokens it has just mixed.
_MLP = {"mixer": "mlp", "positions": "none", "mixer_norm": "tokens"}
# It mixes by matrices as wide as the grid, and is for grids of no more cells than a state has
# channels (TRM, section 4.5): those of the published width, at every scale.
MOST_MIXED = 512
_PUBLISHED_CELLS = {"sudoku": 81, "maze": 900}
# Which cells see each other is the puzzle's to say, so no position need be learned.
_AXIAL = {
    "mixer": "axial",
    "positions": "none",
    "norm": "pre",
    "puzzle_tokens": 0,
    "halting_from": "mean",
}
# A cell of a maze is related to its neighbours.
_LOCAL = _AXIAL | {"mixer": "local"}


def branch_scale(layers: int) -> float:
    """For a net of so many blocks to begin with branches that add up to its input's variance."""
    return (2 * layers) ** -0.5


def deepened(config: RunConfig, layers: int) -> RunConfig:
    """A small scale's configuration with so many layers, and the recipe that trains eight of them.

    With the preset's own the recursive models learn nothing: cells begin all alike, or the gradient
    explodes (tests/baselines/test_depth.py). Begun scaled, TRM and the Attractor with attention
    unlearn at its rate, and leave the plateau only at about a third of it (baselines/README.md,
    Table 2). Hence half the rate, reached after half of the run.
    """
    values = config.model_dump()
    values["model"] |= {"layers": layers, "branch_scale": branch_scale(layers)}
    values["optimizer"] |= {"lr": config.optimizer.lr / 2, "warmup": config.steps // 2}
    return RunConfig.model_validate(values)


def curriculum(**shallow: int) -> tuple[Stage, ...]:
    """What leaves the plateau ("copy the givens, guess the rest") at the small scales.

    Few segments at first, and in each no more depth than the gradient sees: the Attractor starts
    with no solver evaluations, so that its phantom steps backpropagate from the carry; the others
    start with their last cycle alone. The last quarter runs at full depth.
    """
    return (
        Stage(until=0.18, segments=1, **shallow),
        Stage(until=0.45, segments=2, **shallow),
        Stage(until=0.75, segments=4, **shallow),
        Stage(until=1.0, segments=8),
    )


def _published(model: str) -> dict[str, Any]:
    """TRM's recipe, 50k epochs of 1000 puzzles at batch 768, or HRM's, 20k epochs at 384."""
    if model == "hrm":
        return {
            "steps": 52_083,
            "batch": 384,
            "supervision": SupervisionConfig(segments=16),
            "optimizer": OptimizerConfig(lr=7e-5, embedding_lr=7e-5),
            "ema": EMAConfig(decay=0.999),
        }
    return {
        "steps": 65_104,
        "batch": 768,
        "supervision": SupervisionConfig(segments=16),
        "optimizer": OptimizerConfig(),
        "ema": EMAConfig(decay=0.999),
    }


def _small(scale: str, model: ModelConfig) -> dict[str, Any]:
    """A recipe for minutes on two cores: AdamW decaying to zero and a curriculum of depth."""
    mini = scale == "mini"
    if isinstance(model, AttractorConfig):
        stages = curriculum(evaluations=0)
    else:
        stages = curriculum(cycles=getattr(model, "gradient_cycles", 1))
    return {
        "steps": 60 if mini else 1400,
        "batch": 16 if mini else 64,
        "log_every": 5 if mini else 20,
        "evaluate_every": 30 if mini else 400,
        "evaluate_puzzles": 128,
        "checkpoint_every": 30 if mini else 200,
        "supervision": SupervisionConfig(segments=16, curriculum=stages),
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


def _speed(scale: str, recipe: dict[str, Any]) -> dict[str, Any]:
    """ "Speed is Confidence": Muon, cosine to zero, label smoothing, a light halting loss, a late
    average; 8,000 steps where the published recipe takes 65,104. The AdamW rate of what is not a
    matrix is ours."""
    small = scale in SMALL_SCALES
    steps = recipe["steps"] if small else 8_000
    optimizer = recipe["optimizer"].model_copy(
        update={
            "name": "muon",
            "muon_lr": 0.02,
            "lr": 1e-3,
            "weight_decay": 0.1,
            "warmup": recipe["optimizer"].warmup if small else 200,
            "schedule": "cosine",
            "clip": 1.0,
        }
    )
    return recipe | {
        "steps": steps,
        "optimizer": optimizer,
        "loss": LossConfig(cells="softmax", label_smoothing=0.2, halting=0.05),
        "ema": EMAConfig(decay=0.9, start=steps * 5 // 8),
    }


def _structured(scale: str, recipe: dict[str, Any]) -> dict[str, Any]:
    """For nets that know which cells see each other: Muon, cosine to zero and the loss at every
    answer that has a gradient. They leave the plateau at once, but few segments at first show them
    more puzzles: 16 segments from the start see a sixteenth of them."""
    small = scale in SMALL_SCALES
    steps = {"mini": 60, "cpu": 1400, "1m": 20_000}.get(scale, recipe["steps"])
    optimizer = recipe["optimizer"].model_copy(
        update={
            "name": "muon",
            "muon_lr": 0.02,
            "lr": 2e-3,
            "weight_decay": 0.1,
            "warmup": {"mini": 10, "cpu": 50}.get(scale, 200),
            "schedule": "cosine",
            "clip": 1.0,
        }
    )
    return recipe | {
        "steps": steps,
        "batch": recipe["batch"] if small else 768,
        "optimizer": optimizer,
        "supervision": recipe["supervision"],
        "loss": LossConfig(cells="softmax", every=True, halting=0.05),
        "ema": EMAConfig(decay=0.999 if scale == "1m" else 0.99, warmup=True),
    }


def _model(name: str, scale: str, puzzle: str, cells: int) -> ModelConfig:
    size: dict[str, Any] = dict(_SIZES[scale])
    small = scale in SMALL_SCALES
    if small:
        size["positions"] = "learned"
    # TRM's paper: n 6 for sudoku, 4 for mazes.
    published = 4 if puzzle == "maze" else 6
    cycles = {"cycles": 2, "inner_steps": 3} if small else {"inner_steps": published}
    # Damped phantom steps: without damping the map learns to swing between two states of which
    # only every second is an answer, and no fixed point is there to be found. The solver mixes by
    # as much: the map learns to contract when damped, and undamped steps can lead away.
    inner, damped = (1 if small else 2), GradientConfig(steps=3, damping=0.5)
    solver = SolverConfig(mixing=damped.damping, damping=damped.damping)
    attractor = {"inner_steps": inner, "gradient": damped, "solver": solver}
    if name.endswith("-axial"):
        # Heads are split evenly among rows, columns and boxes.
        structure = _AXIAL if puzzle == "sudoku" else _LOCAL
        size |= structure | {"heads": 6, "width": size["width"] // 12 * 12}
    match name:
        case "attractor-axial":
            attractor["gradient"] = GradientConfig(steps=4, damping=damped.damping)
            return AttractorConfig(**size, **attractor)
        case "trm-axial":
            return TRMConfig(**size, **cycles)
        case "transformer-axial":
            return TransformerConfig(**size)
        case "trm":
            return TRMConfig(**size, **cycles)
        case "trm-mlp":
            return TRMConfig(**size | _MLP, **cycles)
        case "trm-mlp-speed":
            deep = cycles if small else {"cycles": 6, "inner_steps": 9}
            return TRMConfig(**size | _MLP, **deep, normalise_product=True)
        case "trm-matched":
            # As many net calls as the Attractor's full budget, its gradient as long.
            most = solver.max_evaluations + damped.steps
            steps = {"cycles": most, "gradient_cycles": damped.steps, "inner_steps": inner}
            return TRMConfig(**size, **steps)
        case "hrm":
            # Two nets share the layers of the scale.
            size["layers"] = max(1, size["layers"] // 2)
            size["puzzle_tokens"] = 1
            return HRMConfig(**size)
        case "transformer":
            return TransformerConfig(**size)
        case "transformer-mlp":
            return TransformerConfig(**size | _MLP)
        case "two-step":
            return TwoStepConfig(**size)
        case "attractor":
            return AttractorConfig(**size, **attractor)
        case "attractor-mlp":
            return AttractorConfig(**size | _MLP, **attractor)
        case "attractor-speed":
            # Tokens mix as in TRM-mlp where the grid is small enough for it.
            mixer = _MLP if cells <= MOST_MIXED else {}
            return AttractorConfig(**size | mixer, **attractor, normalise_product=True)
        case "attractor-z":
            return AttractorConfig(**size, **attractor, solve_for="z")
        case "attractor-reset":
            return AttractorResetConfig(**size, **attractor)
    raise AssertionError(name)


def preset_names() -> list[str]:
    """Every preset, scales grouped."""
    return [f"{model}-{scale}" for scale in SCALES for model in MODELS]


def preset(name: str, puzzle: str = "sudoku", cells: int | None = None) -> RunConfig:
    """A preset's configuration for a kind of puzzle and so many cells; None: the published grids'.

    ValueError, with the names, if unknown, and for a token mixer of more than MOST_MIXED cells.
    """
    model, _, scale = name.rpartition("-")
    if model not in MODELS or scale not in SCALES:
        raise UsageError(unknown_name("preset", name, preset_names(), "`loopbench presets`"))
    cells = _PUBLISHED_CELLS[puzzle] if cells is None else cells
    if "-mlp" in model and cells > MOST_MIXED:
        other = model.replace("-mlp", "")
        raise ValueError(
            f"{model} mixes the cells of grids of at most {MOST_MIXED}, these have {cells}: "
            f"use {other if other in MODELS else other.partition('-')[0]}-{scale}"
        )
    network = _model(model, scale, puzzle, cells)
    recipe = _small(scale, network) if scale in SMALL_SCALES else _published(model)
    if model.endswith("-speed"):
        recipe = _speed(scale, recipe)
    if model.endswith("-axial"):
        recipe = _structured(scale, recipe)
    if model == "hrm":
        q_learning = {"halting": "q-learning"}
        recipe["supervision"] = recipe["supervision"].model_copy(update=q_learning)
    if isinstance(network, TransformerConfig):
        recipe["supervision"] = SupervisionConfig(segments=1, exploration=0.0)
    return RunConfig(preset=name, model=network, **recipe)


# Neither another model nor another recipe.
_APART = (
    *("preset", "data", "seed", "steps", "device", "compile", "micro_batch"),
    *("log_every", "checkpoint_every", "evaluate_every", "evaluate_puzzles"),
)


def label(config: RunConfig, puzzle: str = "sudoku", cells: int | None = None) -> str:
    """The preset's name and, as field=value, what differs from it.

    How it is run and watched apart, and seed, data and steps, which a comparison tells itself; and
    what a deadline made of the preset's own numbers of steps.
    """
    if config.preset not in preset_names():
        return config.preset
    named = preset(config.preset, puzzle, cells)
    bases = (named, replanned(named, config.steps))
    base, planned = (_flat(each.model_dump(mode="json")) for each in bases)
    own = _flat(config.model_dump(mode="json"))
    changed = [
        f"{k}={v}"
        for k, v in own.items()
        if k not in _APART and v not in (base.get(k), planned.get(k))
    ]
    return " ".join([config.preset, *changed])


def differences(first: RunConfig, second: RunConfig) -> list[str]:
    """Fields in which two configurations differ, as "field first, not second"."""
    a, b = (_flat(config.model_dump(mode="json")) for config in (first, second))
    names = [name for name in dict.fromkeys((*a, *b)) if a.get(name) != b.get(name)]
    return [f"{name} {a.get(name)}, not {b.get(name)}" for name in names]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        inner = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{name}.") if inner else {prefix + name: value}
    return flat
