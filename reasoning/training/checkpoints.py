"""Checkpoints that resume exactly, written atomically, the last two kept.

    RUN/checkpoints/step-00001000/
        weights.safetensors   the trained weights and buffers
        ema.safetensors       their moving average, which evaluation uses
        state.pt              optimiser, carry, counters, RNG (plain tensors and numbers)
        manifest.json         step and the sha256 of the three: written last, so its presence
                              means that the folder is whole

A folder is prepared beside its place and renamed into it; a reader never sees half a checkpoint.
"""

import json
import os
import shutil
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from reasoning.errors import InputError
from reasoning.records import sha256_of
from reasoning.training.distribution import is_placed
from reasoning.training.runs import list_checkpoints

KEPT = 2
_FILES = ("weights.safetensors", "ema.safetensors", "state.pt")


class CheckpointError(InputError):
    """A checkpoint is missing, damaged or of another model; one line with the file and remedy."""


def plain_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights and buffers on the CPU as safetensors takes them: what shares its memory,
    such as tied weights, each a copy of its own."""
    plain: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, value in model.state_dict().items():
        value = value.detach().cpu().contiguous()
        place = value.untyped_storage().data_ptr()
        plain[name] = value.clone() if place in places else value
        places.add(place)
    return plain


def last_words(run: Path | None) -> str:
    """What a run that has to stop leaves behind."""
    found = list_checkpoints(run) if run else []
    if not found:
        return "no checkpoint was written"
    return f"the checkpoint of step {int(found[-1].name.removeprefix('step-'))} is intact"


def buffers_of(model: nn.Module) -> set[str]:
    """The names of its state that are not trained."""
    trained = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return model.state_dict().keys() - trained


def unfold_buffers(model: nn.Module) -> None:
    """Give expanded buffers, whose places share memory, memory of their own: none can be written
    into before."""
    for name, buffer in list(model.named_buffers()):
        if any(n > 1 and not step for n, step in zip(buffer.shape, buffer.stride(), strict=True)):
            holder, _, last = name.rpartition(".")
            setattr(model.get_submodule(holder), last, buffer.clone())


def first_not_finite(tensors: Mapping[str, Tensor], masks: Container[str] = ()) -> str | None:
    """The name of the first that holds a NaN or an infinity; of sharded ones, this process's part.

    masks: those that may hold -inf, which rules something out, as a buffer or a carried state may.

    No loop writes a checkpoint with one: it could not be resumed, and would push out a good one.
    """
    for name, value in tensors.items():
        here = value.to_local() if is_placed(value) else value
        if not here.is_floating_point():
            continue
        ruled_out = here.isneginf() if name in masks else torch.zeros_like(here, dtype=torch.bool)
        if not bool((here.isfinite() | ruled_out).all()):
            return name
    return None


def was_saved(run: Path) -> bool:
    """Whether a run got as far as a checkpoint. A damaged one counts: it must not be taken for a
    run that may start over."""
    return any((run / "checkpoints").glob("step-*"))


def partial_folder(run: Path, step: int) -> Path:
    """Where the checkpoint of `step` is prepared."""
    return run / "checkpoints" / f".partial-{step:08d}"


@contextmanager
def writing(run: Path, step: int) -> Iterator[Path]:
    """The folder to write the checkpoint of `step` to; put in place whole when the block ends,
    then all but the last two are dropped.

    CheckpointError if the disk refuses; earlier checkpoints then stay as they are.
    """
    folder, partial = run / "checkpoints" / f"step-{step:08d}", partial_folder(run, step)
    try:
        for left in partial.parent.glob(".partial-*"):  # by a run that was killed as it wrote
            shutil.rmtree(left, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        digests = {path.name: sha256_of(path) for path in sorted(partial.iterdir())}
        manifest = {"step": step, "sha256": digests}
        (partial / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    except (OSError, RuntimeError) as error:
        # torch and safetensors report a full disk as RuntimeError subclasses of their own.
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(
            f"{folder}: could not be written ({error}); free some disk space and resume the run; "
            f"{last_words(run)}"
        ) from error
    oldest = list_checkpoints(run)[-KEPT:][0]
    for old in oldest.parent.glob("step-*"):
        if old < oldest:  # with its manifest, or a part that a kill left of it
            shutil.rmtree(old)


def save_checkpoint(
    run: Path, step: int, model: nn.Module, ema: nn.Module, state: dict[str, Any]
) -> None:
    """Write the checkpoint of `step`; see `writing`.

    run: its folder; model: the trained weights; ema: their average; state: the rest, plain tensors
    and numbers.
    """
    with writing(run, step) as folder:
        save_file(plain_tensors(model), folder / _FILES[0])
        save_file(plain_tensors(ema), folder / _FILES[1])
        torch.save(state, folder / _FILES[2])


def read_manifest(folder: Path) -> dict[str, Any]:
    """A checkpoint's own record, step and sha256 by file name. CheckpointError if damaged."""
    try:
        found = json.loads((folder / "manifest.json").read_text())
        if not isinstance(found["step"], int) or not isinstance(found["sha256"], dict):
            raise TypeError("step is to be a number, sha256 the hashes by file name")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder}/manifest.json: not readable ({error}); {_go_back(folder)}"
        ) from error
    return found


