"""`loopbench train`: one run, by one process or, under torchrun, by many."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from puzzles.puzzle_set import PuzzleSet
from reasoning.nn.compilation import check_compiler
from reasoning.records import finite, log_histogram
from reasoning.supervision import Batch
from reasoning.training.checkpoints import fill, load_weights
from reasoning.training.deadline import plan
from reasoning.training.distribution import World
from reasoning.training.loop import Trainer
from reasoning.training.rehearsal import rehearse
from reasoning.training.runs import RunError, begun_with, make_folder, read_config
from reasoning.training.steps import Progress
from scripts.models.grids import grid_shape
from scripts.models.presets import RunConfig, build_model
from scripts.models.registry import PUZZLE_MODELS
from scripts.reports.numbers import percent
from scripts.runs.beginning import Beginning, Followers, open_records, train_to_end
from scripts.runs.data import read_data, training_stream
from scripts.runs.pretrained import load_packaged
from scripts.runs.recorded import load_config
from scripts.runs.session import check_ids, identity, metrics, run_predictions, subset
from scripts.runs.train_words import Train, read_words
from scripts.runs.training_command import TrainingCommand
from scripts.terminal.choices import PACKAGED


def train_run(
    config: RunConfig,
    out: Path,
    world: World,
    resume: bool,
    followers: Followers,
    seconds: float | None = None,
    start: Path | None = None,
) -> int | None:
    """Train a run to its end, None, or to an interrupt, the step of it. Everything it takes is
    checked first.

    config: what is trained; out: the run's folder; world: the processes that train it.
    resume: whether it goes on with what lies there.
    followers: who is told.
    seconds: how long a new run is to take from now on, instead of its configuration's steps.
    start: a run whose averaged weights, or the file of packaged weights that, a new run begins
        with. CheckpointError if they do not fit.
    """
    began = time.perf_counter()
    if config.compile:
        check_compiler(world.device)
    train, test = read_data(config.data)
    check_ids(test, train.num_puzzle_ids, Path(config.data))
    held_out = subset(test, config.evaluate_puzzles)
    beginning = Beginning.of(out, resume)
    record = _record(train) | {"puzzles_sha256": identity(train, held_out)}
    if beginning is not Beginning.NEW:
        check_same_puzzles(record["puzzles_sha256"], config, out)
    model = build_model(config, grid_shape(train)).to(world.device)
    if beginning is Beginning.AGAIN:
        _begin_as_before(out, model, world)
    elif start is not None and beginning is Beginning.NEW:
        record["started_from"] = {"run": str(start), "step": _begin_with(start, model, world)}
    if beginning is Beginning.NEW:
        untrained = rehearse_first(model, config, train, world)
        if untrained:
            record["without_gradient"] = untrained
            followers.say(_untrained(untrained))

    def evaluate(averaged: nn.Module) -> dict[str, Any]:
        return held_out_record(averaged, config, held_out, world)

    trainer = Trainer(model, training_stream(config, train), config, world, out, evaluate)
    record["optimizer_kernels"] = trainer.optimizers.kernels
    if beginning is Beginning.SAVED:
        trainer.resume()
    if beginning is Beginning.NEW and seconds is not None:
        make_folder(out)
        record["deadline"] = plan(trainer, seconds, began)
        steps = trainer.config.steps
        followers.say(f"{steps:,} steps are to end {seconds:g} s after the start")
    reporter = open_records(trainer, out, record, beginning, followers)
    return train_to_end(trainer, reporter)


def check_same_puzzles(puzzles: str, config: RunConfig, out: Path) -> None:
    """RunError unless the data's puzzles are those that the run began with.

    puzzles: their `identity`; config: of the run, which names their folder; out: the run's own.
    """
    if read_config(out).get("puzzles_sha256", puzzles) != puzzles:
        raise RunError(
            f"{config.data}: holds other puzzles than those that {out} was trained on: put them "
            "back, or begin a new run"
        )


def _untrained(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"warning: no gradient reaches {', '.join(names[:3])}{more}"


def rehearse_first(
    model: nn.Module, config: RunConfig, train: PuzzleSet, world: World
) -> list[str]:
    """Rehearse a model of the user's own on the first two puzzles of its first batch, one twice
    where it is alone; see `rehearse`. Those of loopbench need none.

    model: on `world.device`; config: of the run that it is for; train: the run's training puzzles;
    world: this process.
    """
    if config.model.kind in PUZZLE_MODELS.shipped:
        return []
    stream = training_stream(config, train)
    arrays = (np.resize(array, (2, *array.shape[1:])) for array in stream.batch_at(0))
    batch = Batch(*(torch.from_numpy(a).to(world.device, torch.int64) for a in arrays))
    return rehearse(model, config, batch, train.vocab_size)


def _begin_with(start: Path, model: nn.Module, world: World) -> int:
    """Load the averaged weights of a run or of a packaged file; returns their step."""
    if start.suffix != PACKAGED:
        return load_weights(start, model)
    packaged = load_packaged(start, world)
    fill(model, packaged.model.state_dict(), start)
    return packaged.step


def _begin_as_before(out: Path, model: nn.Module, world: World) -> None:
    """Load what a run that left no checkpoint began with. RunError if there are newer weights."""
    begun = begun_with(out)
    if begun is None:
        return
    start, step = begun
    if (found := _begin_with(start, model, world)) != step:
        raise RunError(
            f"{out}: began with step {step} of {start}, which is at step {found} now; begin a new "
            "run, or go back to that checkpoint"
        )


def held_out_record(
    model: nn.Module, config: RunConfig, puzzles: PuzzleSet, world: World
) -> dict[str, Any]:
    """Held-out metrics after the last segment, mean diagnostics of that segment, and how its
    residuals are spread over the puzzles.

    model: on `world.device`; config: of its run; world: the processes, which share the puzzles and
    all get the record.
    """
    predictions = run_predictions(model, config, puzzles, config.supervision.segments, world)
    record: dict[str, Any] = dict(metrics(puzzles, predictions.tokens[-1]))
    for name, values in predictions.diagnostics.items():
        record[name] = finite(values[-1].mean())
    residual = predictions.diagnostics.get("residual")
    spread = None if residual is None else log_histogram(residual[-1])
    return record if spread is None else record | {"residual_log10": spread}


def _record(train: PuzzleSet) -> dict[str, Any]:
    shape = grid_shape(train)
    return {
        "grid": {
            "kind": train.kind,
            "size": train.size,
            "cells": shape.cells,
            "vocabulary": shape.vocabulary,
            "puzzles": shape.puzzles,
        },
    }


def newest(progress: Progress) -> dict[str, str]:
    """What a report says of the loss and of held-out puzzles."""
    numbers = {}
    if progress.training:
        numbers["loss"] = f"{progress.training['cell_loss']:.3f}"
    if progress.evaluation:
        numbers["held-out exact"] = f"{percent(progress.evaluation['exact']['mean'])} %"
    return numbers


def _resumable(run: Path) -> RunConfig:
    config = load_config(run)[0]
    if not config.data:
        raise RunError(f"{run}: holds imported weights, not training: there is nothing to resume")
    return config


def run(words: Sequence[str], given: Train) -> int:
    """The command, its words read. 0 when trained to the end, 130 when interrupted (resumable)."""
    train = partial(train_run, seconds=given.seconds, start=given.start)
    command = TrainingCommand("train", "puzzle run", _resumable, newest, train)
    return command.run(words, given)


def main(words: Sequence[str]) -> int:
    return run(words, read_words(words))
