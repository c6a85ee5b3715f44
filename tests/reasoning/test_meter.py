"""The meter against sums by hand."""

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from reasoning.attractor import Attractor, AttractorConfig
from reasoning.fixed_point import Picard, solve
from reasoning.nn.grid import GridShape
from reasoning.supervision import Depth
from reasoning.training.meter import Meter


def test_matrix_products_forward_and_backward():
    layer, x = nn.Linear(8, 16, bias=False), torch.randn(4, 8, requires_grad=True)
    with Meter() as forward, torch.no_grad():
        layer(x)
    assert forward.flops == 2 * 4 * 8 * 16
    assert forward.saved_bytes == 0
    with Meter() as both:
        layer(x).sum().backward()
    assert both.flops == 3 * forward.flops  # the gradients of the input and of the weight
    assert both.saved_bytes == 4 * (4 * 8 + 8 * 16)  # the input and the weight


def test_attention_on_the_cpu_is_counted():
    q, k, v = torch.randn(3, 2, 3, 10, 8, requires_grad=True).unbind(0)
    products = 2 * 2 * 3 * 10 * 10 * 8  # one of q k^T and p v, a multiply-add being two
    with Meter() as forward, torch.no_grad():
        scaled_dot_product_attention(q, k, v)
    assert forward.flops == 2 * products
    with Meter() as both:
        scaled_dot_product_attention(q, k, v).sum().backward()
    # Backward: p again, and the gradients of p, v, q and k.
    assert both.flops == 2 * products + 5 * products


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU])
def test_recurrence_is_counted_whatever_kernel_runs_it(layer):
    net, x = layer(8, 16, num_layers=2, bidirectional=True), torch.randn(7, 4, 8)
    products = 2 * 7 * 4 * sum(w.numel() for w in net.parameters() if w.dim() > 1)
    with Meter() as meter, torch.no_grad():
        net(x)
    assert meter.flops == products
    start = torch.zeros(
        4, 4, 16, requires_grad=True
    )  # else its gradient is spared, where it can be
    with Meter() as both:
        net(x.requires_grad_(), (start, start) if layer is nn.LSTM else start)[0].sum().backward()
    assert both.flops == 3 * products


def test_one_layer_of_torch_costs_as_much_in_eval_mode_as_in_training():
    net, x = (
        nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True),
        torch.ones(3, 5, 16),
    )
    fast = torch.backends.mha.get_fastpath_enabled()
    counts = []
    for mode in (True, False):
        with Meter() as meter, torch.no_grad():
            net.train(mode)(x)
        counts.append(meter.flops)
    linear = 2 * 3 * 5 * (4 * 16 * 16 + 2 * 16 * 32)
    assert counts == 2 * [linear + 2 * 2 * 3 * 5 * 5 * 16]
    assert torch.backends.mha.get_fastpath_enabled() is fast


def test_products_with_vectors_are_counted():
    with Meter() as meter:
        torch.ones(5, 8) @ torch.ones(8)
        torch.ones(8) @ torch.ones(8)
    assert meter.flops == 2 * 5 * 8 + 2 * 8


def test_what_is_not_reached_is_not_counted():
    layer, x = nn.Linear(8, 8, bias=False), torch.randn(4, 8)
    with Meter() as meter:
        for _ in range(10):
            x = layer(x)
            if x.shape[0] == 4:
                break
    assert meter.flops == 2 * 4 * 8 * 8


def test_a_sample_that_converged_is_computed_along_but_not_evaluated():
    """What the notes of a comparison say of net calls and FLOPs."""
    halve, b, calls = 0.5 * torch.eye(8), torch.ones(8), []

    def f(z):
        calls.append(len(z))
        return z @ halve + b

    start = torch.stack((2 * b, 5 * b))  # the first row is the fixed point
    with torch.no_grad(), Meter() as meter:
        solution = solve(f, start, Picard(tolerance=1e-3, max_evaluations=20))
    first, second = solution.evaluations.tolist()
    assert first == 1 < second < 20
    assert set(calls) == {2}
    assert len(calls) >= second
    assert meter.flops == len(calls) * 2 * 2 * 8 * 8


def test_metering_changes_no_number():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    x, gradients = torch.randn(4, 8), []
    for metered in (False, True):
        net.zero_grad()
        if metered:
            with Meter():
                net(x).sum().backward()
        else:
            net(x).sum().backward()
        gradients.append([p.grad.clone() for p in net.parameters()])
    assert all(map(torch.equal, *gradients))


def test_a_compiled_module_is_counted_as_it_would_run_eagerly():
    layer, x = nn.Linear(8, 16, bias=False), torch.randn(4, 8)
    layer.compile(backend="eager")
    with torch.no_grad():
        layer(x)
        with Meter(compiled=True) as meter:
            layer(x)
    assert meter.flops == 2 * 4 * 8 * 16


def test_a_solve_that_switches_graphs_on_and_off_is_counted():
    """The released code's z-only sweeps: all but the last run without a graph."""
    torch.manual_seed(0)
    config = AttractorConfig(
        width=16, layers=1, heads=2, multiple=8, puzzle_tokens=1, solve_for="z", mixer="attention"
    )
    model = Attractor(config, GridShape(9, 6))
    inputs, ids = torch.ones(2, 9, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)
    with Meter() as meter:
        output = model.segment(model.initial_state(2), inputs, ids, Depth())
        output.logits.sum().backward()
    with Meter() as one, torch.no_grad():
        model.net(*model.initial_state(2))
    forward = 2 * int(output.net_calls[0])
    assert forward * one.flops / 2 < meter.flops < 3 * forward * one.flops / 2 + 10**6
