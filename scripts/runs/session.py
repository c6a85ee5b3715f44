"""Where arrays meet tensors: a run's data and model, and held-out metrics of a model."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from puzzles.metrics import score, summarise
from puzzles.puzzle_set import PuzzleSet
from reasoning.names import Activations
from reasoning.nn.grid import GridShape
from reasoning.training.checkpoints import load_weights
from reasoning.training.distribution import World
from reasoning.training.evaluation import Predictions, predict
from reasoning.training.runs import RunError
from scripts.models.grids import grid_shape, recorded_shape
from scripts.models.presets import RunConfig, build_model
from scripts.runs.recorded import load_config

_EVALUATED_TOKENS = 2**17
_CACHED_TOKENS = 1300


class NotFiniteError(RunError):
    """A run's weights say nothing: its scores are not numbers."""


def not_finite(run: "TrainedRun") -> NotFiniteError:
    """What to say of such a run."""
    return NotFiniteError(
        f"{run.folder}: at step {run.step} its weights give NaN: its training diverged; train "
        "it again at a lower --optimizer.lr, or leave it out"
    )


@dataclass(frozen=True)
class TrainedRun:
    """A run read back: its configuration, the averaged weights at a step, what it was made for."""

    folder: Path
    config: RunConfig
    kind: str
    size: int
    shape: GridShape
    model: nn.Module
    step: int


def open_run(run: Path, world: World) -> TrainedRun:
    """Load a run's latest averaged weights onto `world.device`. RunError for what is none."""
    config, grid = load_config(run)
    shape = recorded_shape(grid)
    model = build_model(config, shape)
    step = load_weights(run, model)
    made_for = grid["kind"], grid["size"], shape
    return TrainedRun(run, config, *made_for, model.to(world.device).eval(), step)


def adjusted(
    run: TrainedRun, tolerance: float | None = None, precision: Activations | None = None
) -> TrainedRun:
    """The run with another tolerance of the solver that it has, or other activations, if given."""
    if tolerance is None and precision is None:
        return run
    changed = run.config.model_dump()
    if precision is not None:
        changed["precision"] = precision
    if tolerance is not None:
        changed["model"]["solver"]["tolerance"] = tolerance
    config = RunConfig.model_validate(changed)
    model = build_model(config, run.shape)
    model.load_state_dict(run.model.state_dict())
    model = model.to(next(run.model.parameters()).device).eval()
    return replace(run, config=config, model=model)


def check_fits(run: TrainedRun, puzzles: PuzzleSet, data: Path) -> None:
    """RunError unless the run was trained on this kind and size of puzzle, and knows its ids."""
    if (run.kind, run.size) != (puzzles.kind, puzzles.size):
        raise _unfit(run, puzzles, data, "")
    check_ids(puzzles, run.shape.puzzles, data)


def fitted(run: TrainedRun, puzzles: PuzzleSet, data: Path) -> TrainedRun:
    """The run as it answers these puzzles: as it is, or, of another size, its weights in a net of
    that size where none of them depends on it, as with the mixers local and axial.

    RunError for another kind of puzzle, for weights that do not fit and for unknown ids.
    """
    if run.kind != puzzles.kind or run.size == puzzles.size:
        check_fits(run, puzzles, data)
        return run
    shape = replace(grid_shape(puzzles), puzzles=run.shape.puzzles)
    known = run.model.state_dict()
    try:
        model = build_model(run.config, shape)
    except ValueError as error:  # such as a token mixer, for which this grid is too large
        raise _unfit(run, puzzles, data, f", and {error}") from error
    fresh = model.state_dict()
    changed = [k for k in {**known, **fresh} if _shape_of(k, known) != _shape_of(k, fresh)]
    if changed:
        raise _unfit(run, puzzles, data, f", and its {changed[0]} is of that size")
    check_ids(puzzles, run.shape.puzzles, data)
    model.load_state_dict(known)
    model = model.to(next(run.model.parameters()).device).eval()
    return replace(run, size=puzzles.size, shape=shape, model=model)


def _shape_of(name: str, state: Mapping[str, torch.Tensor]) -> torch.Size | None:
    return state[name].shape if name in state else None


def _unfit(run: TrainedRun, puzzles: PuzzleSet, data: Path, why: str) -> RunError:
    return RunError(
        f"{data}: holds {puzzles.kind} of size {puzzles.size}, but {run.folder} was trained on "
        f"{run.kind} of size {run.size}{why}"
    )


def check_ids(puzzles: PuzzleSet, known: int, data: Path) -> None:
    """RunError if a puzzle's identifier has no embedding in a model that knows so many."""
    if puzzles.num_puzzle_ids > known:
        raise RunError(
            f"{data}: has {puzzles.num_puzzle_ids} puzzle identifiers, but the model's training "
            f"puzzles have {known}: it has no embedding of the others"
        )


def subset(puzzles: PuzzleSet, count: int) -> PuzzleSet:
    """A fixed random choice of `count` groups, in order; all of them if count is 0, or as many."""
    if not 0 < count < puzzles.groups:
        return puzzles
    chosen = np.random.default_rng(0).permutation(puzzles.groups)[:count]
    return puzzles.take_groups(np.sort(chosen))


def identity(*sets: PuzzleSet) -> str:
    """sha256 of all that sets of puzzles hold which training and scoring read."""
    digest = hashlib.sha256()
    for puzzles in sets:
        for name in ("inputs", "labels", "puzzle_ids", "group_offsets"):
            values = np.ascontiguousarray(getattr(puzzles, name))
            digest.update(f"{name} {values.shape}".encode())
            digest.update(values.tobytes())
    return digest.hexdigest()


def metrics(
    puzzles: PuzzleSet, tokens: np.ndarray, rows: np.ndarray | slice = slice(None)
) -> dict[str, dict[str, float]]:
    """cell, exact, valid (and valid_shortest) as {mean, stderr, n} of predictions on rows."""
    scores = score(puzzles.kind, puzzles.inputs[rows], puzzles.labels[rows], tokens[rows])
    return {
        name: {"mean": value.mean, "stderr": value.stderr, "n": value.n}
        for name, value in summarise(scores).items()
    }


def evaluation_batch(config: RunConfig, puzzles: PuzzleSet, device: torch.device) -> int:
    """Puzzles answered at once: as many as in training and at least 128, within what fits a small
    memory (34 MiB a 30x30 maze at 7M in fp32); on a CPU within what its caches hold between one
    layer and the next, which is worth a fifth of the time."""
    if device.type == "cpu":
        return max(1, _CACHED_TOKENS // puzzles.seq_len)
    return max(1, min(max(config.batch, 128), _EVALUATED_TOKENS // puzzles.seq_len))


def run_predictions(
    model: nn.Module,
    config: RunConfig,
    puzzles: PuzzleSet,
    segments: int,
    world: World,
) -> Predictions:
    """Predictions of every puzzle after each segment.

    model: on `world.device`; config: of its run, for the batch and the precision; puzzles: all of
    which are answered; segments: how many each gets; world: the processes, which share the puzzles
    and all get the predictions.
    """
    return predict(
        model,
        puzzles.inputs,
        puzzles.puzzle_ids,
        segments,
        evaluation_batch(config, puzzles, world.device),
        world,
        config.precision,
    )
