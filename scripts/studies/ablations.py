"""Controls, depth of the net, gradients, recipes: one change at a time, trained and compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from reasoning.model_config import SCALES
from scripts.models.labels import expect_kept
from scripts.models.presets import RunConfig, curriculum, deepened, named_preset, preset
from scripts.models.variants import Variant, chosen, merged
from scripts.runs.data import read_puzzles
from scripts.studies.asked import TableAsked
from scripts.terminal.console import show
from scripts.usage import UsageError

if TYPE_CHECKING:
    from scripts.studies.comparison import Comparison


def _phantom(steps: int) -> Variant:
    changes = {"model": {"gradient": {"steps": steps}}}
    return Variant(f"phantom K {steps}", "attractor", changes)


def _gradient(name: str, **settings: Any) -> Variant:
    """A gradient without steps of its own gets as many evaluations in all: three where the preset
    has phantom steps alone, six where it has three evaluations and three steps."""
    kind = name.partition(",")[0]
    model = {"gradient": {"kind": kind, **settings}, "solver": {"max_evaluations": 6}}
    early = {"curriculum": curriculum(evaluations=3)}
    return Variant(name, "attractor", {"model": model, "supervision": early})


@dataclass(frozen=True, kw_only=True)
class _Deepened(Variant):
    """Of so many layers, trained by the recipe for deep nets (`presets.deepened`)."""

    layers: int


def _layers(*models: str) -> tuple[Variant, ...]:
    """By the preset's recipe, and by the one for deep nets."""
    return tuple(
        variant
        for model in models
        for layers in (2, 4, 8)
        for variant in (
            Variant(f"{model} {layers} layers", model, {"model": {"layers": layers}}),
            _Deepened(f"{model} {layers} layers, deep recipe", model, layers=layers),
        )
    )


@dataclass(frozen=True, kw_only=True)
class _Part(Variant):
    """A row of `parts`: whichever its net, trained by the recipe of nets with digit fields, with so
    many solver evaluations in every stage, and warmed up for a tenth of the first row's steps."""

    evaluations: int = 0


def _part(name: str, evaluations: int = 0, **changes: Any) -> Variant:
    """The net with digit fields, two layers deep, but for what the changes say."""
    plain = {"model": {"layers": 2, "solver": {"max_evaluations": evaluations}}}
    return _Part(name, "attractor-digits", merged(plain, changes), evaluations=evaluations)


def _no_fields(name: str, **model: Any) -> Variant:
    """One state a cell, as wide as such nets are at the scale: 96 for 60 at 1m."""
    return replace(_part(f"no digit fields, {name}", model=model), model="attractor-axial")


# EqR's: a random start, and updates that keep a part of the state and add noise.
_INTERVENTIONS = {"initial": "random", "update_damping": 0.05, "update_noise": 0.01}

# FPRM's: norms before the branches, whose ends begin small.
_PRE_NORM = {"norm": "pre", "branch_scale": 0.5}

_REVERSIBLE = {"kind": "reversible", "steps": 2}

