"""`loopbench train`: one run. Also `torchrun --nproc-per-node N -m scripts train ...`."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from torch import nn

from puzzles.puzzle_set import PuzzleSet
from puzzles.stream import BatchStream
from reasoning.nn.compilation import check_compiler
from reasoning.records import finite, log_histogram
from reasoning.training import loop
from reasoning.training.checkpoints import load_weights, was_saved
from reasoning.training.deadline import plan, seconds_of
from reasoning.training.distribution import World, join_world
from reasoning.training.loop import Outcome, Trainer
from reasoning.training.runs import (
    RunError,
    create_run,
    extend_run,
    finished,
    make_folder,
    read_config,
    refuse_begun,
    restart_run,
)
from scripts.models.grids import grid_shape
from scripts.models.presets import RunConfig, build_model, preset, preset_names
from scripts.runs.live import LiveProgress, Reporter, WandbMode
from scripts.runs.session import (
    check_ids,
    identity,
    load_config,
    metrics,
    read_data,
    run_predictions,
    subset,
)
from scripts.terminal.config_files import configured, read_config_file
from scripts.terminal.console import Console
from scripts.terminal.extras import need
from scripts.terminal.folders import keep_apart
from scripts.usage import UsageError, option_value, parse, resumes


@dataclass(frozen=True)
class Train:
    """Train a preset on a data folder, or go on with an interrupted run.

    loopbench train --preset trm-cpu --data DIR --out RUN [options]
    loopbench train --resume RUN
    """

    config: Annotated[RunConfig, tyro.conf.arg(name="")]
    config_file: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """A YAML file, or a run's config.json, of settings that differ from the preset's; options given
    beside it count more."""
    out: Path | None = None
    """Folder to write the run to; it must not hold one already."""
    resume: Path | None = None
    """Folder of a run to go on with, bit for bit, under its own configuration; with --steps to
    another end, its schedule planned anew."""
    start: Path | None = None
    """Begin from the averaged weights of this run, of any size of grid that they fit: say of a run
    on smaller mazes. What was begun from stands in RUN/config.json."""
    wandb: WandbMode = "off"
    """Report to Weights & Biases too; offline needs no account."""
    tensorboard: bool = False
    """Write RUN/tensorboard too (extra tensorboard)."""
    for_: Annotated[str | None, tyro.conf.arg(name="for")] = None
    """Train for so long, such as 2h or 8.5m: steps are measured first, and as many planned as end
    then, instead of --steps; the record of that is in RUN/config.json."""

    @property
    def seconds(self) -> float | None:
        return None if self.for_ is None else seconds_of(self.for_)


def read_words(words: Sequence[str]) -> Train:
    """Parse the command. The preset, and the data's kind, decide what the other words override."""
    program = "loopbench train"
    if resumes(words):
        return parse(Train, words, program, Train(preset("attractor-mini")))
    name, data = option_value(words, "--preset"), option_value(words, "--data")
    file = option_value(words, "--config")
    if {"-h", "--help"} & set(words):
        name, data = name or "attractor-cpu", None
    if name is None and file is None:
        raise UsageError(f"give --preset, one of {', '.join(preset_names())}")
    if file is not None:
        data = data or read_config_file(Path(file)).get("data") or None
    grid = ("sudoku",)
    if data is not None:
        train, _ = read_data(data)
        grid = train.kind, train.seq_len

    def named(name: str) -> RunConfig:
        return preset(name, *grid)

    config = named(name) if file is None else configured(Path(file), words, named, RunConfig)
    given = parse(Train, words, program, Train(config))
    if not given.config.data or given.out is None:
        raise UsageError("give --data DIR and --out RUN")
    if given.seconds is not None and option_value(words, "--steps") is not None:
        raise UsageError("--for and --steps both say how long to train: give one of them")
    return given


