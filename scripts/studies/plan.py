"""What a table takes, told before it is trained: runs, steps, data, and the time from measured
steps."""

import time
from collections.abc import Sequence
from pathlib import Path

from puzzles.puzzle_set import PuzzleSet
from reasoning.nn.reasoner import parameter_count
from reasoning.training.checkpoints import list_checkpoints, read_manifest
from reasoning.training.distribution import World
from reasoning.training.loop import Trainer
from scripts.models.grids import grid_shape
from scripts.models.presets import RunConfig, build_model
from scripts.models.registry import PUZZLE_MODELS
from scripts.runs.data import training_stream
from scripts.runs.train import rehearse_first
from scripts.studies.lanes import SMALL, Lanes, choose_lanes
from scripts.terminal.console import Console
from scripts.usage import UsageError

ASKED_FROM = 3600.0  # seconds of training from which on --yes is asked for
_MEASURED = 2e9  # slots x cells x parameters of a step measured on a CPU: seconds
Run = tuple[RunConfig, Path, PuzzleSet]  # configuration, folder, training puzzles


def remaining(config: RunConfig, out: Path) -> int:
    """Steps that a run has still to make."""
    checkpoints = list_checkpoints(out)
    return max(0, config.steps - (read_manifest(checkpoints[-1])["step"] if checkpoints else 0))


def rehearse_own(runs: Sequence[Run], world: World) -> None:
    """InputError, before anything is measured or trained, for a model of the user's own that cannot
    be trained; see `rehearse`."""
    foreign = {
        config.preset: (config, train)  # a seed changes nothing of what is looked at
        for config, folder, train in runs
        if config.model.kind not in PUZZLE_MODELS.shipped and not (folder / "config.json").exists()
    }
    for config, train in foreign.values():
        model = build_model(config, grid_shape(train)).to(world.device)
        rehearse_first(model, config, train, world)


def lanes_of(asked: int | None, runs: Sequence[Run], world: World) -> Lanes:
    """The lanes of a study, see `choose_lanes`."""

    def small() -> bool:
        known: dict[tuple[str, int, int], float] = {}
        for config, _, train in runs:
            slots = config.micro_batch or config.batch
            key = (str(config.model), slots, train.seq_len)
            if key not in known:
                parameters = parameter_count(build_model(config, grid_shape(train)))
                known[key] = slots * train.seq_len * parameters
                if known[key] > SMALL:
                    return False
        return True

    return choose_lanes(asked, len(runs), small, world)


def step_seconds(config: RunConfig, train: PuzzleSet, world: World) -> float:
    """Seconds of one optimiser step in the middle of a run, without torch.compile; on a CPU it is
    measured on as many slots as take seconds, and scaled to the batch."""
    model = build_model(config, grid_shape(train))
    slots = config.batch
    if world.device.type == "cpu":
        work = train.seq_len * parameter_count(model)
        each = max(1, min(slots // world.size, int(_MEASURED / work)))
        slots = each * world.size
    small = config.model_dump() | {"batch": slots, "compile": False}
    small["micro_batch"] = min(config.micro_batch or slots, slots)
    measured = RunConfig.model_validate(small)
    stream = training_stream(measured, train)
    trainer = Trainer(model.to(world.device), stream, measured, world)
    trainer.done = max(0, config.steps // 2 - 1)
    trainer.advance()  # what is loaded and started once
    began = time.perf_counter()
    float(trainer.advance()["loss"])  # waits for the device
    return world.first(time.perf_counter() - began) * config.batch / slots


def state_plan(
    runs: Sequence[Run],
    lanes: Lanes,
    data: Sequence[str],
    yes: bool,
    world: World,
    console: Console,
) -> None:
    """Tell the plan. UsageError if it takes more than an hour and `yes` was not given.

    runs: all of the table's, of which those with steps still to make are told of; lanes: how many
    train at a time; data: a line for every set of puzzles; world: the processes that train them;
    console: where it is told.

    Steps are measured until the hour is full: a plan of days is told in seconds.
    """
    waiting = [(*run, steps) for run in runs if (steps := remaining(*run[:2]))]
    for line in data:
        console.print(line, soft_wrap=True)
    if not waiting:
        return
    at_once = min(lanes.at_once, len(waiting))
    known: dict[tuple[str, int], float] = {}  # by preset and cells: seeds take the same
    seconds, measured = 0.0, 0
    for config, _, train, steps in waiting:
        key = (config.preset + str(config.model), train.seq_len)
        if key not in known:
            with lanes.threads():
                known[key] = step_seconds(config, train, world)
        seconds += known[key] * steps / at_once
        measured += 1
        if seconds > ASKED_FROM:
            break
    hours = seconds / 3600
    shown = f"{hours:,.1f} hours" if hours > 1 else f"{seconds / 60:.1f} minutes"
    about = "about" if measured == len(waiting) else f"the first {measured} alone take about"
    total = sum(steps for *_, steps in waiting)
    where = f"on {world.device}"
    if at_once > 1:
        where += f", {at_once} at a time"
    runs_told = f"{len(waiting)} runs" if len(waiting) > 1 else "one run"
    console.print(
        f"{runs_told}, {total:,} steps {where}: {about} {shown} of training, "
        "by one step of each that was measured",
        soft_wrap=True,
    )
    if seconds > ASKED_FROM and not yes:
        raise UsageError(
            f"{len(waiting)} runs of {total:,} steps: {about} {shown} of training on "
            f"{world.device}; add --yes to begin, or choose a smaller --scale or --steps"
        )
