"""What a device does between processes and over a restart.

`python -m scripts.gpu.device_processes`:

* A group of one process (NCCL on a GPU, gloo on a CPU) sums; a model under DDP and under FSDP2 has
  the gradients of the bare model.
* A training that was saved, and resumed from its checkpoint, against the unbroken one: the same
  bits after every step. Where an unbroken repeat already differs, the device's kernels do not
  repeat themselves, and a resumed run may differ from there on by as much.
"""

import copy
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from reasoning.names import Device
from reasoning.records import finite
from reasoning.training.distribution import choose_device
from reasoning.training.loop import Trainer
from reasoning.training.runs import environment, write_json
from scripts.gpu.device_checks import Check, Numbers, difference, report, rows_of
from scripts.models.lm_models import build_language_model
from scripts.models.lm_presets import language_preset
from scripts.models.presets import preset
from scripts.terminal.guard import run_guarded
from scripts.timing.measures import full_depth, sudokus, trainer_of
from scripts.usage import parse

_FP32 = 1e-4
_STEPS = 4  # before and after the restart


def group_checks(device: torch.device) -> Iterator[Check]:
    """A group of one: a sum, DDP, FSDP2. Leaves the group when done."""
    with tempfile.TemporaryDirectory() as place:
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, init_method=f"file://{place}/join", rank=0, world_size=1)
        try:
            numbers = torch.arange(8.0, device=device)
            dist.all_reduce(numbers)
            exact = [torch.arange(8.0)]
            yield Check(f"{backend}, one process: a sum", difference([numbers], exact), 0.0)
            model = build_language_model(language_preset("transformer-mini").model, 257, 0)
            model = model.to(device)
            bare = _gradients(copy.deepcopy(model), device)
            for name, wrap in (("DDP", _ddp), ("FSDP2", _fsdp)):
                gradients = _gradients(wrap(copy.deepcopy(model), device), device)
                yield Check(f"{name} of one process: gradients", difference(gradients, bare), _FP32)
        finally:
            dist.destroy_process_group()


def _ddp(model: nn.Module, device: torch.device) -> nn.Module:
    return DistributedDataParallel(model)


def _fsdp(model: nn.Module, device: torch.device) -> nn.Module:
    mesh = init_device_mesh(device.type, (1,))
    for block in model.blocks():
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def _gradients(model: nn.Module, device: torch.device) -> Numbers:
    """Gradients of a fixed loss on fixed tokens, whole and in the order of their names."""
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 257, (4, 32), generator=draw).to(device)
    model(tokens).logits.float().square().mean().backward()
    grads = (p.grad for p in model.parameters() if p.grad is not None)
    return [g.full_tensor() if isinstance(g, DTensor) else g for g in grads]


Made = Callable[[Path | None], Trainer]


def resume_check(make: Made) -> tuple[Check, dict[str, Any]]:
    """A resumed training against the unbroken one, and an unbroken repeat against it.

    The check's error is the largest difference of a weight; its limit 0, or ten times what the
    repeat differs by if that begins no later. Beside it: for both, the first step after which they
    differ (None: never) and by how much at most.
    """
    whole = _states(make(None), 2 * _STEPS)
    again = _states(make(None), 2 * _STEPS)
    with tempfile.TemporaryDirectory() as place:
        run = Path(place)
        first = make(run)
        states = _states(first, _STEPS)
        first.save()
        second = make(run)
        second.resume()
        states += _states(second, _STEPS)
    departures = {"repeated": _departs(whole, again), "resumed": _departs(whole, states)}
    repeated, resumed = departures["repeated"], departures["resumed"]
    excused = (repeated["first_step"] or math.inf) <= (resumed["first_step"] or math.inf)
    limit = 10 * repeated["largest"] if excused else 0.0
    return Check("resumed training: the same bits", resumed["largest"], limit), departures


def _states(trainer: Trainer, steps: int) -> list[Tensor]:
    """All weights, averages too, after each of so many steps."""
    states = []
    for _ in range(steps):
        trainer.step()
        models = (trainer.model, trainer.ema.model)
        flat = [p.detach().flatten() for model in models for p in model.parameters()]
        states.append(torch.cat(flat).cpu())
    return states


def _departs(expected: list[Tensor], measured: list[Tensor]) -> dict[str, Any]:
    """The first step (from 1) after which they differ, None if none, and the largest difference."""
    gaps = [float((a - b).abs().max()) for a, b in zip(expected, measured, strict=True)]
    apart = [i + 1 for i, gap in enumerate(gaps) if gap != 0]  # NaN is a difference
    largest = math.nan if any(map(math.isnan, gaps)) else max(gaps)
    return {"first_step": apart[0] if apart else None, "largest": largest, "steps": len(gaps)}


def attractor(device: torch.device) -> Made:
    """A small Attractor by the speed recipe, at full depth."""
    config = full_depth(preset("attractor-speed-mini"), batch=8, log_every=1)

    def make(run: Path | None) -> Trainer:
        trainer = trainer_of(config, sudokus(9, config.batch), device)
        trainer.run = run
        return trainer

    return make


def check(json: Path, device: Device = "auto") -> None:
    """Check a device's process groups and resumed trainings; exit code 1 if anything is off.

    Args:
        json: file for the errors, written after every check.
        device: which; auto: the best present.
    """
    chosen = choose_device(device)
    record: dict[str, Any] = {"environment": environment(), "device": str(chosen)}
    record["checks"] = []

    def resumed() -> Iterator[Check]:
        resume, departures = resume_check(attractor(chosen))
        record["resume"] = {
            name: part | {"largest": finite(part["largest"])} for name, part in departures.items()
        }
        yield resume

    for checks in (resumed(), group_checks(chosen)):
        for row in rows_of("processes", checks):
            record["checks"].append(row)
            write_json(json, record)
    report(record["checks"], f"{chosen}: processes and restarts")


def main(words: Sequence[str]) -> int:
    parse(check, words, "python -m scripts.gpu.device_processes")()
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded(main, sys.argv[1:]))
