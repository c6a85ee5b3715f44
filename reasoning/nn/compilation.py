"""Compilation of nets: blocks and nets alone, while loops, solvers and heads stay eager."""

from collections.abc import Iterable

import torch
import torch._functorch.config
from torch import nn


def compile_nets(nets: Iterable[nn.Module]) -> None:
    """Compile modules in place, on their next call; names of parameters stay."""
    # What the process compiled before, of other models, would count towards dynamo's limit.
    torch.compiler.reset()
    # Implicit gradients go through one graph of the map several times (J^T products), which a
    # compiled net refuses while its backward pass may overwrite what it saved.
    torch._functorch.config.donated_buffer = False
    for net in nets:
        net.compile()
