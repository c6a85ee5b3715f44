"""Every gradient against the implicit function theorem with dense Jacobians, plain autograd and
finite differences, in float64."""

import pytest
import torch

from reasoning.fixed_point import (
    Adjoint,
    Anderson,
    Neumann,
    OneStep,
    Phantom,
    Picard,
    Reversible,
    Unrolled,
    solve,
)

TIGHT = {"picard": Picard(1e-13, 4000), "anderson": Anderson(1e-13, 4000)}
GRADIENTS = [OneStep(), Neumann(2), Phantom(2, 0.7), Reversible(2, 0.5), Adjoint(), Unrolled()]
B, N = 3, 6


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Case:
    """A map with everything it captures, on a flat state (B, N), split in two if `joint`."""

    def __init__(self, name, scale=0.5, joint=False):
        a, b = normal(1, N, N), normal(2, B, N)
        if name == "rotation":
            a = a - a.mT  # imaginary eigenvalues
        elif name == "symmetric":
            a = a + a.mT
        a = scale * a / torch.linalg.eigvals(a).abs().max()
        self.captured = [a.requires_grad_(), b.requires_grad_()]
        self.kind = {"tanh": torch.tanh, "post-norm": self._norm}.get(name, lambda z: z)
        self.joint = joint
        self.start = self.split(normal(3, B, N))

    @staticmethod
    def _norm(h):
        return h * (h.square().mean(-1, keepdim=True) + 1e-5).rsqrt()

    def flat(self, z):
        return torch.cat((z[0], z[1].flatten(1)), 1) if self.joint else z

    def split(self, z):
        return (z[:, :2], z[:, 2:].reshape(-1, 2, 2)) if self.joint else z

    def on_flat(self, z, a, b):
        return self.kind(z @ a.mT + b + 0.1 * z.sin() * a.diagonal())

    def __call__(self, state):
        return self.split(self.on_flat(self.flat(state), *self.captured))

    def gradients(self, gradient, solver=TIGHT["anderson"]):
        """(value, gradients of sum(v * value) with respect to the captured tensors)."""
        value = self.flat(solve(self, self.start, solver, gradient).value)
        return value.detach(), torch.autograd.grad(value, self.captured, normal(4, B, N))

    def by_theorem(self, z, terms=None):
        """The same with dense J: u = (I - J^T)^-1 v, or its Neumann series to J^terms."""
        a, b = self.captured
        total = [torch.zeros_like(a), torch.zeros_like(b)]
        for i, v in enumerate(normal(4, B, N)):
            j = torch.autograd.functional.jacobian(
                lambda p, i=i: self.on_flat(p[None], a, b[i : i + 1])[0], z[i]
            )
            if terms is None:
                u = torch.linalg.solve(torch.eye(N) - j.mT, v)
            else:
                u = sum(torch.linalg.matrix_power(j.mT, k) @ v for k in range(terms + 1))
            image = self.on_flat(z[i : i + 1], a, b[i : i + 1])[0]
            grads = torch.autograd.grad(image, self.captured, u)
            total = [t + g for t, g in zip(total, grads, strict=True)]
        return total


CASES = [
    *(("linear", s, False) for s in (0.3, 0.6, 0.9, 0.99)),
    ("symmetric", 0.9, False),
    ("rotation", 0.6, False),
    ("rotation", 0.9, False),
    ("tanh", 0.9, False),
    ("tanh", 0.8, True),
    ("post-norm", 0.4, False),
    ("post-norm", 0.4, True),
]


@pytest.fixture(params=CASES, ids=lambda c: f"{c[0]}-{c[1]}{'-joint' * c[2]}")
def case(request):
    return Case(*request.param)


def close(got, expected, rtol=1e-8):
    scale = max(e.abs().max() for e in expected)
    for g, e in zip(got, expected, strict=True):
        torch.testing.assert_close(g, e, rtol=0, atol=float(rtol * scale))


@pytest.mark.parametrize("solver", TIGHT)
def test_adjoint_is_the_theorem(case, solver):
    value, got = case.gradients(Adjoint(TIGHT[solver]), TIGHT[solver])
    close(got, case.by_theorem(value))


@pytest.mark.parametrize("terms", [0, 1, 4])
def test_one_step_and_neumann_are_their_series(case, terms):
    value, got = case.gradients(Neumann(terms) if terms else OneStep())
    close(got, case.by_theorem(value, terms))


