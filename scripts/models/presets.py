"""Named presets `<model>-<scale>`, the configuration of a run, and how a model is built from it.

Scales: `mini` (seconds, tests), `cpu` (the quickstart: minutes on two cores), `1m` (under a million
parameters: hours on two cores, minutes on a GPU), `7m` and `27m` (the published sizes and recipe).
Grid, vocabulary and length come from the data folder, so one preset serves every puzzle. A model is
an entry of `PRESETS`, of an installed package, or an import path (`scripts.models.registry`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from puzzles.kinds import puzzle_of
from reasoning.loss_config import LossConfig
from reasoning.model_config import SCALES, SMALL_SCALES, ModelConfig
from reasoning.solver_config import GradientConfig
from reasoning.supervision_config import Depth, Stage, SupervisionConfig
from reasoning.training.config import EMAConfig, OptimizerConfig, TrainingConfig
from scripts.models.registry import PUZZLE_MODELS, no_preset
from scripts.models.variants import merged
from scripts.usage import UsageError, unknown_name

if TYPE_CHECKING:  # torch is imported where a model is built: a command's words are read without it
    from torch import nn

    from reasoning.nn.grid import GridShape


class RunConfig(TrainingConfig):
    """A training run: a model and how it is trained."""

    preset: str = Field(description="the preset this configuration started from")
    data: str = Field("", description="data folder")
    model: Annotated[SerializeAsAny[ModelConfig], BeforeValidator(PUZZLE_MODELS.by_kind)] = Field(
        description="the model"
    )

    @model_validator(mode="after")
    def _the_model_can_be_trained_so(self):
        for depth in (Depth(), *(stage.depth for stage in self.supervision.curriculum)):
            fault = self.model.idles_at(depth)
            if fault is not None:
                raise UsageError(fault)
        if self.loss.jacobian and not self.model.has_map():
            raise UsageError(
                f"loss.jacobian: {self.preset} seeks no fixed point of its whole state"
            )
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """By its fields: pickle does not find the class of settings that `Registry` derives."""
        return type(self).model_validate, (self.model_dump(mode="json"),)


def build_model(config: RunConfig, shape: "GridShape") -> "nn.Module":
    """The model of a configuration, its weights drawn from the run's seed (on the CPU)."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return PUZZLE_MODELS.build(config.model.kind, config.model, shape)


Settings = dict[str, Any]


def branch_scale(layers: int) -> float:
    """For a net of so many blocks to begin with branches that add up to its input's variance."""
    return (2 * layers) ** -0.5


