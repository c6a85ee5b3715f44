"""`loopbench train`: one run. Also `torchrun --nproc-per-node N -m scripts.train ...`."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch.distributed as dist
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from puzzles.puzzle_set import PuzzleSet
from puzzles.stream import BatchStream
from reasoning.training import loop
from reasoning.training.distribution import World, join_world
from reasoning.training.loop import Outcome, Trainer
from reasoning.training.runs import RunError, create_run
from scripts.presets import RunConfig, build_model, preset, preset_names
from scripts.session import grid_shape, load_config, metrics, read_data, run_predictions, subset
from scripts.usage import UsageError, parse

WandbMode = Literal["off", "online", "offline"]


@dataclass(frozen=True)
class Train:
    """Train a preset on a data folder, or go on with an interrupted run.

    loopbench train --preset trm-cpu --data DIR --out RUN [options]
    loopbench train --resume RUN
    """

    config: Annotated[RunConfig, tyro.conf.arg(name="")]
    out: Path | None = None
    """Folder to write the run to; it must not hold one already."""
    resume: Path | None = None
    """Folder of a run to go on with, bit for bit, under its own configuration."""
    wandb: WandbMode = "off"
    """Report to Weights & Biases too; offline needs no account."""


def _words_of(words: Sequence[str], flag: str) -> str | None:
    """The value of --flag VALUE or --flag=VALUE, if given."""
    for i, word in enumerate(words):
        if word == flag and i + 1 < len(words):
            return words[i + 1]
        if word.startswith(flag + "="):
            return word.split("=", 1)[1]
    return None


def read_words(words: Sequence[str]) -> Train:
    """Parse the command. The preset, and the data's kind, decide what the other words override."""
    program = "loopbench train"
    if "--resume" in words or any(word.startswith("--resume=") for word in words):
        # Everything else is the run's own; only where to report may change.
        default = Train(preset("attractor-mini"))
        given = parse(Train, words, program, default)
        changed = given.config != default.config or given.out is not None
        if changed:
            raise UsageError("--resume RUN goes on under RUN's own configuration: give it alone")
        return given
    name, data = _words_of(words, "--preset"), _words_of(words, "--data")
    if {"-h", "--help"} & set(words):
        name, data = name or "attractor-cpu", None
    if name is None:
        raise UsageError(f"give --preset, one of {', '.join(preset_names())}")
    kind = read_data(data)[0].kind if data is not None else "sudoku"
    given = parse(Train, words, program, Train(preset(name, kind)))
    if not given.config.data or given.out is None:
        raise UsageError("give --data DIR and --out RUN")
    return given


def train_run(
    config: RunConfig,
    out: Path,
    world: World,
    resume: bool = False,
    wandb: WandbMode = "off",
    listen: Callable[[loop.Progress], None] = lambda progress: None,
) -> Outcome:
    """Train a run to its end, or to an interrupt. Everything it takes is checked first."""
    train, test = read_data(config.data)
    held_out = subset(test, config.evaluate_puzzles)
    model = build_model(config, grid_shape(train)).to(world.device)
    stream = BatchStream(train, config.batch, config.seed, config.augment)

    def evaluate(averaged: nn.Module) -> dict[str, Any]:
        return held_out_record(averaged, config, held_out, world)

    reporter = _wandb_run(wandb, config, out) if world.is_main else None

    def tell(progress: loop.Progress) -> None:
        if reporter is not None:
            for name, record in (("train", progress.training), ("test", progress.evaluation)):
                if record:
                    reporter.log({f"{name}/{k}": v for k, v in _flat(record)}, step=progress.step)
        listen(progress)

    trainer = Trainer(model, stream, config, world, out, evaluate, tell)
    if resume:
        trainer.resume()
    elif world.is_main:
        create_run(out, _record(config, train, trainer))
    world.barrier()
    outcome = trainer.train()
    if reporter is not None:
        reporter.finish()
    return outcome


def held_out_record(
    model: nn.Module, config: RunConfig, puzzles: PuzzleSet, world: World
) -> dict[str, Any]:
    """Held-out metrics after the last segment, and mean diagnostics of that segment."""
    predictions = run_predictions(model, config, puzzles, config.supervision.segments, world)
    record: dict[str, Any] = dict(metrics(puzzles, predictions.tokens[-1]))
    for name, values in predictions.diagnostics.items():
        mean = float(values[-1].mean())
        record[name] = mean if math.isfinite(mean) else None
    return record


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
    }


def _flat(record: dict[str, Any]):
    for name, value in record.items():
        if isinstance(value, dict):
            yield name, value["mean"]
        elif value is not None:
            yield name, value


def _wandb_run(mode: WandbMode, config: RunConfig, out: Path):
    if mode == "off":
        return None
    import wandb

    return wandb.init(
        project="loopbench",
        name=out.name,
        dir=out.parent,
        mode=mode,
        config=config.model_dump(mode="json"),
    )


class LiveProgress:
    """A live line with the loss, the held-out accuracy and the time left."""

    def __init__(self, label: str, console: Console):
        self._progress = Progress(
            TextColumn(f"[bold]{label}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  held-out exact {task.fields[exact]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = None

    def __enter__(self) -> "LiveProgress":
        return self

    def __exit__(self, *error: object) -> None:
        if self._task is not None:
            self._progress.stop()

    def __call__(self, progress: loop.Progress) -> None:
        if self._task is None:
            self._progress.start()  # with the first step: a refusal before it prints one line
            self._task = self._progress.add_task("", total=progress.total, loss="-", exact="-")
        fields = {}
        if progress.training:
            fields["loss"] = f"{progress.training['cell_loss']:.3f}"
        if progress.evaluation:
            fields["exact"] = f"{100 * progress.evaluation['exact']['mean']:.1f} %"
        self._progress.update(self._task, completed=progress.step, **fields)


def main(words: Sequence[str]) -> int:
    """The command. 0 when trained to the end, 130 when interrupted (resumable)."""
    given = read_words(words)
    resume = given.resume is not None
    out = given.resume if resume else given.out
    config = load_config(out)[0] if resume else given.config
    if not resume and (out / "config.json").exists():
        raise RunError(f"{out}: already holds a run; go on with --resume {out} or choose another")
    if resume and not config.data:
        raise RunError(f"{out}: holds imported weights, not training: there is nothing to resume")
    world = join_world(config.device)
    console = Console(stderr=True, quiet=not world.is_main)
    try:
        with LiveProgress(f"{config.preset} seed {config.seed}", console) as live:
            outcome = train_run(config, out, world, resume, given.wandb, live)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    if outcome.interrupted:
        console.print(f"stopped at step {outcome.step}; go on with: loopbench train --resume {out}")
        return 130
    return 0


if __name__ == "__main__":
    from scripts.cli import main as loopbench

    sys.exit(loopbench(["train", *sys.argv[1:]]))