@pytest.mark.parametrize(("steps", "damping"), [(1, 1.0), (3, 1.0), (1, 0.5), (4, 0.3)])
def test_phantom_is_autograd_through_damped_steps(case, steps, damping):
    value, got = case.gradients(Phantom(steps, damping))
    w = case.flat(solve(case, case.start, TIGHT["anderson"]).value).detach()
    for _ in range(steps):
        w = (1 - damping) * w + damping * case.on_flat(w, *case.captured)
    torch.testing.assert_close(value, w, rtol=1e-14, atol=1e-14)
    close(got, torch.autograd.grad(w, case.captured, normal(4, B, N)), 1e-13)


@pytest.mark.parametrize("steps", [1, 6])
def test_unrolled_picard_is_autograd_through_the_iterations(case, steps):
    case.start = start = case.split(normal(3, B, N).requires_grad_())
    solution = solve(case, start, Picard(1e-15, steps + 1, damping=0.6), Unrolled())
    iterates, residuals, w = [], [], case.flat(start)
    for _ in range(steps + 1):
        image = case.on_flat(w, *case.captured)
        iterates.append(w)
        residuals.append((image - w).norm(dim=1) / w.norm(dim=1))
        w = 0.4 * w + 0.6 * image
    best = torch.stack(residuals).argmin(0)  # mostly the last, not where the map is not normal
    expected = torch.stack(iterates)[best, torch.arange(B)]
    inputs = [*case.captured, *(start if case.joint else (start,))]
    got, expected = (
        torch.autograd.grad(w, inputs, normal(4, B, N), materialize_grads=True, allow_unused=True)
        for w in (case.flat(solution.value), expected)
    )
    close(got, expected, 1e-13)


@pytest.mark.parametrize("solver", TIGHT.values(), ids=TIGHT)
def test_unrolled_converges_to_the_theorem(solver):
    """Though Anderson's weights are taken as constants, for at the solution they do not matter."""
    case = Case("tanh", 0.6)
    value, got = case.gradients(Unrolled(), solver)
    close(got, case.by_theorem(value), 1e-5)


@pytest.mark.parametrize("joint", [False, True])
def test_adjoint_passes_gradcheck(joint):
    case = Case("post-norm", 0.3, joint)

    def solution(a, b):
        case.captured = [a, b]
        return solve(case, case.start, TIGHT["anderson"], Adjoint(TIGHT["anderson"])).value

    assert torch.autograd.gradcheck(solution, case.captured, eps=1e-6, atol=1e-7)


def test_truncation_errors_fall_as_powers_of_the_jacobian():
    """Of a linear map c A with |A| = 1: OneStep's error in u is O(c), Neumann(k)'s O(c^(k + 1))."""
    a = normal(0, N, N)
    a, v = a / torch.linalg.matrix_norm(a, 2), normal(4, B, N)

    def error(c, gradient):
        b = normal(2, B, N).requires_grad_()
        z = solve(
            lambda z: z @ (c * a).mT + b,
            torch.zeros(B, N, dtype=torch.float64),
            TIGHT["anderson"],
            gradient,
        ).value
        (u,) = torch.autograd.grad(z, b, v)  # df/db = I
        return (u - torch.linalg.solve(torch.eye(N) - c * a.mT, v.mT).mT).norm()

    for power, gradient in [(1, OneStep()), (2, Neumann(1)), (4, Neumann(3))]:
        halved = error(0.02, gradient) / error(0.01, gradient)
        assert abs(float(halved) - 2**power) < 0.1 * 2**power


@pytest.mark.parametrize("gradient", GRADIENTS, ids=lambda g: type(g).__name__)
@pytest.mark.parametrize("solver", [Picard(1e-3, 9), Anderson(1e-3, 9)], ids=["picard", "anderson"])
def test_value_is_the_same_without_gradients(case, solver, gradient):
    with_graph = solve(case, case.start, solver, gradient)
    with torch.no_grad():
        without = solve(case, case.start, solver, gradient)
    for name in ("residual", "evaluations", "converged", "part_residuals"):
        assert torch.equal(getattr(with_graph, name), getattr(without, name))
        assert not getattr(with_graph, name).requires_grad
    a, b = case.flat(with_graph.value), case.flat(without.value)
    assert torch.equal(a, b)
    assert a.requires_grad
    assert not b.requires_grad
    if not isinstance(
        gradient, Phantom | Reversible | Unrolled
    ):  # attaching the graph changes nothing
        found = solver.run(
            lambda w: (case.on_flat(w[0], *case.captured).detach(),), (case.flat(case.start),)
        )
        torch.testing.assert_close(a, found.value[0], rtol=1e-14, atol=0)


