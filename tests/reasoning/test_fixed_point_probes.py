"""The probes against dense Jacobians."""

import math

import pytest
import torch

from reasoning.fixed_point import jacobian_energy, jacobian_norm, spectral_radius


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generator():
    return torch.Generator().manual_seed(7)


MAPS = {
    "tanh": lambda z: torch.tanh(0.3 * z @ normal(0, 8, 8) + 0.1),
    "symmetric": lambda z: z @ (normal(0, 8, 8) + normal(0, 8, 8).T) / 7,
    "rotation": lambda z: z @ (normal(0, 8, 8) - normal(0, 8, 8).T) / 7,  # a complex pair leads
    "post-norm": lambda z: torch.nn.functional.rms_norm(z + z.sin() @ normal(0, 8, 8) / 3, (8,)),
}


@pytest.fixture(params=MAPS)
def map_and_jacobians(request):
    f, z = MAPS[request.param], normal(1, 4, 8)
    dense = [torch.autograd.functional.jacobian(lambda p: f(p[None])[0], row) for row in z]
    return f, z, torch.stack(dense)


def test_norm(map_and_jacobians):
    f, z, jacobians = map_and_jacobians
    exact = torch.linalg.matrix_norm(jacobians, 2)
    torch.testing.assert_close(jacobian_norm(f, z, 200, generator()), exact, rtol=1e-4, atol=0)
    assert (jacobian_norm(f, z, 2, generator()) <= exact * (1 + 1e-4)).all()  # from below


def test_radius(map_and_jacobians):
    f, z, jacobians = map_and_jacobians
    exact = torch.linalg.eigvals(jacobians).abs().amax(1)
    torch.testing.assert_close(spectral_radius(f, z, 600, generator()), exact, rtol=1e-2, atol=0)


@pytest.mark.parametrize("probe", [jacobian_norm, spectral_radius])
def test_joint_states_equal_flat_ones(probe):
    f, z = MAPS["symmetric"], normal(1, 4, 8)

    def joint(w):
        image = f(torch.cat(w, 1))
        return image[:, :3], image[:, 3:]

    flat = probe(f, z, 300, generator())
    torch.testing.assert_close(probe(joint, (z[:, :3], z[:, 3:]), 300, generator()), flat)


def test_zero_points_and_zero_jacobians():
    for dtype in (torch.float32, torch.float64):
        zero = torch.zeros(3, 5, dtype=dtype)
        rate = torch.tensor([[0.5], [1.5], [0.0]], dtype=dtype)
        for probe in (jacobian_norm, spectral_radius):
            got = probe(lambda z, rate=rate: rate * z + 1, zero, 6, generator())
            torch.testing.assert_close(got, rate[:, 0], rtol=1e-3, atol=0)


def test_the_difference_step_does_not_depend_on_the_scale_of_z():
    for scale in (1e-8, 1.0, 1e8):
        got = jacobian_norm(lambda z: 2 * z, scale * torch.ones(2, 4), 3, generator())
        torch.testing.assert_close(got, torch.full((2,), 2.0), rtol=1e-3, atol=0)


@pytest.mark.parametrize("probe", [jacobian_norm, spectral_radius])
def test_no_iterations_are_refused(probe):
    with pytest.raises(ValueError, match="iterations"):
        probe(torch.tanh, torch.ones(1, 2), 0, generator())


def test_the_radius_may_be_far_below_the_norm():
    """A shear: both eigenvalues 0.5, norm about 10."""
    shear = torch.tensor([[0.5, 10.0], [0.0, 0.5]], dtype=torch.float64)
    z = normal(0, 2, 2)
    assert spectral_radius(lambda z: z @ shear, z, 400, generator()).max() < 0.51
    assert math.isclose(
        float(jacobian_norm(lambda z: z @ shear, z, 50, generator())[0]),
        float(torch.linalg.matrix_norm(shear, 2)),
        rel_tol=1e-4,
    )


@pytest.mark.parametrize("probe", [jacobian_norm, spectral_radius])
def test_a_sample_may_be_one_number(probe):
    z = normal(0, 4)
    torch.testing.assert_close(
        probe(torch.cos, z, 3, generator()), z.sin().abs(), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("probe", [jacobian_norm, spectral_radius])
def test_what_the_probes_cannot_measure_is_refused(probe):
    with pytest.raises(ValueError, match="complex64"):
        probe(lambda z: 0.5j * z, torch.ones(1, 2, dtype=torch.complex64), 3, generator())
    with pytest.raises(ValueError, match="shapes"):
        probe(lambda z: z.sum(1, keepdim=True), torch.ones(1, 2), 3, generator())


def test_energy_is_that_of_the_dense_jacobian(map_and_jacobians):
    f, z, jacobians = map_and_jacobians
    probe = normal(2, 4, 8)
    product = torch.einsum("bij,bi->bj", jacobians, probe)
    exact = product.square().sum(1) / 8
    torch.testing.assert_close(jacobian_energy(f, z, probe), exact)
    # Probes of independent entries of deviation 1 give |J|_F^2 in the mean.
    signs = torch.cat([torch.eye(8, dtype=torch.float64) * 8**0.5] * 4).view(4, 8, 8)
    mean = torch.stack([jacobian_energy(f, z, signs[:, i]) for i in range(8)]).mean(0)
    torch.testing.assert_close(mean, torch.linalg.matrix_norm(jacobians).square() / 8)


def test_energy_has_the_gradient_of_the_dense_one():
    weight, z, probe = normal(0, 8, 8).requires_grad_(), normal(1, 2, 8), normal(2, 2, 8)

    def f(p, w=weight):
        return torch.tanh(0.3 * p @ w)

    (found,) = torch.autograd.grad(jacobian_energy(f, z, probe).sum(), weight)
    # J^T e of tanh(a) with a = 0.3 p w, written out: 0.3 (e * (1 - tanh^2 a)) w^T.
    product = 0.3 * (probe * (1 - torch.tanh(0.3 * z @ weight) ** 2)) @ weight.T
    (exact,) = torch.autograd.grad(product.square().sum() / 8, weight)
    torch.testing.assert_close(found, exact)


def test_energy_of_joint_states_counts_all_their_elements():
    f, z, probe = MAPS["post-norm"], normal(1, 4, 8), normal(2, 4, 8)

    def joint(w):
        image = f(torch.cat(w, 1))
        return image[:, :3], image[:, 3:]

    parts = [(t[:, :3], t[:, 3:]) for t in (z, probe)]
    torch.testing.assert_close(jacobian_energy(joint, *parts), jacobian_energy(f, z, probe))
