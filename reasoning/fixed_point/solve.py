"""The one entry: a map, where to start, how to solve, how to differentiate."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from reasoning.errors import InputError
from reasoning.fixed_point.anderson import Anderson
from reasoning.fixed_point.gradients import Gradient, OneStep
from reasoning.fixed_point.iteration import Found, Iteration, Map, Tensors
from reasoning.fixed_point.mapping import Mapping
from reasoning.fixed_point.solution import Solution, State, expect_form, parts


class Solver(Protocol):
    """What `solve` asks of a solver: each sample's best iterate, from a start that it may keep.
    One that iterates derives from `reasoning.fixed_point.Iteration`."""

    def run(self, f: Map, start: Tensors) -> Found: ...


def solve(
    f: Callable[[State], State],
    z0: State,
    solver: Solver | None = None,
    gradient: Gradient | None = None,
    restrict: Callable[[Tensor], Callable[[State], State]] | None = None,
) -> Solution:
    """Find z = f(z) from z0, each sample on its own.

    Args:
        f: the map; takes and returns a state of z0's form: a tensor or a tuple of tensors, batch
            first. It may capture parameters and inputs; they receive gradients.
        z0: where to start.
        solver: Picard, Anderson, or one of your own (Iteration, Solver); default Anderson().
        gradient: OneStep, Neumann, Phantom, Adjoint, Unrolled, or one of your own (Gradient,
            Implicit); default OneStep().
        restrict: given the places (A,) int64 of some samples, f of those alone, in that order, with
            what it captures gathered alike: samples at rest then cost nothing. f must not couple
            samples. Asked by an Iteration alone, and not where its iterations carry a graph. None:
            f sees the whole batch each time.

    The residual and the evaluations are the solver's own: Phantom's steps, and the one application
    that implicit gradients attach, come on top. Where the map is not finite, a sample reports not
    converged and its value is its best finite iterate (from which Phantom still takes its steps).
    ValueError for a state that is not of real floating-point numbers, and for an f that changes the
    state's shapes or dtypes or works in place; for a solver or a gradient whose value is not of
    the start's form. RuntimeError where a gradient is asked for with
    create_graph=True, of which Unrolled alone knows a derivative.
    """
    solver = Anderson() if solver is None else solver
    gradient = OneStep() if gradient is None else gradient
    if not isinstance(gradient, Gradient):
        name = type(gradient).__name__
        raise InputError(f"{name}: derive it from reasoning.fixed_point.Gradient, or from Implicit")
    start = parts(z0)
    single = isinstance(z0, Tensor)

    mapped = Mapping(f, single)
    graph = gradient.through_solver and torch.is_grad_enabled()

    def narrowed(rows: Tensor, *_: object) -> Mapping:
        return Mapping(restrict(rows), single)

    with torch.set_grad_enabled(graph):
        # Copies: a value that is still the start shares no memory with what the caller gave.
        own = tuple((p if gradient.through_solver else p.detach()).clone() for p in start)
        if restrict is None or graph or not isinstance(solver, Iteration):
            found = solver.run(mapped, own)
        else:
            found = solver.run(mapped, own, narrowed)
    expect_form(found.value, start, f"{type(solver).__name__}.run: Found.value")
    value = gradient.attach(mapped, found)
    expect_form(value, start, f"{type(gradient).__name__}.attach")
    return Solution(
        value[0] if single else value,
        found.residual,
        found.evaluations,
        found.converged,
        found.part_residuals,
    )
