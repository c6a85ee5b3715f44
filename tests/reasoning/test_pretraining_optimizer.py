"""Muon and the schedule against their formulas in float64; what each parameter is given to."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from reasoning.pretraining.config import MuonAdamWConfig
from reasoning.pretraining.optimizer import (
    Muon,
    MuonAdamW,
    even_out,
    momentum_at,
    orthogonalise,
    trapezoid,
)

# As published, written out a second time: a slip in the code's own table must not go unseen.
TRIPLES = (
    (8.15655, -22.48329, 15.87877),
    (4.04293, -2.80892, 0.50002),
    (3.89167, -2.77248, 0.50606),
    (3.28575, -2.36813, 0.46449),
    (2.34654, -1.70978, 0.42324),
)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(24, 24), (16, 60), (60, 16), (1, 9)])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_orthogonalisation_maps_singular_values_by_the_polynomials(shape, scale):
    matrix = drawn(*shape) * scale
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    s = s / (1.02 * s.square().sum().sqrt())
    for a, b, c in TRIPLES:
        s = a * s + b * s**3 + c * s**5
    torch.testing.assert_close(orthogonalise(matrix), (u * s) @ vh, rtol=1e-8, atol=1e-10)
    # and so nearly the orthogonal factor, for singular values that are not tiny
    assert s.min() > 0.8
    assert s.max() < 1.2


def test_orthogonalisation_commutes_with_rotations_and_leaves_zero():
    matrix, rotation = drawn(12, 20), torch.linalg.qr(drawn(12, 12, seed=1))[0]
    torch.testing.assert_close(orthogonalise(rotation @ matrix), rotation @ orthogonalise(matrix))
    assert orthogonalise(torch.zeros(3, 5)).abs().max() == 0


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-30, 1e-23, 1e-12, 1e19, 1e38])
@pytest.mark.parametrize("shape", [(12, 12), (8, 20), (20, 8)])
def test_every_finite_matrix_is_orthogonalised(shape, scale):
    matrix = drawn(*shape).float()
    matrix = (matrix / matrix.abs().max() * 3).to(torch.float64) * scale
    found = orthogonalise(matrix.float())
    assert found.isfinite().all()
    if scale > 1e-38:  # below, fp32 itself has few digits left
        torch.testing.assert_close(found.double(), orthogonalise(matrix), rtol=1e-3, atol=1e-3)
    values = torch.linalg.svdvals(found)
    assert values[0] < 1.2
    rank = torch.linalg.matrix_rank(matrix.float().double() / scale)
    assert values[rank - 1] > 0.8


def test_a_momentum_that_decays_to_nothing_leaves_the_weights_finite():
    p = nn.Parameter(drawn(4, 6).float())
    muon = Muon([p], lr=1e-3, second_moment=0.95)
    muon.param_groups[0]["momentum"] = 0.9
    p.grad = 1e-2 * drawn(4, 6, seed=1).float()
    for step in range(1200):
        if step == 1:
            p.grad = torch.zeros_like(p)
        muon.step()
        assert p.isfinite().all(), step
    assert muon.state[p]["momentum"].abs().max() < 1e-38


@pytest.mark.parametrize(("shape", "axis"), [((40, 6), 1), ((6, 40), 0), ((8, 8), 1)])
def test_rows_or_the_columns_of_wide_matrices_are_evened_out_and_the_norm_kept(shape, axis):
    update = drawn(*shape) * (1 + torch.arange(max(shape)).double()).view(-1, 1)[: shape[0]]
    optimizer = Muon([nn.Parameter(update.clone())], lr=0.1, second_moment=0.95)
    second = optimizer.state[optimizer.param_groups[0]["params"][0]]["second_moment"]
    first = even_out(update, second, 0.95)
    assert float(first.norm()) == pytest.approx(float(update.norm()))
    lengths = first.norm(dim=axis)
    np.testing.assert_allclose(lengths, first.norm() / math.sqrt(len(lengths)))
    torch.testing.assert_close(second, 0.05 * update.square().mean(axis, keepdim=True))


@pytest.mark.parametrize("shape", [(12, 5), (5, 12)])
def test_muon_is_its_formula(shape):
    rows, columns = shape
    p = nn.Parameter(drawn(*shape).float())
    muon = Muon([p], lr=0.1, second_moment=0.9)
    expected, momentum = p.detach().double(), torch.zeros(shape).double()
    axis = 1 if rows >= columns else 0  # as published: over columns, of wide matrices over rows
    second = torch.zeros(rows if axis else columns).double()
    for step in range(4):
        mu, decay = 0.85 + 0.02 * step, 0.2 - 0.03 * step
        muon.param_groups[0] |= {"momentum": mu, "weight_decay": decay}
        g = drawn(*shape, seed=step + 5)
        p.grad = g.float()
        muon.step()
        momentum = mu * momentum + (1 - mu) * g
        u, s, vh = torch.linalg.svd((1 - mu) * g + mu * momentum, full_matrices=False)
        s = s / (1.02 * s.norm())
        for a, b, c in TRIPLES:
            s = a * s + b * s**3 + c * s**5
        x = (u * s) @ vh
        second = 0.9 * second + 0.1 * (x**2).mean(axis)
        evened = x / second.sqrt().unsqueeze(axis)
        evened = evened * x.norm() / evened.norm()
        rate = 0.1 * math.sqrt(max(1, rows / columns))
        shrunk = torch.where(evened * expected >= 0, decay * expected, 0)
        expected = expected - rate * (evened + shrunk)
        torch.testing.assert_close(p.detach().double(), expected, rtol=1e-4, atol=1e-5)


def test_muon_refuses_what_is_no_matrix():
    with pytest.raises(ValueError, match="matrices"):
        Muon([nn.Parameter(torch.zeros(3))], 0.1, 0.9)


class Roles(nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        for name, shape in {
            "matrix": (4, 4),
            "embedding": (5, 4),
            "scalar": (4,),
            "head_matrix": (4, 4),
            "head_scalar": (4,),
        }.items():
            value = torch.randn(shape, generator=generator)
            self.register_parameter(name, nn.Parameter(value))


def test_each_role_has_its_rate_and_decay():
    model = Roles()
    config = MuonAdamWConfig(lr=0.01, head_lr_scale=0.5, head_weight_decay=0.1)
    optimizer = MuonAdamW(model, {name: name for name, _ in model.named_parameters()}, config)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step(0, 100)
    moved = {name: before[name] - p.detach() for name, p in model.named_parameters()}
    # Adam's first step is its rate, whatever the gradient
    torch.testing.assert_close(moved["embedding"], torch.full((5, 4), 0.01))
    torch.testing.assert_close(moved["scalar"], torch.full((4,), 0.01))
    torch.testing.assert_close(moved["head_scalar"], torch.full((4,), 0.005))
    decayed = 0.005 + 0.005 * 0.1 * before["head_matrix"]
    torch.testing.assert_close(moved["head_matrix"], decayed)
    assert optimizer.muon.param_groups[0]["params"] == [model.matrix]


def test_frozen_parameters_are_left_out_and_unknown_ones_refused():
    model = Roles()
    model.head_matrix.requires_grad_(False)
    roles = {name: name for name, _ in model.named_parameters()}
    entries = MuonAdamW(model, roles, MuonAdamWConfig()).state_tensors()
    assert {name.split(".")[0] for name in entries} == roles.keys() - {"head_matrix"}
    del roles["scalar"]
    with pytest.raises(ValueError, match="scalar has no role"):
        MuonAdamW(model, roles, MuonAdamWConfig())
    roles = {name: name for name, _ in model.named_parameters()}
    for name, p in model.named_parameters():
        p.requires_grad_(name == "matrix")
    with pytest.raises(ValueError, match="every trained parameter is a matrix"):
        MuonAdamW(model, roles, MuonAdamWConfig())


def test_the_schedule_is_a_trapezoid():
    factors = [trapezoid(step, 100, 0.5) for step in (0, 50, 75, 99)]
    np.testing.assert_allclose(factors, [1, 1, 0.5, 0.02])
    assert trapezoid(99, 100, 0.0) == 1
    steps = (0, 150, 300, 1000)
    np.testing.assert_allclose(
        [momentum_at(s, MuonAdamWConfig()) for s in steps], [0.85, 0.9, 0.95, 0.95]
    )


def test_rates_and_decay_follow_the_schedule():
    model = Roles()
    optimizer = MuonAdamW(model, dict.fromkeys(dict(model.named_parameters()), "scalar"), CONFIG)
    assert optimizer.muon is None
    both = Roles()
    roles = {name: name for name, _ in both.named_parameters()}
    optimizer = MuonAdamW(both, roles, CONFIG)
    assert optimizer.step(75, 100) == 0.5
    group = optimizer.muon.param_groups[0]
    assert group["lr"] == pytest.approx(0.5 * 8e-3)
    assert group["weight_decay"] == pytest.approx(0.2 * 0.25)


CONFIG = MuonAdamWConfig()
