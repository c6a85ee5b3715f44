"""One run of a study: trained to its end, or gone on with, and scored."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from puzzles.parallel import StageProgress
from puzzles.puzzle_set import PuzzleSet
from reasoning.training.checkpoints import list_checkpoints, read_manifest
from reasoning.training.config import replanned
from reasoning.training.distribution import World
from reasoning.training.runs import RunError, read_config
from scripts.models.labels import differences, label, settings
from scripts.models.presets import RunConfig
from scripts.reports.curves import starts
from scripts.reports.report import Row, late_cell_loss, training_cost
from scripts.runs.data import read_puzzles
from scripts.runs.evaluate import evaluate_run
from scripts.runs.recorded import load_config, settings_hash
from scripts.runs.session import (
    NotFiniteError,
    TrainedRun,
    check_fits,
    identity,
    open_run,
    subset,
)
from scripts.runs.train import check_same_puzzles, train_run
from scripts.runs.training_command import Training, alone, waiting
from scripts.studies.beginnings import trained_before
from scripts.studies.examples import Pictured, pictured
from scripts.studies.jobs import Seat
from scripts.usage import UsageError

TRAINING_PUZZLES = 200  # of the training set, scored beside the held-out ones


def where_it_stands(out: Path, steps: int, world: World) -> Literal["new", "begun", "finished"]:
    """What a run's folder holds of so many steps, alike on every process."""
    begun, checkpoints = (out / "config.json").exists(), list_checkpoints(out)
    done = read_manifest(checkpoints[-1])["step"] if checkpoints else 0
    world.barrier()  # every process has read what is there before it changes
    if not begun:
        return "new"
    return "finished" if done == steps else "begun"


def check_same(config: RunConfig, out: Path) -> None:
    """UsageError if the folder holds a run of another configuration."""
    exists = (out / "config.json").exists()
    if exists and (other := differences(load_config(out)[0], config)):
        raise UsageError(f"{out}: holds another run ({', '.join(other)}); choose another --out")


def as_begun(
    config: RunConfig,
    folder: Path,
    chosen: frozenset[str] = frozenset(),
    seconds: float | None = None,
) -> RunConfig:
    """The configuration as a run that was begun in the folder has it, with its own steps.

    config: as it is asked for; chosen: settings that are its own too; seconds: for which it is to
    have been planned; none: any. UsageError for a folder with another run.
    """
    if not (folder / "config.json").exists():
        return config
    known = load_config(folder)[0]
    planned = (read_config(folder).get("deadline") or {}).get("seconds")
    if seconds is not None and planned is not None and planned != seconds:
        raise UsageError(
            f"{folder}: was begun for {planned:g} s, which its steps were planned by, not "
            f"{seconds:g}: ask for as long again, or choose another --out"
        )
    kept = {name: getattr(known, name) for name in chosen}
    asked = replanned(config, known.steps).model_copy(update=kept)
    if other := differences(known, asked):
        raise UsageError(f"{folder}: holds another run ({', '.join(other)}); choose another --out")
    return known


def finish_run(
    config: Any,
    out: Path,
    seat: Seat,
    check: Callable[[Any, Path], None] = check_same,
    train: Training[Any] = train_run,
) -> None:
    """Train a run, go on with an interrupted one, or leave a finished one as it is. If another
    command is at it, wait until that one is done.

    config: what is trained; out: its folder; seat: where it computes and whom it tells; check,
    train: `pretrain_run` and its check of what the folder holds, for a language model.
    KeyboardInterrupt when interrupted, the run saved. UsageError if the folder holds a run of
    another configuration. TrainingError if it cannot go on.
    """
    with alone(out, seat.world, partial(seat.say, waiting(out))):
        check(config, out)
        standing = where_it_stands(out, config.steps, seat.world)
        if standing == "finished":
            return
        stopped = train(config, out, seat.world, standing == "begun", seat.followers)
    leave_if(stopped, out, seat)


def leave_if(stopped: int | None, out: Path, seat: Seat) -> None:
    """KeyboardInterrupt if a run was interrupted at a step, which is told."""
    if stopped is not None:
        seat.say(f"{out}: stopped at step {stopped}; the same command goes on from there")
        raise KeyboardInterrupt


