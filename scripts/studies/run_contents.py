"""What two finished runs must have in common to be one: every tensor, number and byte."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from reasoning.training.checkpoints import list_checkpoints, verified


def contents(kind: str, run: Path) -> dict[str, Any]:
    """What a finished run is: tensors, numbers and bytes, by the names that the table shows."""
    last = list_checkpoints(run)[-1]
    step = verified(last)["step"]
    held: dict[str, Any] = {
        "metrics": (run / "metrics.jsonl").read_bytes(),
        "files": sorted(str(path.relative_to(run)) for path in run.rglob("*")),
    }
    if kind == "puzzle":
        state = torch.load(last / "state.pt", weights_only=True)
        return held | {
            "weights": (last / "weights.safetensors").read_bytes(),
            "optimiser": state["optimizers"],
            "average": (last / "ema.safetensors").read_bytes(),
            "carry": [state[name] for name in ("state", "segments", "halted")],
            "position in the data": [step, state["puzzle"]],
            "random numbers": state["rng"],
        }
    joined = run.with_name(f"{run.name}.pt")
    dcp_to_torch_save(last, joined)
    tensors = torch.load(joined, weights_only=True)
    joined.unlink()
    split: dict[str, dict[str, Any]] = {"model": {}, "optimizer": {}, "rng": {}}
    for name, value in tensors.items():
        split[name.partition(".")[0]][name] = value
    return held | {
        "weights": split["model"],
        "optimiser": split["optimizer"],
        "position in the data": [step, json.loads((last / "state.json").read_text())],
        "random numbers": split["rng"],
    }


def same(a: Any, b: Any) -> bool:
    """Whether two nests of tensors, numbers and bytes are the same, tensors to the bit."""
    if isinstance(a, torch.Tensor):
        if not isinstance(b, torch.Tensor) or (a.dtype, a.shape) != (b.dtype, b.shape):
            return False
        return torch.equal(_bits(a), _bits(b))
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def _bits(value: torch.Tensor) -> torch.Tensor:
    return value.contiguous().flatten().view(torch.uint8)


def differing(kind: str, run: Path, whole: Path) -> list[str]:
    """The names of what differs between two finished runs."""
    ours, theirs = contents(kind, run), contents(kind, whole)
    return [name for name in theirs if not same(ours[name], theirs[name])]