ABLATIONS: dict[str, tuple[Variant, ...]] = {
    "controls": (
        *(
            Variant(name, name)
            for name in (
                *("attractor", "trm", "trm-matched", "attractor-z", "two-step"),
                *("attractor-reset", "hrm", "transformer"),
            )
        ),
        # Every net call keeps half of the old state, as the Attractor's phantom steps do: is it
        # the solver that trains more reliably than plain iteration, or the damping?
        Variant("trm-matched, damped", "trm-matched", {"model": {"update_damping": 0.5}}),
    ),
    "layers": _layers("attractor", "trm"),
    "layers-mlp": _layers("attractor-mlp", "trm-mlp"),
    "gradients": (
        *map(_phantom, (1, 2, 3)),
        *(_gradient(kind) for kind in ("one-step", "neumann", "unrolled")),
        # Unclipped, an adjoint solve on a map that does not contract soon ends in nan.
        _gradient("adjoint, clip 2", clip=2.0),
    ),
    # What would make the fixed point matter? Published ideas, each alone, and what of them helps a
    # loop that seeks none.
    "fixed-point": (
        Variant("as it is", "attractor"),
        # Bai, Koltun and Kolter 2021.
        *(Variant(f"Jacobian {w:g}", "attractor", {"loss": {"jacobian": w}}) for w in (0.1, 1.0)),
        Variant("pre-norm, scaled", "attractor", {"model": _PRE_NORM}),
        Variant("random starts", "attractor", {"model": {"initial": "random"}}),
        Variant("EqR", "attractor", {"model": _INTERVENTIONS}),
        Variant("one state", "attractor", {"model": {"states": 1}}),
        # RevDEQ's, 2509.12917: every step has its exact gradient, in the memory of one.
        Variant("reversible", "attractor", {"model": {"gradient": _REVERSIBLE}}),
        Variant("TRM", "trm"),
        Variant("TRM, pre-norm, scaled", "trm", {"model": _PRE_NORM}),
        Variant("TRM, one state", "trm", {"model": {"states": 1}}),
    ),
    "recipes": tuple(
        variant
        for model, speed in (("attractor-mlp", "attractor-speed"), ("trm-mlp", "trm-mlp-speed"))
        for variant in (
            Variant(model, model),
            Variant(speed, speed),
            Variant(f"{model}, EqR", model, {"model": _INTERVENTIONS}),
        )
    ),
    # What makes the net with a field for each digit cheap: each part of it changed alone.
    "parts": (
        _part("as it is"),
        _part("attention along units", model={"mixer": "axial"}),
        _no_fields("sums along units", mixer="sums"),
        _no_fields("attention along units"),
        _no_fields("attention with relations", mixer="relations"),
        _no_fields("attention", mixer="attention", positions="learned"),
        _no_fields("MLP over the cells", mixer="mlp"),
        _part("loss at the last step alone", loss={"every": False}),
        _part("candidates 0.5", loss={"candidates": 0.5}),
        _part("label smoothing 0.2", loss={"label_smoothing": 0.2}),
        _part("stablemax", loss={"cells": "stablemax"}),
        *(
            _part(f"{name} 3e-3", optimizer={"name": name, "lr": 3e-3})
            for name in ("adamw", "adam-atan2")
        ),
        *(_part(f"layers {n}", model={"layers": n}) for n in (1, 4)),
        *(_part(f"phantom K {k}", model={"gradient": {"steps": k}}) for k in (2, 8)),
        _part("one state", model={"states": 1}),
        _part("random starts", model={"initial": "random"}),
        _part("three evaluations before", evaluations=3),
        _part("16 segments from the start", supervision={"curriculum": ()}),
    ),
}
EQUAL_FLOPS = ("fixed-point", "parts")  # whose rows train for the same FLOPs, the others' for steps