@dataclass(frozen=True)
class Scored:
    """A run as a comparison takes it: its row, what pictures need of it, and what its data folder
    holds; the row alone of a run that failed."""

    row: Row
    pictured: Pictured | None = None
    puzzles: str = ""


def score_run(folder: Path, data: Path | None, world: World, tell: StageProgress) -> Scored:
    """Score a run on all held-out puzzles of the data, or of its own training folder. One that has
    no checkpoint, or whose weights give NaN, is a failure.

    data: a folder of puzzles; None: its own; world: the processes, which share the puzzles; tell:
    told of a stage's name, what is done and what there is in all.
    """
    if not list_checkpoints(folder):
        config, grid = load_config(folder)
        shape = grid["kind"], grid["cells"]
        return failed_run(config, folder, *shape, "it has no checkpoint; train it first")
    run, place, train, held_out = _to_score(folder, data, world)
    cost, before = _whole_cost(folder, run.step), trained_before(folder)
    segments = run.config.supervision.segments
    name = label(run.config, held_out.kind, held_out.seq_len)
    if not run.step:  # imported: what it is called says too little of what it is
        name = f"{name} {folder.name}"
    training = subset(train, TRAINING_PUZZLES)
    tell_held_out, tell_known = (
        partial(tell, f"segments of {split} puzzles") for split in ("held-out", "training")
    )
    try:
        scored = evaluate_run(run, held_out, segments, world, tell=tell_held_out)
        known = evaluate_run(run, training, segments, world, metered=False, tell=tell_known).record
    except NotFiniteError as error:
        return failed_run(run.config, folder, held_out.kind, held_out.seq_len, str(error))
    row = Row(
        *(name, folder, run.config.seed, scored.record, known, cost),
        cell_loss=late_cell_loss(folder, run.step),
        data=str(place.resolve()),
        trained_on=str(Path(run.config.data).resolve()) if run.config.data else "",
        began=(read_config(folder).get("started_from") or {"step": 0})["step"],
        before=settings_hash({"links": before}) if before else "",
        planned=run.config.steps if run.step else None,  # 0: imported, not trained here
        recipe=settings_hash(settings(run.config)),
    )
    holds = (
        f"{held_out.size}x{held_out.size} {held_out.kind}, {len(train):,} training and "
        f"{len(held_out):,} held-out puzzles"
    )
    return Scored(row, pictured(run, held_out, scored, world), holds)


def check_scorable(folder: Path, data: Path | None, world: World) -> None:
    """RunError or UsageError for a run with a checkpoint that `score_run` refuses; arguments as
    there."""
    if list_checkpoints(folder):
        _to_score(folder, data, world)


def _to_score(
    folder: Path, data: Path | None, world: World
) -> tuple[TrainedRun, Path, PuzzleSet, PuzzleSet]:
    """A run, the folder of puzzles it is scored on, and that one's training and held-out puzzles.
    RunError or UsageError if they do not go together; arguments as of `score_run`."""
    run = open_run(folder, world)
    if data is None and not run.config.data:
        raise UsageError(f"{folder}: imported weights have no puzzles of their own: give --data")
    place = data or Path(run.config.data)
    held_out, train = read_puzzles(place, "test"), read_puzzles(place, "train")
    check_fits(run, held_out, place)
    if run.config.data and place.resolve() == Path(run.config.data).resolve():
        puzzles = identity(train, subset(held_out, run.config.evaluate_puzzles))
        check_same_puzzles(puzzles, run.config, folder)
    return run, place, train, held_out


def _whole_cost(folder: Path, step: int) -> dict[str, float]:
    """What training took up to a step, that of the runs its weights came from included; {} where
    one of them tells nothing of it, or is not there."""
    try:
        links = [*starts(folder), (folder, step)]
    except RunError:
        return {}
    costs = [training_cost(*link) for link in links]
    names = set.intersection(*map(set, costs))
    whole = {name: sum(cost[name] for cost in costs) for name in names - {"bytes"}}
    return whole | ({"bytes": max(cost["bytes"] for cost in costs)} if "bytes" in names else {})


def failed_run(config: RunConfig, folder: Path, kind: str, cells: int, reason: str) -> Scored:
    """A run that failed, as `score_run` gives one.

    config: its own; folder: where it lies; kind, cells: of its puzzles, for the label; reason: why,
    a line.
    """
    return Scored(Row(label(config, kind, cells), folder, config.seed, failure=reason))