@pytest.mark.parametrize("gradient", GRADIENTS, ids=lambda g: type(g).__name__)
def test_only_unrolled_reaches_the_start(gradient):
    case = Case("tanh")
    z0 = normal(3, B, N).requires_grad_()
    value = solve(case, z0, Anderson(1e-3, 9), gradient).value
    (got,) = torch.autograd.grad(value.sum(), z0, allow_unused=True)
    assert (got is not None) == isinstance(gradient, Unrolled)
    if got is not None:
        assert got.abs().min() > 0


def test_a_start_the_map_captures_receives_its_gradient():
    """The paper injects the proposal y0 that it also starts from."""
    z0 = normal(3, B, N).requires_grad_()
    a = 0.2 * normal(1, N, N)
    value = solve(lambda z: z @ a.mT + z0, z0, TIGHT["picard"], Adjoint(TIGHT["picard"])).value
    (got,) = torch.autograd.grad(value.sum(), z0)
    expected = torch.linalg.solve(torch.eye(N) - a.mT, torch.ones(N, dtype=torch.float64))
    torch.testing.assert_close(got, expected.expand(B, N))


@pytest.mark.parametrize("gradient", [Neumann(3), Adjoint()], ids=["neumann", "adjoint"])
def test_a_part_of_the_state_may_be_constant(gradient):
    """z' = y / 2 + 1 with y' a constant: dz'/dy reaches nothing but y, which has no gradient."""
    c = normal(5, B, N).requires_grad_()
    constant = normal(6, B, N)
    start = (normal(3, B, N), normal(4, B, N))
    value = solve(lambda w: (constant, w[1] / 2 + w[0] * c), start, TIGHT["picard"], gradient).value
    (got,) = torch.autograd.grad(value[1].sum(), c)
    factor = sum(0.5**i for i in range(4)) if isinstance(gradient, Neumann) else 2.0
    torch.testing.assert_close(got, factor * constant, rtol=1e-5, atol=0)


@pytest.mark.parametrize("gradient", [Neumann(40, clip=1.5), Adjoint(TIGHT["picard"], clip=1.5)])
def test_clip_bounds_u_per_sample(gradient):
    """f(z) = c z + b has u = v / (1 - c): clipped where 1 / (1 - c) > 1.5, else exact."""
    c = torch.tensor([[0.1], [0.3], [0.5]], dtype=torch.float64)
    b = normal(2, B, N).requires_grad_()
    v = normal(4, B, N) * torch.tensor([[1.0], [1e-3], [1e3]], dtype=torch.float64)
    value = solve(lambda z: c * z + b, torch.zeros_like(b), TIGHT["picard"], gradient).value
    (u,) = torch.autograd.grad(value, b, v)
    torch.testing.assert_close(u, v * (1 / (1 - c)).clamp(max=1.5))


def test_memory_of_implicit_gradients_does_not_grow_with_evaluations():
    calls = []

    def f(z):
        calls.append(torch.is_grad_enabled())
        return (z + x).tanh() / 2

    x = normal(2, B, N).requires_grad_()
    for gradient, graphs in [(OneStep(), 1), (Adjoint(), 1), (Phantom(3), 3), (Unrolled(), 9)]:
        calls.clear()
        least = Anderson(1e-3, 9, min_evaluations=9)
        solve(f, torch.zeros_like(x), least, gradient).value.sum().backward()
        assert sum(calls) == graphs


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Neumann(0), "terms"),
        (lambda: Neumann(2, clip=0.0), "clip"),
        (lambda: Neumann(2, clip=float("nan")), "clip"),
        (lambda: Adjoint(clip=-1.0), "clip"),
        (lambda: Phantom(0), "steps"),
        (lambda: Phantom(1, 0.0), "damping"),
        (lambda: Phantom(1, 1.5), "damping"),
        (lambda: Phantom(1, float("nan")), "damping"),
        (lambda: Reversible(0), "steps"),
        (lambda: Reversible(1, 1.0), "damping .* cannot be undone"),
        (lambda: Reversible(1, float("nan")), "damping"),
        (lambda: Reversible(14, 0.5), "14 pairs of steps of size 0.5 cannot be undone"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, name):
    with pytest.raises(ValueError, match=name):
        make()


