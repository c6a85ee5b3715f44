"""The nets of a model, and their compilation: loops, solvers and heads stay eager."""

import os
import shutil
import sys
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import torch
import torch._functorch.config
from torch import nn

from reasoning.errors import InputError


@runtime_checkable
class HasNets(Protocol):
    """A model that names its nets: what can be compiled, and whose matrices Muon takes."""

    def nets(self) -> list[nn.Module]: ...


def nets_of(model: nn.Module, asked: str, otherwise: str) -> list[nn.Module]:
    """The nets of a model. ValueError if it names none: what asked for them, and how to do
    without."""
    if not isinstance(model, HasNets):
        raise InputError(
            f"{asked}: {type(model).__name__} has no method nets() that lists its nets: give it "
            f"one, or train {otherwise}"
        )
    return model.nets()


def check_compiler(device: torch.device) -> None:
    """ValueError, naming the remedy, where nets cannot be compiled for the device."""
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if device.type == "cpu" and shutil.which(name) is None:
        raise InputError(
            f"compile: needs a C++ compiler for a CPU, and {name} is not there: install it, name "
            "another in CXX, or train without --compile"
        )


def compile_nets(nets: Iterable[nn.Module]) -> None:
    """Compile modules in place, on their next call; names of parameters stay."""
    # What the process compiled before, of other models, would count towards dynamo's limit.
    torch.compiler.reset()
    # Implicit gradients go through one graph of the map several times (J^T products), which a
    # compiled net refuses while its backward pass may overwrite what it saved.
    torch._functorch.config.donated_buffer = False
    for net in nets:
        net.compile()


def is_compiled(net: nn.Module) -> bool:
    """Whether `compile_nets` has been here: every new shape would be compiled anew."""
    return net._compiled_call_impl is not None
