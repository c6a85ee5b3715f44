"""Trained weights that ship with loopbench, and `loopbench package`, which makes them of a run.

reasoning/weights/<task>-<size>.safetensors   averaged weights in bf16
reasoning/weights/<task>-<size>.json          their card: model, data, recipe, commit, accuracy

Weights are named for the task and the size of grid they answer: one of 6x6 says nothing of 9x9.
"""

import hashlib
import os
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError
from safetensors.torch import load, save
from torch import nn

from puzzles.dataset import read_json, read_record
from puzzles.puzzle_set import PuzzleSet
from reasoning.frozen import Frozen
from reasoning.names import Device
from reasoning.nn.reasoner import parameter_count
from reasoning.training.distribution import World, join_world
from reasoning.training.runs import RunError, make_folder, write_json
from scripts.models.grids import recorded_shape
from scripts.models.presets import RunConfig, build_model
from scripts.models.variants import file_name
from scripts.runs.data import read_puzzles
from scripts.runs.recorded import load_config
from scripts.runs.session import TrainedRun, adjusted, fitted, open_run
from scripts.terminal.choices import PACKAGED, WEIGHTS
from scripts.terminal.console import Console
from scripts.terminal.progress import stage_progress
from scripts.usage import describe

LARGEST = 15 * 2**20  # bytes of a file of weights


class Card(Frozen):
    """What a file of weights is."""

    task: str
    size: int = Field(description="cells along a side of the grid")
    parameters: int = Field(description="trainable, puzzle embedding and initial states apart")
    config: RunConfig = Field(description="the model and its whole recipe")
    grid: dict[str, Any]
    steps: int = Field(description="optimiser steps of the weights")
    data: dict[str, Any] = Field(
        description="how the puzzles of the accuracy were made: command and options"
    )
    trained_on: dict[str, Any] | None = Field(
        None, description="the same of the training puzzles, where they are others"
    )
    environment: dict[str, Any] = Field(description="commit, versions and machine of the training")
    segments: int = Field(description="of the accuracy below")
    accuracy: dict[str, dict[str, float]] = Field(
        description="of the weights as they ship, on every held-out puzzle: mean, stderr, n"
    )
    sha256: str = Field(description="of the .safetensors file")


def shipped(folder: Path = WEIGHTS) -> dict[str, list[int]]:
    """Sizes that there are weights for, by task."""
    by_task: dict[str, list[int]] = {}
    for path in sorted(folder.glob(f"*{PACKAGED}")):
        task, _, size = path.stem.rpartition("-")
        by_task.setdefault(task, []).append(int(size))
    return {task: sorted(sizes) for task, sizes in by_task.items()}


def load_pretrained(task: str, size: int, world: World, folder: Path = WEIGHTS) -> TrainedRun:
    """The weights that ship for a task and size, in fp32. RunError if none or damaged ones do.

    world: this process, to whose device they are loaded; folder: where weights lie with their
    cards.
    """
    sizes = shipped(folder)
    if size not in sizes.get(task, []):
        names = ", ".join(f"{name} {n}x{n}" for name, each in sizes.items() for n in each)
        raise RunError(
            f"no weights ship for {task} {size}x{size}; there are {names or 'none'}: "
            "train a run and give its folder"
        )
    return load_packaged(folder / f"{task}-{size}{PACKAGED}", world)


def load_packaged(path: Path, world: World) -> TrainedRun:
    """The weights of a file that `package` wrote, its card beside it, in fp32. RunError if either
    is missing or damaged."""
    card = read_card(path.with_suffix(".json"))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path}: not readable ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise RunError(
            f"{path}: not as it was packaged (cut short?); package it, or install loopbench, again"
        )
    shape = recorded_shape(card.grid | {"kind": card.task, "size": card.size})
    model = build_model(card.config, shape)
    model.load_state_dict(load(content))  # copies into fp32
    model = model.to(world.device).eval()
    return TrainedRun(path, card.config, card.task, card.size, shape, model, card.steps)


