"""Precision of reductions."""

import torch
from torch import Tensor

from reasoning.errors import InputError


def wide(tensor: Tensor) -> Tensor:
    """fp32, or float64 if it already is: what norms, losses and inner products are taken in.

    ValueError for complex numbers, which would lose their imaginary part.
    """
    if tensor.is_complex():
        raise InputError(f"reductions are of real numbers, not {tensor.dtype}")
    return tensor if tensor.dtype == torch.float64 else tensor.float()
