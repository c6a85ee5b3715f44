"""EqR's training interventions and the speed recipe's net, on every model."""

import pytest
import torch

from baselines.controls import AttractorReset, AttractorResetConfig
from baselines.hrm import HRM, HRMConfig
from baselines.transformer import Transformer, TransformerConfig
from baselines.trm import TRM, TRMConfig
from reasoning import randomness
from reasoning.attractor import Attractor, AttractorConfig
from reasoning.nn.grid import GridShape
from reasoning.nn.layers import SwiGLU
from reasoning.supervision import Depth, infer

SMALL = {"width": 16, "layers": 1, "heads": 2, "multiple": 8, "puzzle_tokens": 1}
MODELS = {
    "trm": (TRM, TRMConfig, {"cycles": 2, "inner_steps": 2}),
    "hrm": (HRM, HRMConfig, {}),
    "transformer": (Transformer, TransformerConfig, {}),
    "attractor": (Attractor, AttractorConfig, {"inner_steps": 1}),
    "attractor-reset": (AttractorReset, AttractorResetConfig, {"inner_steps": 1}),
    "attractor-z": (Attractor, AttractorConfig, {"solve_for": "z"}),
}
INPUTS = torch.randint(1, 6, (3, 9), generator=torch.Generator().manual_seed(0))
IDS = torch.zeros(3, dtype=torch.int64)
SEEDS = torch.tensor([7, 8, 9])


def build(name: str, **options):
    kind, config, sizes = MODELS[name]
    torch.manual_seed(0)
    return kind(config(**SMALL, **sizes, **options), GridShape(9, 6))


def last(model, seeds, inputs=INPUTS):
    return list(infer(model, inputs, IDS[: len(inputs)], 2, Depth(), seeds))[-1]


@pytest.mark.parametrize("name", MODELS)
def test_a_random_start_is_the_samples_own(name):
    model = build(name, initial="random")
    y, z = model.initial_state(3, SEEDS)
    assert y.std() > 0.5
    assert not torch.equal(y, z)
    assert not torch.equal(y[0], y[1])
    assert not torch.equal(y[0, 0], y[0, 1])
    alone = model.initial_state(1, SEEDS[1:2])
    assert torch.equal(alone[0][0], y[1])
    with pytest.raises(ValueError, match="give seeds"):
        model.initial_state(3)


@pytest.mark.parametrize("name", MODELS)
def test_noise_comes_from_the_seeds_and_is_fresh_every_segment(name):
    model = build(name, update_noise=0.1)
    first = last(model, SEEDS).logits
    assert torch.equal(first, last(model, SEEDS).logits)
    assert not torch.equal(first, last(model, SEEDS + 10).logits)
    torch.testing.assert_close(last(model, SEEDS[:1], INPUTS[:1]).logits, first[:1])
    state = model.initial_state(3)
    one = model.segment(state, INPUTS, IDS, Depth(), SEEDS)
    other = model.segment(state, INPUTS, IDS, Depth(), SEEDS + 1)
    assert not torch.equal(one.logits, other.logits)


@pytest.mark.parametrize("name", MODELS)
def test_start_and_noise_never_draw_from_the_same_seeds(name, monkeypatch):
    drawn = {"normal": set(), "truncated_normal": set()}
    for kind, uses in drawn.items():
        draw = getattr(randomness, kind)

        def noted(seeds, shape, draw=draw, uses=uses):
            uses.add(tuple(seeds.tolist()))
            return draw(seeds, shape)

        monkeypatch.setattr(randomness, kind, noted)
    last(build(name, initial="random", update_noise=0.1), SEEDS)
    assert all(drawn.values())
    assert not set.intersection(*drawn.values())


def test_a_damped_noisy_update_is_eqrs_formula():
    model = build("trm", update_damping=0.05, update_noise=0.01)
    u, c = torch.randn(2, 64, 10, 16)
    seeds = torch.arange(64)
    new = model.update(model.net, u, c, seeds, 0)
    noise = (new - (0.05 * u + 0.95 * model.net(u, c))).detach()
    assert abs(float(noise.std()) - 0.01) < 3e-4
    assert abs(float(noise.mean())) < 3e-4
    again = (model.update(model.net, u, c, seeds, 1) - new).detach()
    assert abs(float(again.std()) - 0.01 * 2**0.5) < 4e-4
    # To the last bit: a segment's calls amplify what another order of the sum would round away.
    still = build("trm", update_damping=0.05)
    torch.testing.assert_close(
        still.update(still.net, u, c, seeds, 0), 0.05 * u + 0.95 * still.net(u, c), rtol=0, atol=0
    )


def test_damping_moves_no_fixed_point_of_the_joint_map():
    """y = (1 - a) net(y, z) + a y has the solutions of y = net(y, z), and so has z (n = 1)."""
    config = {"initial": "fixed", "solver": {"max_evaluations": 300, "tolerance": 1e-5}}
    plain, damped = (build("attractor", **config, update_damping=d) for d in (0.0, 0.3))
    with torch.no_grad():
        for model in (plain, damped):
            for parameter in model.net.parameters():
                parameter.mul_(0.3)  # a contraction
        solved = plain.segment(plain.initial_state(3), INPUTS, IDS, Depth())
        other = damped.segment(damped.initial_state(3), INPUTS, IDS, Depth())
    assert solved.diagnostics["converged"].all()
    torch.testing.assert_close(other.state, solved.state, rtol=0, atol=1e-2)


def test_gradient_cycles_let_the_gradient_through_that_many_cycles():
    """Against a straight-line loop with a graph from there on."""
    torch.manual_seed(0)
    config = TRMConfig(**SMALL, cycles=4, inner_steps=1, gradient_cycles=2)
    model = TRM(config, GridShape(9, 6)).double()
    output = model.segment(model.initial_state(3), INPUTS, IDS, Depth())
    output.logits.square().sum().backward()
    found = [p.grad.clone() for p in model.net.parameters()]
    model.zero_grad()
    x, (y, z) = model.embedding(INPUTS, IDS), model.initial_state(3)
    for cycle in range(4):
        if cycle == 2:
            y, z = y.detach(), z.detach()
        z = model.net(z, y + x)
        y = model.net(y, z)
    model.heads(y)[0].square().sum().backward()
    for a, p in zip(found, model.net.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad)


def test_the_normalised_product_is_its_formula():
    torch.manual_seed(0)
    layer, x = SwiGLU(6, 8, normalised=True).double(), torch.randn(4, 6, dtype=torch.float64)
    gate, up = (x @ w.T for w in layer.gate_up_proj.weight.split(8))
    product = gate * up
    norm = product / (product.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
    want = (norm / (1 + torch.exp(-gate))) @ layer.down_proj.weight.T
    torch.testing.assert_close(layer(x), want)
