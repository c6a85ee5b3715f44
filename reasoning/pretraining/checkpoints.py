"""Checkpoints of pretraining, through `torch.distributed.checkpoint`: any world size loads them.

    RUN/checkpoints/step-00001000/
        .metadata, __*_*.distcp   weights and optimiser, each process's shards
        state.json                stream lanes, counters (plain numbers)
        pending.pt                of a stop between two log lines: what the next line is made of
        manifest.json             step and the sha256 of the rest: written last

Written and verified by the conventions of reasoning/training/checkpoints.py.
"""

import json
import warnings
from collections.abc import Container, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException

from reasoning.training.checkpoints import (
    CheckpointError,
    buffers_of,
    latest_checkpoint,
    partial_folder,
    refuse_unless_finite,
    unfold_buffers,
    verified,
    writing,
)
from reasoning.training.distribution import World

_MODEL, _STATE, _PENDING = "model.", "state.json", "pending.pt"


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights and buffers under their names in a checkpoint."""
    return {_MODEL + name: value for name, value in model.state_dict().items()}


def masks_of(model: nn.Module) -> set[str]:
    """Those of `model_tensors` that may hold -inf: its buffers."""
    return {_MODEL + name for name in buffers_of(model)}


def save_pretraining(
    run: Path,
    step: int,
    tensors: dict[str, Tensor],
    state: dict[str, Any],
    world: World,
    pending: dict[str, Any] | None = None,
) -> None:
    """Write the checkpoint of `step`; every process takes part with its shards of `tensors`.

    run: its folder; state: JSON-able and the same on every process; world: the processes; pending:
    what was gathered since the last log line, plain tensors and numbers, None: nothing.
    CheckpointError if the disk refuses.
    """
    here = writing(run, step) if world.is_main else nullcontext(partial_folder(run, step))
    with here as folder:
        world.barrier()
        try:
            with _quiet():
                dcp.save(tensors, checkpoint_id=folder, no_dist=world.size == 1)
        except CheckpointException as error:
            raise OSError(_first_failure(error)) from error
        if world.is_main:
            (folder / _STATE).write_text(json.dumps(state, allow_nan=False) + "\n")
            if pending is not None:
                torch.save(pending, folder / _PENDING)
    world.barrier()


def load_pretraining(
    run: Path, tensors: dict[str, Tensor], world: World, masks: Container[str] = ()
) -> dict[str, Any]:
    """Fill `tensors` (in place) from the latest checkpoint; returns its state with the `step`.

    run: its folder; world: the processes; masks: see `masks_of`.
    CheckpointError if there is none, or it is damaged, or of another model.
    """
    folder = latest_checkpoint(run)
    manifest = verified(folder)
    try:
        with _quiet():
            dcp.load(tensors, checkpoint_id=folder, no_dist=world.size == 1)
    except (CheckpointException, ValueError, RuntimeError) as error:
        why = _first_failure(error)
        if "second_moment" in why:
            raise CheckpointError(
                f"{folder}: written by a version that kept Muon's second moment of wide matrices "
                "per row, not per column: resume it with that version, or start the run anew; its "
                "weights can still be evaluated"
            ) from error
        raise CheckpointError(f"{folder}: does not fit this model: {why}") from error
    refuse_unless_finite(tensors, folder, masks)
    state = json.loads((folder / _STATE).read_text()) | {"step": manifest["step"]}
    if (folder / _PENDING).exists():
        pending = torch.load(folder / _PENDING, map_location="cpu", weights_only=True)
        state["pending"] = pending
    return state


def load_language_weights(run: Path, model: nn.Module, world: World) -> int:
    """Load the latest weights alone into `model`; returns their step."""
    unfold_buffers(model)
    return load_pretraining(run, model_tensors(model), world, masks_of(model))["step"]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning that one process is taken for the intent."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _first_failure(error: BaseException) -> str:
    """What one process says of a failure, without the others' and their tracebacks."""
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