def deepened(config: RunConfig, layers: int) -> RunConfig:
    """A small scale's configuration with so many layers, and the recipe that trains eight of them.

    With the preset's own the recursive models learn nothing: cells begin all alike, or the gradient
    explodes (tests/baselines/test_depth.py). Begun scaled, TRM and the Attractor with attention
    unlearn at its rate, and leave the plateau only at a sixth (TRM) and a third of it
    (baselines/README.md, Table 2). Hence half the rate, reached after half of the run.
    """
    values = config.model_dump()
    values["model"] |= {"layers": layers, "branch_scale": branch_scale(layers)}
    values["optimizer"] |= {"lr": config.optimizer.lr / 2, "warmup": config.steps // 2}
    return RunConfig.model_validate(values)


def curriculum(**shallow: int | None) -> tuple[Stage, ...]:
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


def _published() -> Settings:
    """TRM's recipe, 50k epochs of 1000 puzzles at batch 768."""
    return {
        "steps": 65_104,
        "batch": 768,
        "supervision": SupervisionConfig(segments=16),
        "optimizer": OptimizerConfig(),
        "ema": EMAConfig(decay=0.999),
    }


def _small(scale: str, model: ModelConfig) -> Settings:
    """A recipe for minutes on two cores: AdamW decaying to zero and a curriculum of depth."""
    mini = scale == "mini"
    stages = curriculum(**vars(model.shallow()))
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


def _muon(recipe: Settings, lr: float, warmup: int) -> OptimizerConfig:
    """Muon on the net's matrices, AdamW at `lr` on the rest, both to zero as a cosine."""
    changes = {"name": "muon", "muon_lr": 0.02, "weight_decay": 0.1, "schedule": "cosine"}
    changes |= {"lr": lr, "warmup": warmup, "clip": 1.0}
    return recipe["optimizer"].model_copy(update=changes)


@dataclass(frozen=True)
class Place:
    """What a preset is asked for."""

    scale: str
    puzzle: str
    cells: int


def _is_local(place: Place) -> bool:
    """Whether a cell meets its neighbours alone, as in mazes."""
    return puzzle_of(place.puzzle).local


def _has_fields(place: Place) -> bool:
    """Whether a cell has a state for each of its symbols: where these can be exchanged and a cell
    sees more than its neighbours."""
    symbols = puzzle_of(place.puzzle).symbols(math.isqrt(place.cells))
    return not _is_local(place) and len(symbols) > 1


def _batch_of_mazes(cells: int) -> int:
    """The power of two, of 8 to 64, with about the cells of 64 sudokus: 32 at 12x12, 8 at 30x30."""
    return min(max(2 ** round(math.log2(64 * 81 / cells)), 8), 64)


def _speed(place: Place, recipe: Settings) -> Settings:
    """ "Speed is Confidence": Muon, label smoothing, a light halting loss, a late average; 8,000
    steps where the published recipe takes 65,104. The AdamW rate of what is not a matrix is
    ours."""
    small = place.scale in SMALL_SCALES
    steps = recipe["steps"] if small else 8_000
    return recipe | {
        "steps": steps,
        "optimizer": _muon(recipe, 1e-3, recipe["optimizer"].warmup if small else 200),
        "loss": LossConfig(cells="softmax", label_smoothing=0.2, halting=0.05),
        "ema": EMAConfig(decay=0.9, start=steps * 5 // 8),
    }


def _ends(place: Place, fields: bool) -> tuple[float, ...]:
    """Of the stages of 1, 2, 4 and 8 segments at 1m, shares of the run, as measured."""
    if _is_local(place):
        return 0.1, 0.3, 0.6, 1.0
    return (0.15, 0.4, 0.8, 1.0) if fields else (0.05, 0.2, 0.8, 1.0)


def _structured(place: Place, recipe: Settings, fields: bool = False) -> Settings:
    """For nets that know which cells see each other: Muon and the loss at every answer that has a
    gradient. They leave the plateau at once, but few segments at first show them more puzzles: 16
    segments from the start see a sixteenth of them. At 1m no stage is deeper than its gradient: the
    solver's evaluations in training bought nothing that was measured. Batches of large mazes are
    smaller there, so that a step costs about what one of sudokus does.

    fields: whether a cell has a state for each of its symbols.
    """
    supervision, long = recipe["supervision"], place.scale == "1m"
    if long:
        shallow = supervision.curriculum[0]
        stages = (
            shallow.model_copy(update={"until": until, "segments": segments})
            for until, segments in zip(_ends(place, fields), (1, 2, 4, 8), strict=True)
        )
        supervision = supervision.model_copy(update={"curriculum": tuple(stages)})
    return recipe | {
        "batch": _batch_of_mazes(place.cells) if _is_local(place) and long else recipe["batch"],
        "steps": 11_000 if long else recipe["steps"],
        "optimizer": _muon(recipe, 2e-3, {"mini": 10, "cpu": 50}.get(place.scale, 200)),
        "supervision": supervision,
        "loss": LossConfig(cells="softmax", every=True, halting=0.05),
        "ema": EMAConfig(decay=0.999 if long else 0.99, warmup=True),
    }


def _fielded(place: Place, recipe: Settings) -> Settings:
    """As `_structured`; with a field for each digit segments are few for longer."""
    return _structured(place, recipe, _has_fields(place))


@dataclass(frozen=True)
class Preset:
    """A model of the registry, what differs from its own settings and from its own recipe.

    beyond: the preset for grids of more than MOST_MIXED cells, where this one serves none.
    """

    kind: str
    settings: Callable[[Settings, Place], Settings] = lambda base, place: base
    recipe: Callable[[Place, Settings], Settings] = lambda place, recipe: recipe
    beyond: str | None = None


# The released token-mixing block normalises over the tokens it has just mixed.
_MLP = {"mixer": "mlp", "positions": "none", "mixer_norm": "tokens"}
# It mixes by matrices as wide as the grid, and is for grids of no more cells than a state has
# channels (TRM, section 4.5): those of the published width, at every scale.
MOST_MIXED = 512
# Which cells see each other is the puzzle's to say, so no position need be learned.
_AXIAL = {
    "mixer": "axial",
    "positions": "none",
    "norm": "pre",
    "puzzle_tokens": 0,
    "halting_from": "mean",
}
# Where a cell is related to its neighbours, as in mazes.
_LOCAL = _AXIAL | {"mixer": "local"}


_FOUR_STEPS = GradientConfig(steps=4, damping=0.5)
_PUBLISHED_CELLS = {"sudoku": 81, "maze": 900}


def _with(**changes: Any) -> Callable[[Settings, Place], Settings]:
    return lambda base, place: base | changes


def _axial(**changes: Any) -> Callable[[Settings, Place], Settings]:
    """Heads are split evenly among the families of units (rows, columns, boxes)."""

    def settings(base: Settings, place: Place) -> Settings:
        structure = _LOCAL if _is_local(place) else _AXIAL
        heads = {"heads": 6, "width": base["width"] // 12 * 12}
        return base | structure | heads | changes

    return settings


def _digits(**changes: Any) -> Callable[[Settings, Place], Settings]:
    """A state for each cell and symbol, sums along units; as `_axial` where cells meet their
    neighbours or no symbols can be exchanged."""
    otherwise = _axial(**changes)

    def settings(base: Settings, place: Place) -> Settings:
        if not _has_fields(place):
            return otherwise(base, place)
        # Each state is narrower than a cell's one would be: 60 for 96.
        width = max(base["width"] * 5 // 8 // 12, 1) * 12
        fields = {"mixer": "sums", "fields": "digits", "heads": 6, "width": width}
        return base | _AXIAL | fields | changes

    return settings


def _speedy_attractor(base: Settings, place: Place) -> Settings:
    """Tokens mix as in TRM-mlp where the grid is small enough for it."""
    mixer = _MLP if place.cells <= MOST_MIXED else {}
    return base | mixer | {"normalise_product": True}


def _speedy_trm(base: Settings, place: Place) -> Settings:
    deep = {} if place.scale in SMALL_SCALES else {"cycles": 6, "inner_steps": 9}
    return base | _MLP | deep | {"normalise_product": True}


def _matched(base: Settings, place: Place) -> Settings:
    """As many net calls as the Attractor's full budget, its gradient as long."""
    rival = PUZZLE_MODELS.config_class("attractor")
    rival = rival(**rival.at_scale(place.scale, place.puzzle))
    steps = rival.gradient.forward_steps
    cycles = rival.solver.max_evaluations + steps
    return base | {"cycles": cycles, "gradient_cycles": steps, "inner_steps": rival.inner_steps}


# Table 2's systems, the speed recipe on two of them, and the controls (`baselines.controls`).
PRESETS = {
    "attractor": Preset("attractor"),
    "attractor-mlp": Preset("attractor", _with(**_MLP), beyond="attractor"),
    "trm": Preset("trm"),
    "trm-mlp": Preset("trm", _with(**_MLP), beyond="trm"),
    "hrm": Preset("hrm"),
    "transformer": Preset("transformer"),
    "transformer-mlp": Preset("transformer", _with(**_MLP), beyond="transformer"),
    "attractor-speed": Preset("attractor", _speedy_attractor, _speed),
    "trm-mlp-speed": Preset("trm", _speedy_trm, _speed, beyond="trm"),
    "attractor-axial": Preset("attractor", _axial(gradient=_FOUR_STEPS), _structured),
    "trm-axial": Preset("trm", _axial(), _structured),
    "transformer-axial": Preset("transformer", _axial(), _structured),
    "attractor-digits": Preset("attractor", _digits(gradient=_FOUR_STEPS), _fielded),
    "trm-digits": Preset("trm", _digits(), _fielded),
    "transformer-digits": Preset("transformer", _digits(), _fielded),
    "attractor-z": Preset("attractor", _with(solve_for="z")),
    "attractor-reset": Preset("attractor-reset"),
    "trm-matched": Preset("trm", _matched),
    "two-step": Preset("two-step"),
}
MODELS = tuple(PRESETS)
_DEFAULT_SCALE = "cpu"  # of an import path without one


def preset_names() -> list[str]:
    """Every preset of loopbench's own, scales grouped."""
    return [f"{model}-{scale}" for scale in SCALES for model in MODELS]


def named_preset(name: str) -> tuple[str, str, Preset]:
    """The model, the scale and the preset of a name `<model>-<scale>`. An import path may leave its
    scale out, which is then `cpu`. UsageError, with the names, if unknown."""
    model, _, scale = name.rpartition("-")
    if ":" in name:
        if ":" not in model:
            model, scale = name, _DEFAULT_SCALE
        if scale not in SCALES:
            raise UsageError(f"{name}: {unknown_name('scale', scale, SCALES)}")
        return model, scale, Preset(model)
    if scale in SCALES and model in PRESETS:
        return model, scale, PRESETS[model]
    others = PUZZLE_MODELS.installed()
    if scale in SCALES and model in others:
        return model, scale, Preset(model)
    module, _, last = name.rpartition(".")
    if module:
        raise UsageError(
            f"no preset is called {name!r}; an import path has a colon before its class: "
            f"{module}:{last}"
        )
    known = [*preset_names(), *(f"{other}-{scale}" for other in others for scale in SCALES)]
    raise no_preset(name, "puzzles", known)


def preset(name: str, puzzle: str = "sudoku", cells: int | None = None) -> RunConfig:
    """A preset's configuration for a kind of puzzle and so many cells; None: the published grids'.

    ValueError, with the names, if unknown, and for a token mixer of more than MOST_MIXED cells.
    """
    model, scale, entry = named_preset(name)
    if cells is None and puzzle not in _PUBLISHED_CELLS:
        raise UsageError(f"{puzzle}: say of how many cells its grids are")
    cells = _PUBLISHED_CELLS[puzzle] if cells is None else cells
    if entry.beyond and cells > MOST_MIXED:
        raise UsageError(
            f"{model} mixes the cells of grids of at most {MOST_MIXED}, these have {cells}: "
            f"use {entry.beyond}-{scale}"
        )
    kind = PUZZLE_MODELS.config_class(entry.kind)
    place = Place(scale, puzzle, cells)
    settings = entry.settings(kind.at_scale(scale, puzzle), place)
    network = PUZZLE_MODELS.settings_at(entry.kind, settings)
    recipe = _small(scale, network) if scale in SMALL_SCALES else _published()
    values = RunConfig(
        preset=f"{model}-{scale}", model=network, **entry.recipe(place, recipe)
    ).model_dump()
    return RunConfig.model_validate(merged(values, network.recipe(scale)))
