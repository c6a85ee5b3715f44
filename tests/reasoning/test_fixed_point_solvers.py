"""Picard and Anderson against exact solutions, and how many evaluations they take."""

import math

import pytest
import torch

from reasoning.fixed_point import Anderson, OneStep, Picard, Unrolled, solve
from reasoning.net_config import NetConfig
from reasoning.nn.grid import Net
from reasoning.precision import wide

SOLVERS = [Picard, Anderson]


def normal(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def matrices(kind, radius, count, n, seed=0):
    """(count, n, n) matrices of that spectral radius; all but "random" are normal."""
    a = normal(seed, count, n, n)
    if kind == "symmetric":
        a = a + a.mT
    elif kind == "rotations":  # planes turned by any angle and shrunk by any factor
        factor, angle = torch.rand(2, count, n // 2, generator=torch.Generator().manual_seed(seed))
        plane = torch.polar(factor.double(), math.pi * angle.double())
        even, blocks = torch.arange(0, n, 2), torch.zeros_like(a)
        blocks[:, even, even] = blocks[:, even + 1, even + 1] = plane.real
        blocks[:, even, even + 1], blocks[:, even + 1, even] = -plane.imag, plane.imag
        q = torch.linalg.qr(a)[0]
        a = q @ blocks @ q.mT
    elif kind == "orthogonal":  # every eigenvalue on one circle: nothing for Anderson to gain
        a = torch.linalg.qr(a)[0]
    return radius * a / torch.linalg.eigvals(a).abs().amax(1)[:, None, None]


def linear(a, b):
    return lambda z: (a @ z[..., None])[..., 0] + b


KINDS = ["symmetric", "random", "rotations", "orthogonal"]


@pytest.mark.parametrize("radius", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("kind_of_solver", SOLVERS)
def test_linear_maps_are_solved(kind_of_solver, radius):
    a, b = torch.cat([matrices(kind, radius, 4, 16) for kind in KINDS]), normal(1, 16, 16)
    exact = torch.linalg.solve(torch.eye(16) - a, b)
    found = solve(linear(a, b), normal(2, 16, 16), kind_of_solver(1e-12, 5000))
    assert found.converged.all()
    assert (found.residual <= 1e-12).all()
    # |z - z*| <= |(I - A)^-1| |residual|
    bound = torch.linalg.matrix_norm(torch.linalg.inv(torch.eye(16) - a), 2) * exact.norm(dim=1)
    assert ((found.value - exact).norm(dim=1) <= 1.1e-12 * bound).all()


def counts(f, z0, tolerance=1e-6, most=5000):
    plain, mixed = solve(f, z0, Picard(tolerance, most)), solve(f, z0, Anderson(tolerance, most))
    assert plain.converged.all()
    assert mixed.converged.all()
    return plain.evaluations.double(), mixed.evaluations.double()


@pytest.mark.parametrize("radius", [0.3, 0.6, 0.9, 0.95, 0.99])
def test_anderson_never_costs_more_and_saves_where_maps_are_slow(radius):
    a = torch.cat([matrices(kind, radius, 30, 64) for kind in KINDS])
    plain, mixed = counts(linear(a, normal(1, 120, 64)), normal(2, 120, 64))
    assert (mixed - plain).max() <= 2
    if radius >= 0.9:
        share = mixed.view(4, 30).mean(1) / plain.view(4, 30).mean(1)
        assert share[KINDS.index("symmetric")] <= 0.4
        assert share[KINDS.index("random")] <= 0.8


@pytest.mark.parametrize("radius", [0.3, 0.6, 0.9, 0.99])
def test_anderson_never_costs_more_on_tanh_maps(radius):
    f = linear(matrices("random", radius, 60, 64), normal(1, 60, 64))
    plain, mixed = counts(lambda z: f(z).tanh(), normal(2, 60, 64))
    assert (mixed - plain).max() <= 2


def post_norm_map(seed, samples, n, gain):
    """z <- norm(h + W2 tanh(W1 h)), h = z + x, rows on the sphere of radius sqrt(n)."""
    w1, w2 = gain * normal(seed, 2, samples, n, n) / math.sqrt(n)
    x = normal(seed + 1, samples, n)

    def f(z):
        h = z + x
        h = h + (w2 @ (w1 @ h[..., None]).tanh())[..., 0]
        return h * h.square().mean(1, keepdim=True).rsqrt()

    return f


@pytest.mark.parametrize("gain", [0.5, 1.0])
def test_anderson_never_costs_more_on_post_norm_maps(gain):
    plain, mixed = counts(post_norm_map(0, 100, 64, gain), normal(5, 100, 64))
    assert (mixed - plain).max() <= 2
    assert mixed.mean() <= 0.8 * plain.mean()


def test_a_mixed_step_that_fails_is_made_good():
    """Where pieces of a map meet, mixing misleads; judged by the step before, it may do so for ever
    (2 of these 200 samples then never converge, and others take 350 evaluations more)."""
    g = linear(matrices("random", 1.5, 200, 2), normal(1, 200, 2))
    z0, f = normal(2, 200, 2), lambda z: g(z.relu()).relu() / 2
    plain, mixed = solve(f, z0, Picard(1e-6, 400)), solve(f, z0, Anderson(1e-6, 400))
    solved = plain.converged
    assert solved.sum() > 190
    assert mixed.converged[solved].all()
    assert (mixed.evaluations - plain.evaluations)[solved].max() <= 5


def test_post_norm_nets_in_fp32():
    """The paper's blocks, their weights scaled to contract: Anderson saves a third."""
    used = []
    for seed in range(3):
        torch.manual_seed(seed)
        net = Net(NetConfig(width=64, layers=2, heads=4, multiple=32), 16)
        for parameter in net.parameters():
            parameter.data.mul_(1 / math.sqrt(3))
        x = normal(seed, 4, 16, 64, dtype=torch.float32)
        with torch.no_grad():
            used.append(torch.stack(counts(lambda z, net=net, x=x: net(z, x), x, 1e-3, 100)))
    plain, mixed = torch.cat(used, 1)
    assert (mixed <= plain).all()
    assert mixed.mean() <= 14 <= plain.mean() <= 23


def test_every_report_is_about_the_value():
    a, b = matrices("random", 0.9, 5, 24), normal(1, 5, 24)
    x = normal(2, 5, 3, 8)

    def f(w):
        y, z = w
        flat = torch.cat((y, z.flatten(1)), 1)
        image = (a @ flat.tanh()[..., None])[..., 0] + b
        return image[:, :8], image[:, 8:].view(5, 2, 8) + x[:, :2]

    for solver in (Picard(1e-3, 50), Anderson(1e-3, 50), Anderson(1e-12, 7), Picard(1e-12, 7)):
        found = solve(f, (normal(3, 5, 8), normal(4, 5, 2, 8)), solver)
        image = f(found.value)
        gap = [(p - q).flatten(1).norm(dim=1) for p, q in zip(image, found.value, strict=True)]
        size = [q.flatten(1).norm(dim=1) for q in found.value]
        torch.testing.assert_close(
            found.part_residuals, torch.stack([g / s for g, s in zip(gap, size, strict=True)], 1)
        )
        joint = torch.stack(gap).norm(dim=0) / torch.stack(size).norm(dim=0)
        torch.testing.assert_close(found.residual, joint)
        assert torch.equal(found.converged, found.residual <= solver.tolerance)


@pytest.mark.parametrize("kind_of_solver", SOLVERS)
def test_evaluations_are_counted_and_stop_per_sample(kind_of_solver):
    rate = torch.tensor([0.0, 0.1, 0.5, 0.9], dtype=torch.float64)[:, None]
    calls = []

    def f(z):
        calls.append(1)
        return rate * z.sin() + 1

    found = solve(f, normal(0, 4, 3), kind_of_solver(1e-8, 500))
    # The slowest sample set the calls; OneStep's own application comes on top.
    assert len(calls) == found.evaluations.max() + 1
    assert found.evaluations[0] == 2  # the first image of a constant map is its fixed point
    assert (found.evaluations.diff() > 0).all()


def test_picard_counts_as_plain_iteration_does():
    f, z0 = post_norm_map(0, 9, 16, 0.7), normal(5, 9, 16)
    found = solve(f, z0, Picard(1e-5, 200))
    for i in range(9):
        z, k = z0, 0
        while True:
            image, k = f(z), k + 1
            if (image - z)[i].norm() / z[i].norm() <= 1e-5:
                break
            z = image
        assert found.evaluations[i] == k
        torch.testing.assert_close(found.value[i], z[i], rtol=0, atol=0)


def test_window_of_one_is_damped_picard():
    f, z0 = post_norm_map(0, 9, 16, 0.7), normal(5, 9, 16)
    mixed = solve(f, z0, Anderson(1e-9, 30, window=1, mixing=0.6))
    plain = solve(f, z0, Picard(1e-9, 30, damping=0.6))
    torch.testing.assert_close(mixed.value, plain.value)
    assert torch.equal(mixed.evaluations, plain.evaluations)


def test_full_window_solves_small_linear_systems_like_gmres():
    """Anderson with a window above n ends on a linear map of n dimensions in n + 2 evaluations."""
    a, b = matrices("random", 0.8, 20, 4), normal(1, 20, 4)
    found = solve(linear(a, b), normal(2, 20, 4), Anderson(1e-6, 50, window=6, growth=math.inf))
    assert found.evaluations.max() <= 6


@pytest.mark.parametrize("kind_of_solver", SOLVERS)
def test_budgets(kind_of_solver):
    f, z0 = linear(matrices("random", 0.5, 4, 6), normal(1, 4, 6)), normal(2, 4, 6)
    none = solve(f, z0, kind_of_solver(1e-3, 0))
    assert torch.equal(none.value, z0)
    assert none.residual.isinf().all()
    assert none.part_residuals.isinf().all()
    assert not none.evaluations.any()
    assert not none.converged.any()
    least = solve(f, z0, kind_of_solver(1e-1, 60, min_evaluations=30))
    assert (least.evaluations == 30).all()
    assert least.converged.all()
    assert (least.residual < 1e-6).all()  # the best of the 30, not the first below the tolerance
    few = solve(f, z0, kind_of_solver(1e-9, 3))
    assert (few.evaluations == 3).all()
    assert not few.converged.any()


@pytest.mark.parametrize("solver", [Picard, Anderson])
def test_early_exit_changes_nothing(solver):
    f, z0 = post_norm_map(0, 7, 16, 0.7), normal(5, 7, 16)
    a, b = (solve(f, z0, solver(1e-5, 60, early_exit=early)) for early in (True, False))
    for name in ("value", "residual", "evaluations", "converged", "part_residuals"):
        assert torch.equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("solver", [Picard(1e-9, 12, damping=0.7, patience=2), Anderson(1e-9, 12)])
@pytest.mark.parametrize("gradient", [OneStep(), Unrolled()])
def test_no_host_synchronisation(solver, gradient):
    """On the meta device every .item() or bool() of a tensor raises."""
    with torch.device("meta"):
        net = Net(NetConfig(width=32, layers=1, heads=2, multiple=32, positions="none"), 5)
        start = (torch.empty(3, 5, 32), torch.empty(3, 5, 32))
    # Unrolled looks for samples at rest, of which there are none after a final step.
    last = isinstance(gradient, Unrolled)
    quiet = type(solver)(**(vars(solver) | {"early_exit": False, "final_step": last}))
    found = solve(lambda w: (net(*w), net(*w[::-1])), start, quiet, gradient)
    sum(found.value).sum().backward()
    assert found.evaluations.shape == (3,)
    with pytest.raises((NotImplementedError, RuntimeError)):
        solve(net.layers[0].mlp, start[0], type(solver)(**(vars(solver) | {"early_exit": True})))


SPIRAL = torch.tensor([[0.3, -1.2], [1.2, 0.3]], dtype=torch.float64)  # eigenvalues 0.3 +- 1.2i


def test_shrinking_steps_solve_spiralling_maps():
    def f(z):  # linear near its fixed point, bounded far from it
        return torch.tanh(z @ SPIRAL.T + 0.1)

    z0 = normal(0, 5, 2)
    assert not solve(f, z0, Picard(1e-8, 400)).converged.any()
    assert solve(f, z0, Picard(1e-8, 400, damping=0.5)).converged.all()
    shrinking = solve(f, z0, Picard(1e-8, 400, patience=5, decay=0.8))
    assert shrinking.converged.all()
    torch.testing.assert_close(f(shrinking.value), shrinking.value)


@pytest.mark.parametrize(
    ("kind", "arguments", "name"),
    [
        *(
            (kind, bad, name)
            for kind in SOLVERS
            for bad, name in [
                ({"tolerance": 0.0}, "tolerance"),
                ({"tolerance": -1e-3}, "tolerance"),
                ({"tolerance": math.nan}, "tolerance"),
                ({"tolerance": math.inf}, "tolerance"),
                ({"max_evaluations": -1}, "max"),
                ({"min_evaluations": -1}, "min"),
                ({"min_evaluations": 9, "max_evaluations": 8}, "min"),
            ]
        ),
        (Anderson, {"window": 0}, "window"),
        (Anderson, {"mixing": 0.0}, "mixing"),
        (Anderson, {"mixing": 1.1}, "mixing"),
        (Anderson, {"mixing": math.nan}, "mixing"),
        (Anderson, {"growth": 0.9}, "growth"),
        (Anderson, {"growth": math.nan}, "growth"),
        (Picard, {"damping": 0.0}, "damping"),
        (Picard, {"damping": 1.1}, "damping"),
        (Picard, {"damping": math.nan}, "damping"),
        (Picard, {"decay": 0.0}, "decay"),
        (Picard, {"patience": -1}, "patience"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind, arguments, name):
    with pytest.raises(ValueError, match=name):
        kind(**arguments)


def test_maps_that_change_the_state_are_refused():
    z0 = normal(0, 3, 4)
    with pytest.raises(ValueError, match="shapes"):
        solve(lambda z: z[:, :2], z0)
    with pytest.raises(ValueError, match="shapes"):
        solve(lambda w: (w[0], w[1], w[1]), (z0, z0))
    with pytest.raises(ValueError, match="dtypes"):
        solve(lambda z: z.float(), z0)
    with pytest.raises(ValueError, match="batch axis"):
        solve(lambda w: w, (z0, z0[:2]))
    with pytest.raises(ValueError, match="batch axis"):
        solve(lambda z: z, torch.tensor(1.0))


@pytest.mark.parametrize("solver", [Picard(1e-6, 200), Anderson(1e-6, 60)], ids=str)
@pytest.mark.parametrize("gradient", [OneStep(), Unrolled()], ids=str)
def test_a_sample_may_be_one_number(solver, gradient):
    """cos has its fixed point at the Dottie number; alone, or beside a wider part."""
    dottie = torch.full((3,), 0.73908513)
    torch.testing.assert_close(solve(torch.cos, torch.ones(3), solver, gradient).value, dottie)

    def joint(state):
        a, b = state
        return a.cos(), (b + a[:, None]) / 2

    found = solve(joint, (torch.ones(3), torch.zeros(3, 2)), solver, gradient)
    torch.testing.assert_close(found.value[0], dottie)
    torch.testing.assert_close(found.value[1], dottie[:, None].expand(3, 2), rtol=1e-4, atol=0)
    assert found.part_residuals.shape == (3, 2)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128, torch.int64, torch.bool])
def test_states_of_other_numbers_are_refused_at_once(dtype):
    def never(z):
        raise AssertionError("the map was called")

    for state in (torch.zeros(1, 2).to(dtype), (torch.zeros(1, 2), torch.zeros(1).to(dtype))):
        with pytest.raises(ValueError, match=str(dtype)):
            solve(never, state)
    with pytest.raises(ValueError, match="real"):
        solve(lambda z: z.to(dtype), torch.zeros(1, 2))


@pytest.mark.parametrize("solver", [Picard(1e-12, 200), Anderson(1e-12, 200)], ids=str)
def test_complex_numbers_as_pairs_find_the_complex_fixed_point(solver):
    """z = i z / 2 + 1 at z = 1 / (1 - i / 2) = 0.8 + 0.4i, as the refusal says."""

    def f(pairs):
        return torch.view_as_real(0.5j * torch.view_as_complex(pairs) + 1)

    with torch.no_grad():
        found = solve(f, torch.zeros(1, 2, 2, dtype=torch.float64), solver)
    expected = torch.tensor([0.8, 0.4], dtype=torch.float64).expand(1, 2, 2)
    torch.testing.assert_close(found.value, expected)


def test_wide_refuses_what_it_would_cut():
    with pytest.raises(ValueError, match="complex64"):
        wide(torch.zeros(2, dtype=torch.complex64))


def halve(z):
    return z.mul_(0.5).add_(1)


def halve_a_view(z):
    z[:, 1:].mul_(0.5)
    return z + 0


class Buffered:
    """Halves into one tensor of its own each time."""

    def __init__(self):
        self.kept = torch.empty(2, 3)

    def __call__(self, z):
        return torch.mul(z, 0.5, out=self.kept).add_(1)


@pytest.mark.parametrize("solver", [Picard(), Picard(damping=0.5), Anderson()], ids=str)
@pytest.mark.parametrize("f", [halve, halve_a_view, Buffered()], ids=["all", "view", "buffer"])
def test_maps_that_work_in_place_are_refused_and_the_start_is_left(f, solver):
    z0 = torch.zeros(2, 3)
    z0[:, 1:] = 1
    given = z0.clone()
    for gradient in (OneStep(), Unrolled()):
        with torch.no_grad(), pytest.raises(ValueError, match="in place"):
            solve(f, z0, solver, gradient)
        with pytest.raises(ValueError, match="in place"):
            solve(torch.inference_mode()(f), z0, solver, gradient)
        assert torch.equal(z0, given)


@pytest.mark.parametrize("solver", [Picard(1e-6), Anderson(1e-6)], ids=str)
@pytest.mark.parametrize("make", [lambda: halve, Buffered], ids=["argument", "buffer"])
def test_in_inference_mode_where_no_change_is_counted_maps_get_copies(make, solver):
    with torch.inference_mode():
        z0 = torch.zeros(2, 3)
        found = solve(make(), z0, solver)
    torch.testing.assert_close(found.value, torch.full((2, 3), 2.0), rtol=1e-5, atol=0)
    assert torch.equal(z0, torch.zeros(2, 3))


def test_a_value_that_is_the_start_shares_no_memory_with_it():
    z0 = torch.zeros(2, 3)
    for solver in (Picard(), Picard(max_evaluations=0)):
        with torch.no_grad():
            solve(lambda z: z / 2, z0, solver).value.add_(1)
        assert torch.equal(z0, torch.zeros(2, 3))
