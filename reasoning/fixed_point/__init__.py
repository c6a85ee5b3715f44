"""Fixed points: the map, the solver and the gradient are three separate arguments of `solve`."""

from reasoning.fixed_point.anderson import Anderson
from reasoning.fixed_point.gradients import Adjoint, Neumann, OneStep, Phantom, Unrolled
from reasoning.fixed_point.picard import Picard
from reasoning.fixed_point.probes import jacobian_norm, spectral_radius
from reasoning.fixed_point.solution import Solution, State
from reasoning.fixed_point.solve import solve

__all__ = [
    "Adjoint",
    "Anderson",
    "Neumann",
    "OneStep",
    "Phantom",
    "Picard",
    "Solution",
    "State",
    "Unrolled",
    "jacobian_norm",
    "solve",
    "spectral_radius",
]