def read_card(path: Path) -> Card:
    """A card. RunError if it is missing or damaged."""
    try:
        return Card.model_validate_json(path.read_text())
    except ValidationError as error:
        raise RunError(f"{path}: {describe(error)}") from error
    except OSError as error:
        raise RunError(f"{path}: not readable ({error.strerror})") from error


def package(
    run: Path,
    data: Path,
    segments: int | None = None,
    out: Path = WEIGHTS,
    device: Device = "auto",
    replace: bool = False,
) -> None:
    """Round a run's averaged weights to bf16, score them as they will ship, on so many segments
    (None: as the run was configured), and write both files to `out`.

    data: the folder whose held-out puzzles they are scored on; device: where, auto: the best
    present; replace: put them in the place of others. RunError, before they are scored, for weights
    above LARGEST, or where others are in their place.
    """
    world = join_world(device)
    puzzles = read_puzzles(data, "test")
    # In the device's own precision, as who loads them runs them.
    opened = fitted(adjusted(open_run(run, world), precision="auto"), puzzles, data)
    environment = read_json(run / "environment.json")
    content = save(_rounded(opened.model))
    if len(content) > LARGEST:
        raise RunError(f"{run}: its weights take more than {LARGEST / 2**20:.0f} MiB in bf16")
    place = out / f"{file_name(opened.kind)}-{opened.size}{PACKAGED}"
    if place.exists() and not replace:
        raise RunError(
            f"{place}: is there already; --replace puts these weights in its place, --out elsewhere"
        )
    make_folder(out)
    count = segments or opened.config.supervision.segments
    accuracy = _accuracy(opened, puzzles, count, world)
    learned = Path(opened.config.data or data).resolve()  # imported weights do not say
    card = Card(
        task=opened.kind,
        size=opened.size,
        parameters=parameter_count(opened.model),
        config=opened.config.model_copy(update={"data": "", "compile": False}),
        grid=load_config(run)[1] | {"size": opened.size, "cells": opened.shape.cells},
        steps=opened.step,
        data=_origin(data),
        trained_on=None if learned == data.resolve() else _origin(learned),
        environment={
            name: environment.get(name) for name in ("commit", "python", "packages", "cpu", "gpu")
        },
        segments=count,
        accuracy=accuracy,
        sha256=hashlib.sha256(content).hexdigest(),
    )
    _write(place, content, card)


def _accuracy(
    opened: TrainedRun, puzzles: PuzzleSet, segments: int, world: World
) -> dict[str, dict[str, float]]:
    """The metrics of an opened run after so many segments of the puzzles, all of them, which the
    processes of a `world` share."""
    from scripts.runs.evaluate import evaluate_run  # here: who loads weights to answer needs it not

    with stage_progress(quiet=not world.is_main) as progress:
        tell = partial(progress, f"{opened.folder.name}: segments")
        return evaluate_run(opened, puzzles, segments, world, tell=tell).record["metrics"]


def _write(path: Path, content: bytes, card: Card) -> None:
    """The file of weights, whole or not at all, and its card; told on the console."""
    from scripts.reports.numbers import accuracy as shown  # likewise

    unfinished = path.with_name(f".{path.name}.partial")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)
    write_json(path.with_suffix(".json"), card.model_dump(mode="json"))
    exact = card.accuracy["exact"]
    Console(highlight=False).print(
        f"wrote {path} ({len(content) / 1024:.0f} KiB) and its card: exact "
        f"{shown(exact)} % of {exact['n']}",
        soft_wrap=True,
    )


def _rounded(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's floating-point state in bf16; the model then holds the same rounded numbers."""
    state = {
        name: (value.bfloat16() if value.is_floating_point() else value).cpu().contiguous()
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    return state


def _origin(data: Path) -> dict[str, Any]:
    record = read_record(data)
    if record is None:
        return {"folder": data.name}
    told = {
        name: record[name] for name in ("command", "seed", "options", "counts") if name in record
    }
    return told or {"folder": data.name}
