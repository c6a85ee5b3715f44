"""Solvers and gradients from outside `reasoning.fixed_point`; that of its page: tests/scripts."""

from dataclasses import dataclass

import pytest
import torch

from reasoning.errors import InputError
from reasoning.fixed_point import (
    Anderson,
    Budget,
    Found,
    Gradient,
    Implicit,
    Iteration,
    Neumann,
    Picard,
    Proposal,
    iterate,
    solve,
)

SIZE = 4


class Heavy(Budget):
    """Heavy-ball iteration: half of the last move goes on, f(z) + (z - z_before) / 2."""

    def run(self, f, start):
        before = start

        def propose(fz, gap, residual):
            nonlocal before
            z = tuple(image - move for image, move in zip(fz, gap, strict=True))
            moved = tuple(a + (b - c) / 2 for a, b, c in zip(fz, z, before, strict=True))
            before = z
            return moved

        return iterate(f, start, self, propose)


class Newton:
    """One Newton step from the start, by each sample's dense Jacobian: exact on linear maps."""

    def run(self, f, start):
        (z,) = start
        summed = torch.autograd.functional.jacobian(lambda s: f((s,))[0].sum(0), z)
        jacobian = summed.swapaxes(0, 1)  # (B, N, N): samples do not see each other
        step = torch.linalg.solve(torch.eye(SIZE, dtype=z.dtype) - jacobian, f(start)[0] - z)
        value = z + step
        zero = torch.zeros(len(z), dtype=z.dtype)
        done = torch.ones(len(z), dtype=torch.bool)
        return Found((value,), zero, done.long(), done, zero[:, None], ~done)


@dataclass(frozen=True)
class Halved(Implicit):
    """u = v + J^T v / 2: the second term of the Neumann series, halved."""

    def transform(self, v, vjp):
        return tuple(a + b / 2 for a, b in zip(v, vjp(v), strict=True))


def problem():
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(SIZE, SIZE, generator=draw, dtype=torch.float64)
    weight = 0.3 * weight / torch.linalg.matrix_norm(weight, 2)
    x = torch.randn(3, SIZE, generator=draw, dtype=torch.float64)
    exact = torch.linalg.solve(torch.eye(SIZE, dtype=torch.float64) - weight, x.mT).mT
    return weight, x, exact


def test_solvers_of_ones_own_find_the_fixed_point_of_a_linear_map():
    weight, x, exact = problem()
    for solver in (Heavy(1e-12, 500, 0), Newton()):
        found = solve(lambda z: z @ weight.mT + x, torch.zeros_like(x), solver)
        torch.testing.assert_close(found.value, exact, rtol=1e-9, atol=1e-9)
        assert found.converged.all()


def test_a_gradient_of_ones_own_is_what_its_formula_says():
    """d(sum z*)/dx is u summed over the state: v + J^T v / 2 with v of ones."""
    weight, x, _ = problem()
    found = {}
    for gradient in (Halved(), Neumann(1)):
        leaf = x.clone().requires_grad_()
        solution = solve(
            lambda z, leaf=leaf: z @ weight.mT + leaf, torch.zeros_like(x), Picard(), gradient
        )
        solution.value.sum().backward()
        found[type(gradient)] = leaf.grad
    ones = torch.ones_like(x)
    torch.testing.assert_close(found[Halved], ones + ones @ weight / 2)
    torch.testing.assert_close(found[Neumann], ones + ones @ weight)


class OneTensor(Gradient):
    def attach(self, f, found):
        return found.value[0]


class Short:
    """A solver whose value lacks a sample."""

    def run(self, f, start):
        found = Found.at(start, False)
        return Found((start[0][1:],), *list(vars(found).values())[1:])


@dataclass(frozen=True)
class FirstAlone(Implicit):
    def transform(self, v, vjp):
        return tuple(part[:1] for part in v)


class Proposes(Iteration):
    """What it is given proposes: a function of f(z)."""

    def __init__(self, propose):
        super().__init__(1e-6, 9, 0)
        object.__setattr__(self, "propose", propose)

    def proposal(self):
        return lambda fz, gap, residual: self.propose(fz)


def test_what_a_solver_proposes_and_a_gradient_makes_of_v_are_looked_at():
    """One sample's value would pass for every sample's."""
    weight, x, _ = problem()

    def of(solver, gradient):
        leaf = x.clone().requires_grad_()
        found = solve(lambda z: z @ weight.mT + leaf, torch.zeros_like(x), solver, gradient)
        found.value.sum().backward()

    with pytest.raises(InputError, match=r"FirstAlone.transform must be of form \[\(\(3, 4\)"):
        of(Anderson(), FirstAlone())
    with pytest.raises(InputError, match=r"proposes is a Tensor: give a tuple"):
        of(Proposes(lambda fz: fz[0]), Neumann())
    with pytest.raises(InputError, match=r"proposes must be of form"):
        of(Proposes(lambda fz: (fz[0][:1],)), Neumann())
    with pytest.raises(InputError, match=r"or a solver's proposal does"):
        of(Proposes(lambda fz: (fz[0].mul_(1.0),)), Neumann())


def test_a_proposal_cannot_forget_who_left():
    class Forgetful(Proposal):
        def __call__(self, fz, gap, residual):
            return fz

    with pytest.raises(TypeError, match="keep"):
        Forgetful()


def test_a_value_of_another_form_is_refused():
    """The first sample of a tensor would pass for the state."""
    weight, x, _ = problem()

    def of(solver, gradient):
        return solve(lambda z: z @ weight.mT + x, torch.zeros_like(x), solver, gradient)

    with pytest.raises(InputError, match=r"OneTensor.attach is a Tensor: give a tuple"):
        of(Anderson(), OneTensor())
    with pytest.raises(InputError, match=r"Short.run: Found.value must be of form"):
        of(Short(), Neumann())
    with pytest.raises(InputError, match=r"derive it from reasoning.fixed_point.Gradient"):
        of(Anderson(), object())