def _go_back(folder: Path) -> str:
    others = any(each < folder for each in list_checkpoints(folder.parents[1]))
    where = "go on from the checkpoint before it" if others else "begin anew: there is no other"
    return f"delete {folder} to {where}"


def verified(folder: Path, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    """A checkpoint's manifest, after its files (all by default) were compared with it.

    CheckpointError with the name of a file that is missing or not as it was written.
    """
    found = read_manifest(folder)
    expected = found["sha256"]
    for name in expected if names is None else names:
        path = folder / name
        if not path.is_file() or sha256_of(path) != expected.get(name):
            raise CheckpointError(
                f"{path}: missing or not as it was written (cut short?); {_go_back(folder)}"
            )
    return found


def latest_checkpoint(run: Path) -> Path:
    """The newest whole checkpoint. CheckpointError if there is none."""
    found = list_checkpoints(run)
    if found:
        return found[-1]
    if parts := sorted((run / "checkpoints").glob("step-*")):
        raise CheckpointError(
            f"{parts[-1]}: has no manifest.json, so it is not whole; {_go_back(parts[-1])}"
        )
    raise CheckpointError(f"{run}: holds no checkpoint; train it first")


def load_weights(run: Path, model: nn.Module) -> int:
    """Load the average of the latest weights into `model`; returns their step."""
    folder = latest_checkpoint(run)
    manifest = verified(folder, (_FILES[1],))
    _fill(model, folder / _FILES[1])
    return manifest["step"]


def load_checkpoint(run: Path, model: nn.Module, ema: nn.Module) -> tuple[int, dict[str, Any]]:
    """Load weights and average in place; returns the step and the rest of the state, on the CPU."""
    folder = latest_checkpoint(run)
    manifest = verified(folder, _FILES)
    _fill(model, folder / _FILES[0])
    _fill(ema, folder / _FILES[1])
    state = torch.load(folder / _FILES[2], map_location="cpu", weights_only=True)
    return manifest["step"], state


def refuse_unless_finite(
    tensors: Mapping[str, Tensor], folder: Path, masks: Container[str] = ()
) -> None:
    """CheckpointError if what was read from a checkpoint is of a run that had diverged; masks: as
    in `first_not_finite`."""
    if name := first_not_finite(tensors, masks):
        raise CheckpointError(
            f"{folder}: {name} is not finite, the run had diverged; {_go_back(folder)}"
        )


def _fill(model: nn.Module, path: Path) -> None:
    tensors = load_file(path)
    refuse_unless_finite(tensors, path.parent, buffers_of(model))
    fill(model, tensors, path)


def fill(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put tensors of a file into a model. CheckpointError, with the first, if they do not fit."""
    unfold_buffers(model)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(f"{path}: does not fit this model: {first}") from error
