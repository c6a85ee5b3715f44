"""Precision of activations and of reductions."""

import contextlib

import torch
from torch import Tensor

from reasoning.errors import InputError

# Relative residual of a map that computes in bf16 below which it cannot be counted on to come: half
# the spacing of its numbers. A trained language model's tokens end between a third of it and it.
BF16_RESIDUAL = torch.finfo(torch.bfloat16).eps / 2


def in_bf16(device: torch.device, precision: str) -> bool:
    """Whether activations are in bf16: where asked for ('auto': on cuda)."""
    return precision == "bf16" or (precision == "auto" and device.type == "cuda")


def bf16_warning(tolerance: float | None, device: torch.device, precision: str) -> str | None:
    """What to say where bf16 may keep tokens from a solver's tolerance; None: nothing.

    tolerance: relative residual, None: there is no solver; precision: as in `in_bf16`.
    """
    if tolerance is None or tolerance >= BF16_RESIDUAL or not in_bf16(device, precision):
        return None
    return (
        f"warning: in bf16 residuals may end at up to {BF16_RESIDUAL:.1g}, above the solver's "
        f"tolerance of {tolerance:g}: tokens then take the most evaluations"
    )


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """Autocast to bf16 where activations are in it, else nothing."""
    bf16 = in_bf16(device, precision)
    return torch.autocast(device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()


def wide(tensor: Tensor) -> Tensor:
    """fp32, or float64 if it already is: what norms, losses and inner products are taken in.

    ValueError for complex numbers, which would lose their imaginary part.
    """
    if tensor.is_complex():
        raise InputError(f"reductions are of real numbers, not {tensor.dtype}")
    return tensor if tensor.dtype == torch.float64 else tensor.float()
