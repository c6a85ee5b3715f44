"""`loopbench import-released`: the weights of a publication as a run to evaluate and solve with."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from baselines.released import Released, System, Unstated, load_released
from baselines.released_files import CONFIG_FILE
from puzzles.kinds import puzzle_of
from puzzles.puzzle_set import infer_kind, vocab_size_of
from reasoning.nn.grid import GridShape
from reasoning.nn.reasoner import parameter_count
from reasoning.records import sha256_of
from reasoning.training.checkpoints import save_checkpoint
from reasoning.training.runs import create_run
from scripts.models.presets import RunConfig, preset
from scripts.terminal.choices import ReleasedKind
from scripts.terminal.console import Console
from scripts.usage import UsageError


def grid_of(shape: GridShape, kind: str | None) -> tuple[str, int]:
    """Kind and size of the puzzles a model of this shape answers. ValueError if of none."""
    if kind is None:
        return infer_kind(shape.vocabulary, shape.cells)
    size = math.isqrt(shape.cells)
    try:
        puzzle_of(kind).check_size(shape.cells)
        fits = vocab_size_of(kind, size) == shape.vocabulary
    except ValueError:
        fits = False
    if not fits:
        raise UsageError(
            f"--kind {kind}: has not {shape.cells} cells with a vocabulary of {shape.vocabulary}; "
            "give --cells or another --kind"
        )
    return kind, size


def released_config(released: Released, system: System, kind: str) -> RunConfig:
    """The publication's recipe around the released model: how to go about it, not what was run."""
    recipe = preset("hrm-27m" if system == "hrm" else "trm-7m", kind).model_dump()
    recipe |= {"preset": f"{system}-released", "model": released.config.model_dump()}
    if released.segments is not None:
        recipe["supervision"]["segments"] = released.segments
    return RunConfig.model_validate(recipe)


def write_run(
    released: Released, system: System, kind: str, size: int, file: Path, out: Path
) -> None:
    """A run's folder of one checkpoint, at step 0, whose average is the released weights.

    system: whose release it is; kind, size: of the puzzles that it answers; file: the released one,
    for its name and sha256; out: the folder, RunError if it holds a run already.
    """
    config = released_config(released, system, kind)
    shape = released.shape
    record: dict[str, Any] = {
        "config": config.model_dump(mode="json"),
        "grid": {
            "kind": kind,
            "size": size,
            "cells": shape.cells,
            "vocabulary": shape.vocabulary,
            "puzzles": shape.puzzles,
        },
        "released": {
            "file": file.name,
            "sha256": sha256_of(file),
            "average": released.average,
            "dropped": released.dropped,
            "settings": {name: asdict(each) for name, each in released.settings.items()},
        },
    }
    create_run(out, record)
    # No optimiser, no carry: such a run is not resumed.
    save_checkpoint(out, 0, released.model, released.model, {})


def bring_in(
    file: Path, model: System, out: Path, kind: ReleasedKind | None, unstated: Unstated
) -> None:
    """Make the run of a released file and print what it is.

    model: whose release it is; out: the run's folder; kind: of the puzzles that it answers, None:
    by vocabulary and cells; unstated: what the file's tensors do not say.
    """
    released = load_released(file, model, unstated)
    chosen, size = grid_of(released.shape, kind)
    write_run(released, model, chosen, size, file, out)
    config = released.config
    console = Console(highlight=False)
    console.print(
        f"{out}: {model} for {chosen} of size {size}, {parameter_count(released.model):,} "
        f"parameters, {config.layers} layers of width {config.width}, {config.mixer}, positions "
        f"{config.positions}, {config.puzzle_tokens} puzzle tokens, {config.cycles} cycles of "
        f"{config.inner_steps} inner steps",
        soft_wrap=True,
    )
    for line in said_of(released):
        console.print(line, soft_wrap=True)
    if released.dropped:
        console.print(f"not needed: {', '.join(released.dropped)}", soft_wrap=True)


def said_of(released: Released) -> list[str]:
    """Which settings the tensors do not tell, and who says them, a line each."""
    by: dict[str, list[str]] = {}
    for name, setting in released.settings.items():
        value = f"{setting.value:g}" if isinstance(setting.value, float) else setting.value
        other = "" if setting.other is None else f" (for {setting.other})"
        by.setdefault(setting.source, []).append(f"{name} {value}{other}")
    lines = [f"by option: {', '.join(by['option'])}"] if "option" in by else []
    if released.said_by in by:
        lines.append(f"by {released.said_by}: {', '.join(by[released.said_by])}")
    if "assumed" in by:
        why = "" if released.said_by else f"no {CONFIG_FILE} beside the file; "
        lines.append(f"{why}assumed, as published: {', '.join(by['assumed'])}")
    if released.average:
        lines.append("weights: the average in its ema.shadow")
    return lines
