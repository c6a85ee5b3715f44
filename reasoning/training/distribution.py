"""Data parallelism applied from outside: models and losses know one device.

Every process holds a contiguous slice of the global batch's slots. Gradients are summed over the
processes through one flat buffer after accumulation, so micro-batches cost no traffic, models keep
their own methods (no wrapper), and a parameter without a gradient is no error.
"""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from reasoning.errors import InputError

# Its functions' defaults keep the group that is the world when it is first imported (the first
# optimiser step does, through torch.compile). Imported after joining it kept the world alive past
# destroy_process_group, and a gloo thread still letting go of a tensor when Python ended aborted
# the process. Here it is imported before there is any.
import torch.distributed.nn  # isort: skip
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """This process's place among the processes of a run.

    beside: runs that train on this machine at a time, each told to stop by the process that started
    them, which then tells the user.
    """

    rank: int
    size: int
    device: torch.device
    beside: int = 1

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def tells_interrupts(self) -> bool:
        """Whether this process is the one that tells the user of an interrupt."""
        return self.is_main and self.beside == 1

    def rows(self, total: int) -> slice:
        """This process's rows of a global batch. ValueError if it does not divide evenly."""
        if total % self.size:
            raise InputError(
                f"batch {total} does not divide over {self.size} processes: choose a multiple"
            )
        share = total // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def sum_gradients(self, model: nn.Module) -> None:
        """Sum gradients over all processes, in place."""
        if self.size == 1:
            return
        # Which parameters have a gradient follows from the model, so it is alike on every process.
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        dist.all_reduce(flat)
        pieces = flat.split([g.numel() for g in gradients])
        synced = [piece.view_as(g) for piece, g in zip(pieces, gradients, strict=True)]
        torch._foreach_copy_(gradients, synced)

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's numbers, in place. Expanded views are left: what
        stands for many numbers at once is no statistic of a batch."""
        for tensor in tensors if self.size > 1 else ():
            if tensor.is_contiguous():
                dist.broadcast(tensor, 0)

    def sum(self, values: Tensor) -> Tensor:
        """Sum a tensor over all processes."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def max(self, value: float) -> float:
        """The largest of every process's number, on every process."""
        if self.size == 1:
            return value
        largest = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return largest.item()

    def first(self, value: float) -> float:
        """The first process's number, on every process."""
        if self.size == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return shared.item()

    def any(self, here: bool) -> bool:
        """Whether it is so on any process; one alone does not wait for its device."""
        if self.size == 1:
            return here
        return bool(self.sum(torch.tensor([float(here)], device=self.device)) > 0)

    def gather_rows(self, rows: Tensor) -> Tensor:
        """Concatenate every process's rows (equal counts) in rank order, on every process."""
        if self.size == 1:
            return rows
        if rows.dtype == torch.bool:  # which no backend carries
            return self.gather_rows(rows.to(torch.uint8)).bool()
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def gather_objects(self, value: Any) -> list[Any]:
        """Every process's value, which pickle takes, in rank order, on every process."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        if self.size > 1:
            dist.barrier()


def is_placed(tensor: Tensor) -> bool:
    """Whether a tensor is a DTensor, a part of it on each process. Their module, which takes a
    second to load, has been loaded where there is one."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def choose_device(name: str) -> torch.device:
    """'auto' is the best device present. ValueError if a named one is absent."""
    cuda = torch.cuda.is_available()
    if name == "auto":
        name = "cuda" if cuda else "cpu"
    if name == "cuda" and not cuda:
        raise InputError(f"device {name} is not available here: use --device cpu or auto")
    return torch.device(name)


def join_world(device: str) -> World:
    """This process's world: torchrun's if its variables are set, else a world of one.

    gloo joins CPU processes, nccl CUDA ones; each CUDA process takes its local rank's GPU.
    """
    chosen = choose_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return World(0, 1, chosen)
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return World(dist.get_rank(), dist.get_world_size(), chosen)


def leave_world() -> None:
    """Leave torchrun's world, if one was joined, when every process is done: whoever still sends
    must find the others there."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def generators(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's generators that a model on the device draws from where it asks for no
    seed, as dropout does: the CPU's and the device's own."""
    states = {"cpu": torch.get_rng_state()}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_generators(states: list[dict[str, Tensor]] | Tensor, world: World) -> None:
    """Put generators back to what `generators` said on every process, gathered.

    Of another number of processes, or of an older checkpoint, which kept the CPU's of the first
    process alone, what there is.
    """
    own = {"cpu": states} if isinstance(states, Tensor) else states[world.rank % len(states)]
    torch.set_rng_state(own["cpu"])
    if "cuda" in own and world.device.type == "cuda":
        torch.cuda.set_rng_state(own["cuda"], world.device)
