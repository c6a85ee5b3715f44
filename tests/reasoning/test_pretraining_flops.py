"""FLOPs against the published totals and against a count of what a small net really multiplies."""

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from reasoning.pretraining.flops import (
    NO_CORE,
    Passes,
    matmul_rule,
    measured_passes,
    peak_flops,
    published_rule,
)
from reasoning.pretraining.protocol import Cost

VOCABULARY, CONTEXT = 32_768, 2048


def published_cost(total: int, width: int, once_layers: int, core_layers: int) -> Cost:
    """Of blocks with 12 d^2 weights and two norms; a core layer has two scales of d."""
    layer = 12 * width**2
    return Cost(
        total=total,
        embedding=VOCABULARY * width,
        lookups=0,
        once=layer * once_layers,
        once_layers=once_layers,
        core=layer * core_layers,
        core_layers=core_layers,
        width=width,
        core_scales=2 * width * core_layers,
    )


PASSES = {"transformer": NO_CORE, "parcae": Passes(8, 4), "attractor": Passes(7, 1)}
# Exact parameters, width, layers outside and inside the core; tokens; published EFLOP.
FIGURE_4 = [
    ("transformer", (143_141_184, 768, 6, 0), 11.2e9, 9.2),
    ("parcae", (144_323_136, 768, 4, 2), 11.2e9, 15.2),
    ("attractor", (134_237_184, 1024, 7, 1), 11.2e9, 11.3),
    ("transformer", (385_903_104, 1024, 12, 0), 29.6e9, 71.5),
    ("parcae", (388_003_328, 1024, 8, 4), 29.6e9, 123.5),
    ("attractor", (376_226_560, 1280, 15, 2), 29.6e9, 92.9),
    ("transformer", (773_375_040, 1280, 18, 0), 61.6e9, 305.2),
    ("parcae", (776_655_680, 1280, 12, 6), 61.6e9, 545.8),
    ("attractor", (769_493_760, 1280, 35, 2), 61.6e9, 377.4),
]


@pytest.mark.parametrize(("model", "size", "tokens", "exaflops"), FIGURE_4)
def test_the_published_rule_gives_the_published_totals(model, size, tokens, exaflops):
    each = published_rule(published_cost(*size), CONTEXT, PASSES[model])
    assert round(each * tokens / 1e18, 1) == exaflops


def test_the_matmul_rule_is_what_a_net_multiplies():
    """One layer once, one repeated 3 times of which 1 carries the gradient, a tied unembedding."""
    width, length, vocabulary = 32, 16, 48
    embedding = nn.Embedding(vocabulary, width)

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out = (nn.Linear(width, n * width, bias=False) for n in (3, 1))
            self.up, self.down = (nn.Linear(width, width, bias=False) for _ in range(2))

        def forward(self, x):
            q, k, v = self.qkv(x).chunk(3, -1)
            x = x + self.out((q @ k.mT).softmax(-1) @ v)
            return x + self.down(self.up(x).relu())

    once, core = Layer(), Layer()
    tokens = torch.arange(length)[None] % vocabulary
    with FlopCounterMode(display=False) as counter:
        x = once(embedding(tokens))
        y = x.detach()
        with torch.no_grad():
            for _ in range(2):
                y = core(y)
        y = core(y + x)
        (y @ embedding.weight.T).square().sum().backward()
    layer = 6 * width**2
    cost = Cost(0, vocabulary * width, 0, layer, 1, layer, 1, width)
    assert matmul_rule(cost, length, Passes(3, 1)) * length == counter.get_total_flops()


def test_lookups_norms_and_gates_cost_no_matmul():
    cost = Cost(1000, 100, 300, 400, 1, 0, 0, 8)
    without = Cost(700, 100, 0, 400, 1, 0, 0, 8)
    assert matmul_rule(cost, 16, NO_CORE) == matmul_rule(without, 16, NO_CORE)
    assert published_rule(cost, 16, NO_CORE) > published_rule(without, 16, NO_CORE)


def test_measured_passes_are_the_evaluations_and_what_the_gradient_takes():
    assert measured_passes({"evaluations": 6.0}, Passes(1, 1)) == Passes(7.0, 1)
    assert measured_passes({"evaluations": 8.0}, Passes(0, 4)) == Passes(8.0, 4)
    assert measured_passes({"loss": 1.0}, NO_CORE) == NO_CORE
    assert measured_passes({"evaluations": 0.0}, Passes(1, 1)) == NO_CORE  # the proposal is read


def test_the_peak_is_what_is_stated_and_unknown_on_a_cpu():
    assert peak_flops(torch.device("cpu"), None) is None
    assert peak_flops(torch.device("cpu"), 0.5) == 5e11


def test_unrolling_goes_back_through_the_evaluations_that_were_made():
    assert measured_passes({"evaluations": 9.0}, Passes(0, math.inf)) == Passes(9.0, 9.0)


@pytest.mark.parametrize(
    ("name", "peak"), [("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("Other", None)]
)
def test_the_peak_goes_by_the_card(name, peak, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_flops(torch.device("cuda"), None) == (peak and peak * 1e12)
