"""Of solvers, gradients and probes, numbers that can be written out by hand."""

import pytest
import torch

from reasoning.fixed_point import (
    Adjoint,
    Neumann,
    OneStep,
    Phantom,
    Picard,
    Reversible,
    solve,
    spectral_radius,
)
from reasoning.training.meter import Meter


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_patience_shrinks_a_step_once_for_every_so_many_evaluations_without_a_new_best():
    """From f(z) = 0 and f(z) - z = 1 a damped step goes to h - 1."""
    propose = Picard(patience=2, decay=0.5).proposal()
    residuals = (1.0, 1.0, 1.0, 1.0, 0.5, 0.7, 0.6, 0.55, 0.4)
    expected = (1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25)  # halved at the 3rd and the 7th
    for residual, h in zip(residuals, expected, strict=True):
        (z,) = propose((torch.zeros(1, 3),), (torch.ones(1, 3),), torch.tensor([residual]))
        assert torch.equal(z, torch.full((1, 3), h - 1)), residual


def test_a_sample_whose_best_met_the_tolerance_stops_when_it_may():
    """At its least number of evaluations, though the residual has risen since: f(z) = z (1 + r)."""
    residuals = iter((0.5, 2**-20, 0.25, 0.25, 0.25, 0.25))
    z0 = torch.ones(1, 3, dtype=torch.float64)
    with torch.no_grad():
        found = solve(lambda z: z * (1 + next(residuals)), z0, Picard(1e-3, 6, 3))
    assert found.converged.all()
    assert found.evaluations.tolist() == [3]
    assert float(found.residual) == pytest.approx(2**-20)


def test_the_radius_is_the_geometric_mean_growth_of_the_last_half():
    """Against power iteration written out, of so few steps that the first ones would be seen."""
    matrix, z = normal(0, 6, 6), normal(1, 4, 6)
    u = torch.randn(4, 6, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    growth = []
    for _ in range(6):
        u = u / u.norm(dim=1, keepdim=True)
        u = u @ matrix.T  # J^T of z -> z A
        growth.append(u.norm(dim=1))
    expected = torch.stack(growth[3:]).prod(0) ** (1 / 3)
    found = spectral_radius(lambda z: z @ matrix, z, 6, torch.Generator().manual_seed(7))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "gradient",
    [
        OneStep(),
        Neumann(3),
        Adjoint(Picard(1e-9, 4, 4)),
        Phantom(3),
        Phantom(2, 0.5),
        Reversible(2),
    ],
    ids=str,
)
def test_passes_are_what_is_multiplied(gradient):
    """Of z W + x from a given z: a forward pass is one product, a backward pass two, but for the
    first of several steps, which starts from a constant."""
    w, x = (0.1 * normal(0, 6, 6)).requires_grad_(), normal(1, 3, 6)
    with Meter() as meter:
        found = solve(lambda z: z @ w + x, normal(2, 3, 6), Picard(max_evaluations=0), gradient)
        found.value.sum().backward()
    forward, backward = gradient.passes()
    first = isinstance(gradient, Phantom | Reversible)
    assert meter.flops == 2 * 3 * 6 * 6 * (forward + 2 * backward - first)
