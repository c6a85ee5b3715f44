"""A sample's solution depends on nothing but the sample: not on its batch-mates, bit for bit."""

import math

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
    solve,
)
from reasoning.fixed_point.solution import row_sum

SOLVERS = [
    Picard(1e-4, 30),
    Picard(1e-4, 30, damping=0.7),
    Picard(1e-4, 30, patience=2, decay=0.8),
    Anderson(1e-4, 30),
    Anderson(1e-4, 30, window=3, mixing=0.8),
]
FIELDS = ("value", "residual", "evaluations", "converged", "part_residuals")


def normal(seed, *shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def mixing_map(rate, x):
    """Entry-wise arithmetic alone (+, *, /), exact for each entry; it mixes a sample's entries."""

    def f(z):
        turned = z.roll(1, dims=-1)
        return rate.view(-1, *[1] * (z.dim() - 1)) * turned / (1 + z * z / 9) + x

    return f


def flat(solution):
    value = solution.value if isinstance(solution.value, tuple) else (solution.value,)
    return [*value, *(getattr(solution, name) for name in FIELDS[1:])]


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(5,), (9, 31)], ids=str)
@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_alone_or_in_any_company(solver, shape):
    check_company(solver, shape)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("solver", [Picard(1e-4, 8, damping=0.7), Anderson(1e-4, 8)], ids=str)
def test_long_samples_alone_or_in_any_company(solver):
    """Reductions over 131,131 entries may be split over threads."""
    check_company(solver, (131, 1001))


def check_company(solver, shape):
    rate = torch.tensor([0.9, 0.1, 0.5, 0.97, 0.0, 0.7, 0.3])  # mates converge sooner and later
    x, z0 = normal(0, 7, *shape), normal(1, 7, *shape)
    together = flat(solve(mixing_map(rate, x), z0, solver))
    for rows in ([0], [2], [4, 6, 3]):
        apart = flat(solve(mixing_map(rate[rows], x[rows]), z0[rows], solver))
        for a, b in zip(apart, together, strict=True):
            assert torch.equal(a, b[rows])


@pytest.mark.parametrize(
    "gradient", [OneStep(), Neumann(3, 1.2), Adjoint(), Phantom(2, 0.6), Reversible(2)]
)
def test_gradients_alone_or_in_company(gradient):
    rate, z0 = torch.tensor([0.8, 0.1, 0.5, 0.0, 0.3]), normal(1, 5, 9, 31)

    def gradients(rows):
        x = normal(0, 5, 9, 31)[rows].requires_grad_()
        value = solve(mixing_map(rate[rows], x), z0[rows], Anderson(1e-4, 30), gradient).value
        return torch.autograd.grad(value.square().sum(), x)[0]

    together = gradients([0, 1, 2, 3, 4])
    for i in range(5):
        assert torch.equal(gradients([i]), together[[i]])


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("after", [0, 3])
def test_a_sample_that_leaves_the_finite_harms_no_other(solver, bad, after):
    """Sample 2's map breaks down from evaluation `after` on."""
    rate, x, z0 = torch.full((4,), 0.5), normal(0, 4, 9), normal(1, 4, 9)
    seen = []

    def breaking(z):
        image = mixing_map(rate, x)(z).clone()
        if len(seen) >= after:
            image[2, 4] = bad
        seen.append((z[2].clone(), float((image[2] - z[2]).norm() / z[2].norm())))
        return image

    with torch.no_grad():
        broken, sound = solve(breaking, z0, solver), solve(mixing_map(rate, x), z0, solver)
    others = [0, 1, 3]
    for a, b in zip(flat(broken), flat(sound), strict=True):
        assert torch.equal(a[others], b[others])
    assert sound.converged.all()
    assert not broken.converged[2]
    assert broken.evaluations[2] == after + 1
    if after:
        best, residual = min(seen[:after], key=lambda pair: pair[1])
        torch.testing.assert_close(float(broken.residual[2]), residual)
    else:
        best = z0[2]
        assert broken.residual[2] == math.inf
    assert torch.equal(broken.value[2], best)


