"""AdamATan2, sign-SGD and the schedule against their formulas and published numbers."""

import copy
import importlib.util

import numpy as np
import pytest
import torch
from adam_atan2_pytorch.adam_atan2 import AdamAtan2
from torch import nn

from reasoning.training.config import OptimizerConfig
from reasoning.training.optimizers import AdamATan2, SignSGD, schedule_factor

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    ),
]
BETAS = (0.9, 0.95)


def atan2_updates(gradients, inside: bool) -> list[torch.Tensor]:
    """The updates in units of the rate, in float64."""
    m = v = torch.zeros_like(gradients[0])
    updates = []
    for step, g in enumerate(gradients, 1):
        m, v = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * v + (1 - BETAS[1]) * g * g
        left, root = 1 - BETAS[0] ** step, (v / (1 - BETAS[1] ** step)).sqrt()
        updates.append(torch.atan2(m / left, root) if inside else torch.atan2(m, root) / left)
    return updates


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("inside", [False, True])
def test_adam_atan2_is_its_formula(device, inside):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, generator=generator)
    p = nn.Parameter(start.to(device))
    optimizer = AdamATan2([p], 0.1, BETAS, 0.5, inside)
    gradients = [torch.randn(5, generator=generator).double() for _ in range(6)]
    expected = start.double()
    for g, update in zip(gradients, atan2_updates(gradients, inside), strict=True):
        p.grad = g.to(device, torch.float32)
        optimizer.step()
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * update
        torch.testing.assert_close(p.detach().cpu().double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("inside", "published"),
    [(False, {1: 0.9967, 5: 0.9491, 50: 0.7869}), (True, {1: 0.7854, 5: 0.7854, 50: 0.7854})],
)
def test_a_constant_gradient_moves_by_the_numbers_of_each_package(inside, published):
    p = nn.Parameter(torch.zeros(1))
    optimizer = AdamATan2([p], 1.0, BETAS, 0.0, inside)
    p.grad = torch.full((1,), 0.3)
    for step in range(1, 51):
        before = p.item()
        optimizer.step()
        if step in published:
            assert before - p.item() == pytest.approx(published[step], abs=1e-4)


def other_package(p: nn.Parameter) -> torch.optim.Optimizer:
    return AdamAtan2([p], lr=0.01, betas=BETAS, weight_decay=0.5, a=1.0, b=1.0)


def steps_of(optimizer, p, gradients) -> torch.Tensor:
    for g in gradients:
        p.grad = g.clone()
        optimizer.step()
    return p.detach().clone()


@pytest.mark.parametrize(("inside", "first"), [(True, 3), (False, 170)])
def test_a_state_of_the_pure_torch_package_is_gone_on_with(inside, first):
    """By its own formula from any step, by the published one where the two are one."""
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(4, 3, generator=generator) for _ in range(first + 3)]
    theirs = nn.Parameter(torch.randn(4, 3, generator=generator))
    package = other_package(theirs)
    ours = nn.Parameter(steps_of(package, theirs, gradients[:first]))
    state = copy.deepcopy(package.state_dict())
    optimizer = AdamATan2([ours], 0.01, BETAS, 0.5, inside)
    optimizer.load_state_dict(state)
    expected = steps_of(package, theirs, gradients[first:])
    torch.testing.assert_close(steps_of(optimizer, ours, gradients[first:]), expected)


def test_the_published_update_does_not_go_on_with_the_other_ones_first_steps():
    p = nn.Parameter(torch.zeros(3))
    package = other_package(p)
    steps_of(package, p, [torch.ones(3)] * 20)
    with pytest.raises(ValueError, match=r"20 steps.*optimizer.name.*config.json"):
        AdamATan2([p], 0.01, BETAS, 0.5).load_state_dict(package.state_dict())


@pytest.mark.skipif(
    not torch.cuda.is_available() or importlib.util.find_spec("adam_atan2") is None,
    reason="needs a GPU and the compiled package adam-atan2",
)
def test_the_compiled_package_makes_the_same_updates_and_states_exchange():
    from adam_atan2 import AdamATan2 as Compiled

    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(64, 3, generator=generator).cuda() for _ in range(6)]
    start = torch.randn(64, 3, generator=generator).cuda()

    def fresh(kind):
        p = nn.Parameter(start.clone())
        return kind([p], lr=0.1, betas=BETAS, weight_decay=0.5), p

    whole = steps_of(*fresh(Compiled), gradients)
    for before, after in ((AdamATan2, Compiled), (Compiled, AdamATan2)):
        first, p = fresh(before)
        half = steps_of(first, p, gradients[:3])
        second, q = fresh(after)
        q.data.copy_(half)
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        torch.testing.assert_close(steps_of(second, q, gradients[3:]), whole)


def test_sign_sgd_moves_and_decays_the_rows_of_the_batch():
    p = nn.Parameter(torch.tensor([[1.0, -2.0], [3.0, 4.0], [1.0, 1.0]]))
    p.grad = torch.tensor([[0.5, -7.0], [0.0, 0.0], [0.0, 0.0]])
    # The last row's puzzle is in the batch, its gradient happens to be zero: it decays alone.
    SignSGD([p], lr=0.1, weight_decay=0.5).step(torch.tensor([2, 0, 2]))
    expected = torch.tensor([[1 - 0.05 - 0.1, -2 + 0.1 + 0.1], [3.0, 4.0], [0.95, 0.95]])
    torch.testing.assert_close(p.detach(), expected)


def test_schedule_warms_up_and_decays_by_a_cosine():
    settings = OptimizerConfig(warmup=10, schedule="cosine", final=0.1)
    values = [schedule_factor(step, 110, settings) for step in (0, 4, 9, 10, 60, 110)]
    middle = 0.1 + 0.9 * 0.5
    np.testing.assert_allclose(values, [0.1, 0.5, 1.0, 1.0, middle, 0.1])
    assert schedule_factor(500, 1000, OptimizerConfig(warmup=10)) == 1.0
