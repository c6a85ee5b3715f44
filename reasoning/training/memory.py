"""Memory that a training took, and did not get."""

import torch

_ON_CPU = ("DefaultCPUAllocator", "not enough memory")  # torch has no class of its own for these


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that an allocation failed, on an accelerator or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _ON_CPU)
