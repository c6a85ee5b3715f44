"""Memory that a training took, and did not get."""

import torch

_ON_CPU = ("DefaultCPUAllocator", "not enough memory")  # torch has no class of its own for these


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that an allocation failed, on an accelerator or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _ON_CPU)


def restart_peak(device: torch.device) -> None:
    """Forget the largest allocation so far, where the device keeps one: earlier runs of this
    process and evaluations are not what a training takes."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int | None:
    """The largest allocation since `restart_peak`, None where the device keeps none."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
