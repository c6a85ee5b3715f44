"""`loopbench compare`: one table over runs, or over presets x seeds trained on the same data."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.markdown import Markdown

from puzzles.dataset import read_split
from reasoning.training.checkpoints import list_checkpoints
from reasoning.training.distribution import World, join_world
from reasoning.training.runs import write_json
from scripts.evaluate import evaluate_run
from scripts.live import LiveProgress
from scripts.presets import RunConfig, preset
from scripts.report import Row, comparison, markdown, plot_curves, read_row
from scripts.session import check_fits, load_config, open_run
from scripts.train import newest, train_run
from scripts.usage import UsageError, parse


def finish_run(config: RunConfig, out: Path, world: World, console: Console) -> None:
    """Train a run, go on with an interrupted one, or leave a finished one as it is.

    KeyboardInterrupt when interrupted, the run saved. UsageError if the folder holds a run of
    another configuration.
    """
    exists = (out / "config.json").exists()
    if exists and load_config(out)[0] != config:
        raise UsageError(f"{out}: holds a run of another configuration; choose another --out")
    checkpoints = list_checkpoints(out)
    if checkpoints and json.loads((checkpoints[-1] / "manifest.json").read_text())["step"] == (
        config.steps
    ):
        return
    if exists and not checkpoints:
        # Interrupted before its first checkpoint: nothing to keep but the record of the attempt.
        (out / "config.json").unlink()
    with LiveProgress(f"{config.preset} seed {config.seed}", console, newest) as live:
        outcome = train_run(config, out, world, resume=bool(checkpoints), listen=live)
    if outcome.interrupted:
        console.print(f"{out}: stopped at step {outcome.step}; the same command goes on from there")
        raise KeyboardInterrupt


def collect(runs: Sequence[Path], data: Path | None, world: World) -> list[Row]:
    """Evaluate every run on all held-out puzzles of `data`, or of its own training folder."""
    rows = []
    for folder in runs:
        run = open_run(folder, world)
        place = data or Path(run.config.data)
        puzzles = read_split(place, "test")
        check_fits(run, puzzles, place)
        record = evaluate_run(run, puzzles, run.config.supervision.segments, world)
        rows.append(read_row(folder, record))
    return rows


def write_comparison(rows: Sequence[Row], out: Path) -> str:
    """Write OUT/comparison.{md,json} and OUT/curves.png; returns the Markdown."""
    out.mkdir(parents=True, exist_ok=True)
    groups = comparison(rows)
    text = markdown(groups)
    write_json(out / "comparison.json", groups)
    (out / "comparison.md").write_text(text)
    plot_curves([(row.evaluation["preset"], row.folder) for row in rows], out / "curves.png")
    return text


def compare(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    presets: str = "",
    data: Path | None = None,
    seeds: int = 3,
    steps: int | None = None,
    out: Path = Path("runs/comparison"),
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
) -> None:
    """Compare finished runs, or train presets x seeds on the same data order and compare those.

    Args:
        runs: folders of finished runs; none with --presets.
        presets: presets to train, separated by commas.
        data: data folder; with runs, none means each run's own.
        seeds: seeds per preset, 0 upwards.
        steps: optimiser steps; none: each preset's own.
        out: folder for the table, the curves and, with --presets, the runs.
        device: where to run; auto: the best present.
    """
    if bool(runs) == bool(presets):
        raise UsageError("give either runs or --presets with --data")
    world, console = join_world(device), Console()
    folders = list(runs)
    if presets:
        if data is None:
            raise UsageError("--presets needs --data DIR")
        if seeds < 1:
            raise UsageError(f"--seeds: must be at least 1 (got {seeds})")
        kind = read_split(data, "train").kind
        for name in presets.split(","):
            for seed in range(seeds):
                config = preset(name.strip(), kind).model_dump()
                config |= {"seed": seed, "data": str(data), "device": device}
                if steps is not None:
                    config["steps"] = steps
                folder = out / f"{name.strip()}-seed{seed}"
                finish_run(RunConfig.model_validate(config), folder, world, console)
                folders.append(folder)
    text = write_comparison(collect(folders, data, world), out)
    Console(width=max(110, console.width)).print(Markdown(text))
    console.print(f"wrote {out}/comparison.md, comparison.json and curves.png")


def main(words: Sequence[str]) -> int:
    parse(compare, words, "loopbench compare")()
    return 0