@pytest.mark.parametrize("solver", [Picard(1e-3, 9), Anderson(1e-3, 9)])
def test_states_beyond_the_range_of_squares_have_not_converged(solver):
    """|z|^2 leaves fp32 where |f(z) - z|^2 does not: their ratio must not read 0."""
    found = solve(lambda z: z + 1e17, torch.full((2, 4), 1e19), solver)
    assert not found.converged.any()
    assert found.residual.isinf().all()


def test_a_zero_start_under_a_large_map_is_no_breakdown():
    x = torch.full((2, 64), 1e9)
    found = solve(lambda z: 0.5 * z + x, torch.zeros(2, 64), Anderson(1e-4, 60))
    assert found.converged.all()
    torch.testing.assert_close(found.value, 2 * x, rtol=1e-3, atol=0)
    once = solve(lambda z: 0.5 * z + x, torch.zeros(2, 64), Picard(1e-4, 1))
    assert once.residual.isfinite().all()
    rest = solve(lambda z: 0.5 * z, torch.zeros(2, 64))
    assert (rest.evaluations == 1).all()
    assert (rest.residual == 0).all()


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_states_keep_their_dtype_and_reduce_in_fp32(solver, dtype):
    """300 x 300 entries of 1: a sum in bf16 would stop at 256, one in fp16 overflow."""
    z0 = torch.ones(2, 300, 300, dtype=dtype)
    found = solve(lambda z: z * 0.5 + 1, z0, solver)
    assert found.value.dtype == dtype
    assert found.residual.dtype == found.part_residuals.dtype == torch.float32
    first = solve(lambda z: z * 0.5 + 1, z0, type(solver)(1e-5, 1))
    assert torch.equal(first.residual, torch.full((2,), 0.5))
    assert (found.value.float() - 2).abs().max() <= 0.02


@pytest.mark.parametrize("solver", [Picard(), Anderson()])
def test_an_empty_batch(solver):
    found = solve(lambda z: z / 2, torch.zeros(0, 3), solver)
    assert found.value.shape == (0, 3)
    assert found.residual.shape == found.evaluations.shape == (0,)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("length", [1, 7, 33, 1023, 1024, 1025, 5003, 131_131, 1_100_003])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_row_sum_is_exact_across_batches_and_layouts(length, dtype):
    rows = normal(0, 7, length, dtype=dtype)
    whole = row_sum(rows)
    torch.testing.assert_close(whole.double(), rows.double().sum(1), rtol=1e-4, atol=1e-2)
    for count in (1, 2, 3):
        assert torch.equal(row_sum(rows[2 : 2 + count]), whole[2 : 2 + count])
    strided = rows.T.contiguous().T  # the batch innermost in memory
    assert torch.equal(row_sum(strided), whole)
    assert torch.equal(row_sum(strided[3:4]), whole[3:4])


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_coupled_samples_see_a_stopped_one_at_rest(solver):
    """Sample b sees b - 1. What the map is given of a stopped sample is its result."""
    rate, x, z0 = torch.tensor([0.05, 0.3, 0.6, 0.8]), normal(0, 4, 9), normal(1, 4, 9)
    given = []

    def causal(z):
        given.append(z.clone())
        before = torch.cat((torch.zeros_like(z[:1]), z[:-1]))
        return mixing_map(rate, x + 0.5 * before)(z)

    with torch.no_grad():
        found = solve(causal, z0, solver)
    assert found.converged[:3].all()
    assert found.evaluations[0] < found.evaluations[2]
    for b, spent in enumerate(found.evaluations.tolist()):
        for z in given[spent:]:
            assert torch.equal(z[b], found.value[b])
        assert (found.residual[b] <= solver.tolerance) == found.converged[b]


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_a_final_step_is_the_image_of_the_best_iterate(solver):
    """With it, T evaluations are T steps; the residual stays that of the iterate."""
    rate, x, z0 = torch.tensor([0.1, 0.5, 0.9]), normal(0, 3, 9), normal(1, 3, 9)
    f = mixing_map(rate, x)
    for most in (0, 1, 2, 30):
        settings = vars(solver) | {"max_evaluations": most}
        plain = solve(f, z0, type(solver)(**settings))
        ended = solve(f, z0, type(solver)(**(settings | {"final_step": True})))
        torch.testing.assert_close(ended.value, f(plain.value) if most else z0)
        for name in FIELDS[1:]:
            assert torch.equal(getattr(ended, name), getattr(plain, name))