def configuration(
    variant: Variant,
    scale: str,
    data: Path,
    changes: Mapping[str, Any] = MappingProxyType({}),
    grid: tuple[str, int] = ("sudoku", 36),
) -> RunConfig:
    """A variant at a scale (`mini`, `cpu`, `1m`); its name takes the preset's place as the label.

    changes: to fields of every variant, say `steps`. UsageError for one that the variant, or how it
        is trained, decides.
    grid: kind and cells of the data's puzzles, which a preset is made for.
    """
    values = preset(f"{variant.model}-{scale}", *grid).model_dump()
    if isinstance(variant, _Part):
        trained = preset(f"attractor-digits-{scale}", *grid).supervision
        stages = (
            {**s.model_dump(), "evaluations": variant.evaluations} for s in trained.curriculum
        )
        values["supervision"] = trained.model_dump() | {"curriculum": tuple(stages)}
    values = merged(merged(values, changes), variant.changes)
    named = {"preset": variant.name, "data": str(data)}
    config = RunConfig.model_validate(values | named)
    match variant:
        case _Deepened():
            config = deepened(config, variant.layers)
        case _Part():
            warmed = config.optimizer.model_copy(update={"warmup": config.steps // 10})
            config = config.model_copy(update={"optimizer": warmed})
    expect_kept(variant.name, config, changes)
    return config


def also_rows(names: Sequence[str], scale: str) -> tuple[Variant, ...]:
    """A row for each model of these, `trm` or `mypackage.module:MyModel`, by its preset at a scale.
    UsageError if there is no such model, or one is named at another scale."""
    rows = []
    for asked in names:
        bare = f"{asked}-{scale}" if asked.rpartition("-")[2] not in SCALES else asked
        model, model_scale, _ = named_preset(bare)
        if model_scale != scale:
            raise UsageError(f"{asked}: is of another scale than the table's, {scale}")
        rows.append(Variant(f"{model}-{scale}", model))
    return tuple(rows)


def _refuse_equal(configs: Sequence[RunConfig], words: Sequence[str]) -> None:
    """UsageError for a row that is another one by a name of its own; words: of --set."""
    for i, config in enumerate(configs):
        for before in configs[:i]:
            if config.model_copy(update={"preset": before.preset}) == before:
                raise UsageError(
                    f"--also: {config.preset} is the row {before.preset} already"
                    + (f", with --set {' '.join(words)}" if words else "")
                )


def ablation(
    name: str,
    asked: TableAsked,
    scale: str,
    data: Path | None,
    also: Sequence[str],
) -> "Comparison":
    """Train and score every variant of an ablation under OUT, and print the table; resumable.
    Every row gets as many steps, or FLOPs, as the table's first, whether that is asked for or not.

    name: of ABLATIONS; asked: what the command was asked for, OUT and the seeds among it; scale:
        mini, cpu or 1m.
    data: a folder of sudokus; None generates 6x6 ones (4x4 at `mini`) into OUT/data.
    also: models that are rows of it too.
    """
    rows, others = ABLATIONS[name], also_rows(also, scale)
    wanted = chosen(asked.only, [*(row.name for row in rows), *also])
    variants = (*(row for row in rows if row.name in wanted), *others)
    folder = data or asked.out / "data"
    size, train, test = (4, 64, 32) if scale == "mini" else (6, 1000, 500)
    grid = "sudoku", size * size
    if data is not None:
        puzzles = read_puzzles(data, "train")  # refused before torch is loaded
        grid = puzzles.kind, puzzles.seq_len
    configs = [configuration(each, scale, folder, asked.changes, grid) for each in variants]
    _refuse_equal(configs, asked.set)

    from scripts.studies.comparison import Spending, planned_equally, train_and_compare
    from scripts.studies.plan import state_plan

    world, console = asked.world, asked.console
    if data is None and world.is_main:
        from puzzles.sources import generate_into, sudoku  # numba with it

        generate_into(folder, sudoku, size=size, train=train, test=test, seed=0)
    world.barrier()
    puzzles = read_puzzles(folder, "train")
    first = configuration(rows[0], scale, folder, asked.changes, grid)
    equal = Spending("flops" if name in EQUAL_FLOPS else "steps", first=first)
    runs, lanes = planned_equally(configs, asked.seeds, puzzles, equal, asked)
    origin = f"{puzzles.kind}: {folder}" + (", generated here" if data is None else "")
    state_plan(runs, lanes, [origin], asked.yes, world, console)
    compared = train_and_compare(runs, lanes, folder, world, console)
    title = ", ".join([name.capitalize(), f"scale {scale}", *asked.set])
    show(compared.write(asked.out, title), 190, console.quiet)
    if asked.set:
        console.print(f"every row with {' '.join(asked.set)}")
    console.print(f"wrote {asked.out}/report.html, comparison.md and comparison.json")
    return compared