def second_order(gradient, ask):
    """dg^2/dW of g = d(sum of the value)/dW, by two backward passes, or by autograd.grad."""
    case = Case("tanh", 0.4)
    w = case.captured[0]
    value = solve(case, case.start, TIGHT["picard"], gradient).value
    if ask == "backward":
        value.sum().backward(create_graph=True)
        g, w.grad = w.grad, None
        g.square().sum().backward()
        return case, w.grad
    (g,) = torch.autograd.grad(value.sum(), w, create_graph=True)
    return case, torch.autograd.grad(g.square().sum(), w)[0]


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph")
@pytest.mark.parametrize("ask", ["backward", "grad"])
@pytest.mark.parametrize("gradient", GRADIENTS[:-1], ids=lambda g: type(g).__name__)
def test_second_derivatives_that_would_be_wrong_are_refused(gradient, ask):
    with pytest.raises(RuntimeError, match=f"{type(gradient).__name__}.*second derivatives"):
        second_order(gradient, ask)


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph")
@pytest.mark.parametrize("ask", ["backward", "grad"])
def test_unrolled_has_second_derivatives(ask):
    case, got = second_order(Unrolled(), ask)
    w, step = case.captured[0], 1e-5

    def loss():
        value = solve(case, case.start, TIGHT["picard"], Adjoint(TIGHT["anderson"])).value
        return float(torch.autograd.grad(value.sum(), w)[0].square().sum())

    for index in [(0, 0), (1, 4), (5, 2)]:
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                w[index] += sign * step
            sides.append(loss())
            with torch.no_grad():
                w[index] -= sign * step
        expected = (sides[0] - sides[1]) / (2 * step)
        assert float(got[index]) == pytest.approx(expected, rel=1e-5, abs=1e-5 * float(got.norm()))


@pytest.mark.parametrize("solver", TIGHT.values(), ids=TIGHT)
@pytest.mark.parametrize("joint", [False, True])
def test_unrolled_from_its_fixed_point_has_the_gradient_of_that(solver, joint):
    """All samples at rest, or one of them: a start has no iterations to go back through."""
    case = Case("tanh", 0.6, joint)
    loose = type(solver)(1e-12, 4000)
    found = case.flat(solve(case, case.start, solver).value).detach()
    for at_rest in ([0, 1, 2], [1]):
        start = normal(3, B, N)
        start[at_rest] = found[at_rest]
        case.start = case.split(start)
        solution = solve(case, case.start, loose, Unrolled())
        assert (solution.evaluations[at_rest] == 1).all()
        value, got = case.gradients(Unrolled(), loose)
        assert torch.equal(value[at_rest], found[at_rest])
        close(got, case.by_theorem(value), 1e-5)


def test_unrolled_of_a_start_that_nothing_improves_on_goes_to_the_start_alone():
    z0, w = torch.ones(2, 3).requires_grad_(), torch.tensor(3.0, requires_grad=True)
    found = solve(lambda z: w * z.square(), z0, Picard(1e-6, 4), Unrolled())
    assert not found.converged.any()
    to_z0, to_w = torch.autograd.grad(
        found.value.sum(), (z0, w), materialize_grads=True, allow_unused=True
    )
    assert torch.equal(to_z0, torch.ones(2, 3))
    assert to_w == 0


@pytest.mark.parametrize(
    "gradient",
    [OneStep(), Neumann(3), Neumann(3, 0.9), Adjoint(), Adjoint(Picard()), Adjoint(clip=1.2)],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_do_not_depend_on_the_scale_of_the_loss(gradient, dtype):
    """Scales are powers of two, so that equal means equal; each sample has its own."""
    a = 0.6 * normal(1, N, N).to(dtype) / N**0.5
    x = normal(2, 4, N).to(dtype).requires_grad_()
    value = solve(lambda z: (z @ a.mT).tanh() + x, torch.zeros_like(x), None, gradient).value
    v = normal(4, 4, N).to(dtype)
    least = -90 if dtype == torch.float32 else -900
    scale = 2.0 ** torch.tensor([[0], [least], [least // 2], [60]]).to(dtype)
    (plain,) = torch.autograd.grad(value, x, v, retain_graph=True)
    (scaled,) = torch.autograd.grad(value, x, scale * v)
    assert torch.equal(scaled / scale, plain)


def test_a_zero_gradient_stays_zero_and_one_beyond_the_finite_stays_so():
    x = torch.ones(3, 2, requires_grad=True)
    value = solve(lambda z: z / 2 + x, torch.zeros(3, 2), None, Neumann(2)).value
    v = torch.tensor([[0.0, 0.0], [torch.inf, 1.0], [torch.nan, 1.0]])
    (u,) = torch.autograd.grad(value, x, v)
    assert torch.equal(u[0], v[0])
    assert u[1, 0] == torch.inf
    assert u[2, 0].isnan()
