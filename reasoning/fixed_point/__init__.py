"""Fixed points: the map, the solver and the gradient are three separate arguments of `solve`."""

from reasoning.fixed_point.anderson import Anderson
from reasoning.fixed_point.gradients import (
    Adjoint,
    Gradient,
    Implicit,
    Neumann,
    OneStep,
    Phantom,
    Unrolled,
)
from reasoning.fixed_point.iteration import Budget, Found, Iteration, Proposal, iterate
from reasoning.fixed_point.picard import Picard
from reasoning.fixed_point.probes import jacobian_energy, jacobian_norm, spectral_radius
from reasoning.fixed_point.reversible import Reversible
from reasoning.fixed_point.solution import Solution, State
from reasoning.fixed_point.solve import Solver, solve

__all__ = [
    "Adjoint",
    "Anderson",
    "Budget",
    "Found",
    "Gradient",
    "Implicit",
    "Iteration",
    "Neumann",
    "OneStep",
    "Phantom",
    "Picard",
    "Proposal",
    "Reversible",
    "Solution",
    "Solver",
    "State",
    "Unrolled",
    "iterate",
    "jacobian_energy",
    "jacobian_norm",
    "solve",
    "spectral_radius",
]