def train_run(
    config: RunConfig,
    out: Path,
    world: World,
    resume: bool = False,
    wandb: WandbMode = "off",
    listen: Callable[[loop.Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda line: None,
    seconds: float | None = None,
    start: Path | None = None,
    tensorboard: bool = False,
) -> Outcome:
    """Train a run to its end, or to an interrupt. Everything it takes is checked first.

    say: told, in a line, what the user should know of before the first step.
    seconds: how long a new run is to take from now on, instead of its configuration's steps.
    start: a run whose averaged weights a new run begins with. CheckpointError if they do not fit.
    """
    began = time.perf_counter()
    if config.compile:
        check_compiler(world.device)
    train, test = read_data(config.data)
    check_ids(test, train.num_puzzle_ids, Path(config.data))
    held_out = subset(test, config.evaluate_puzzles)
    puzzles = identity(train, held_out)
    if resume and read_config(out).get("puzzles_sha256", puzzles) != puzzles:
        raise RunError(
            f"{config.data}: holds other puzzles than those that {out} was trained on: put them "
            "back, or begin a new run"
        )
    model = build_model(config, grid_shape(train)).to(world.device)
    saved = resume and was_saved(out)
    if resume and not saved:  # it begins once more, from what it began with
        start = read_config(out).get("started_from", {}).get("run")
    planned: dict[str, Any] = {}
    if start is not None and not saved:
        planned["started_from"] = {"run": str(start), "step": load_weights(Path(start), model)}
    stream = BatchStream(train, config.batch, config.seed, config.augment)

    def evaluate(averaged: nn.Module) -> dict[str, Any]:
        return held_out_record(averaged, config, held_out, world)

    def tell(progress: loop.Progress) -> None:
        reporter(progress)
        listen(progress)

    trainer = Trainer(model, stream, config, world, out, evaluate, tell)
    if saved:
        trainer.resume()
    elif not resume and seconds is not None:
        make_folder(out)
        planned["deadline"] = plan(trainer, seconds, began)
        say(f"{trainer.config.steps:,} steps are to end {seconds:g} s after the start")
    settings = trainer.config.model_dump(mode="json")  # before a folder is made: wandb may refuse
    reporter = Reporter(
        wandb if world.is_main else "off", out, settings, tensorboard and world.is_main
    )
    if not resume and world.is_main:
        record = _record(trainer.config, train, trainer) | {"puzzles_sha256": puzzles}
        create_run(out, record | planned)
    elif resume and not saved and world.is_main:
        say(restart_run(out))
    if resume:
        told = extend_run(out, trainer.done, config.steps, write=world.is_main)
        if told or trainer.done == config.steps:
            say(told or finished(out, config.steps))
    world.barrier()
    outcome = trainer.train()
    reporter.finish()
    return outcome


def with_steps(config: RunConfig, steps: int) -> RunConfig:
    """The configuration with another end."""
    return RunConfig.model_validate(config.model_dump() | {"steps": steps})


def held_out_record(
    model: nn.Module, config: RunConfig, puzzles: PuzzleSet, world: World
) -> dict[str, Any]:
    """Held-out metrics after the last segment, mean diagnostics of that segment, and how its
    residuals are spread over the puzzles."""
    predictions = run_predictions(model, config, puzzles, config.supervision.segments, world)
    record: dict[str, Any] = dict(metrics(puzzles, predictions.tokens[-1]))
    for name, values in predictions.diagnostics.items():
        record[name] = finite(values[-1].mean())
    residual = predictions.diagnostics.get("residual")
    spread = None if residual is None else log_histogram(residual[-1])
    return record if spread is None else record | {"residual_log10": spread}


def _record(config: RunConfig, train: PuzzleSet, trainer: Trainer) -> dict[str, Any]:
    shape = grid_shape(train)
    return {
        "config": config.model_dump(mode="json"),
        "grid": {
            "kind": train.kind,
            "size": train.size,
            "cells": shape.cells,
            "vocabulary": shape.vocabulary,
            "puzzles": shape.puzzles,
        },
        "optimizer_kernels": trainer.optimizers.kernels,
        "device": str(trainer.world.device),
        "processes": trainer.world.size,
        "runs_beside": trainer.world.beside,
    }


def newest(progress: loop.Progress) -> dict[str, str]:
    """What a report says of the loss and of held-out puzzles."""
    said = {}
    if progress.training:
        said["loss"] = f"{progress.training['cell_loss']:.3f}"
    if progress.evaluation:
        said["held-out exact"] = f"{100 * progress.evaluation['exact']['mean']:.1f} %"
    return said


def main(words: Sequence[str]) -> int:
    """The command. 0 when trained to the end, 130 when interrupted (resumable)."""
    given = read_words(words)
    resume = given.resume is not None
    out = given.resume if resume else given.out
    config = load_config(out)[0] if resume else given.config
    if resume and option_value(words, "--steps") is not None:
        config = with_steps(config, given.config.steps)
    if not resume:
        keep_apart(out, "puzzle run")
        refuse_begun(out)
    elif not config.data:
        raise RunError(f"{out}: holds imported weights, not training: there is nothing to resume")
    if given.tensorboard:
        need("--tensorboard", "tensorboard", "tensorboard")
    world = join_world(config.device)
    console = Console(stderr=True, quiet=not world.is_main)
    say = partial(console.print, soft_wrap=True)
    with LiveProgress(f"{config.preset} seed {config.seed}", console, newest) as live:
        outcome = train_run(
            *(config, out, world, resume),
            wandb=given.wandb,
            listen=live,
            say=say,
            seconds=given.seconds,
            start=given.start,
            tensorboard=given.tensorboard,
        )
    if outcome.interrupted:
        console.print(f"stopped at step {outcome.step}; go on with: loopbench train --resume {out}")
        return 130
    return 0
