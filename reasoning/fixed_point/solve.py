"""The one entry: a map, where to start, how to solve, how to differentiate."""

from collections.abc import Callable

import torch
from torch import Tensor

from reasoning.fixed_point.anderson import Anderson
from reasoning.fixed_point.gradients import Gradient, OneStep, Unrolled
from reasoning.fixed_point.iteration import Tensors
from reasoning.fixed_point.picard import Picard
from reasoning.fixed_point.solution import Solution, State, parts


def solve(
    f: Callable[[State], State],
    z0: State,
    solver: Picard | Anderson | None = None,
    gradient: Gradient | None = None,
) -> Solution:
    """Find z = f(z) from z0, each sample on its own.

    Args:
        f: the map; takes and returns a state of z0's form: a tensor or a tuple of tensors, batch
            first. It may capture parameters and inputs; they receive gradients.
        z0: where to start.
        solver: Picard or Anderson; default Anderson().
        gradient: OneStep, Neumann, Phantom, Adjoint or Unrolled; default OneStep().

    The residual and the evaluations are the solver's own: Phantom's steps, and the one application
    that implicit gradients attach, come on top. Where the map is not finite, a sample reports not
    converged and its value is its best finite iterate (from which Phantom still takes its steps).
    ValueError if f changes the shapes or dtypes of the state.
    """
    solver = Anderson() if solver is None else solver
    gradient = OneStep() if gradient is None else gradient
    start = parts(z0)
    single = isinstance(z0, Tensor)

    def mapped(tensors: Tensors) -> Tensors:
        image = parts(f(tensors[0] if single else tensors))
        if _signature(image) != _signature(tensors):
            raise ValueError(
                "f must return a state of the shapes and dtypes it takes: "
                f"took {_signature(tensors)}, returned {_signature(image)}"
            )
        return image

    unrolled = isinstance(gradient, Unrolled)
    with torch.set_grad_enabled(unrolled and torch.is_grad_enabled()):
        found = solver.run(mapped, start if unrolled else tuple(p.detach() for p in start))
    value = gradient.attach(mapped, found.value)
    return Solution(
        value[0] if single else value,
        found.residual,
        found.evaluations,
        found.converged,
        found.part_residuals,
    )


def _signature(tensors: Tensors) -> list[tuple[tuple[int, ...], torch.dtype]]:
    return [(tuple(t.shape), t.dtype) for t in tensors]
