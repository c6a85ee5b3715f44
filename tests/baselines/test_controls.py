"""The controls against straight-line loops."""

import torch

from baselines.controls import AttractorReset, AttractorResetConfig, TwoStep, TwoStepConfig
from baselines.trm import TRM, TRMConfig
from reasoning.attractor import Attractor, AttractorConfig
from reasoning.nn.grid import GridShape
from reasoning.supervision import Depth, infer

SMALL = {"width": 16, "layers": 1, "heads": 2, "multiple": 8, "puzzle_tokens": 1}
SHAPE = GridShape(9, 6)
INPUTS = torch.randint(1, 6, (3, 9), generator=torch.Generator().manual_seed(0))
IDS = torch.zeros(3, dtype=torch.int64)


def build(kind, config):
    torch.manual_seed(0)
    return kind(config, SHAPE).double()


def test_two_step_is_f_of_f_of_zero_three_times_with_the_last_sweeps_gradient():
    model = build(TwoStep, TwoStepConfig(**SMALL))
    start = model.initial_state(3)
    output = model.segment(start, INPUTS, IDS, Depth())
    output.logits.square().sum().backward()
    found = [p.grad.clone() for p in model.net.parameters()]
    model.zero_grad()
    x, y = model.embedding(INPUTS, IDS), start[0]
    for sweep in range(3):
        if sweep == 2:
            y = y.detach()
        z = model.net(model.net(torch.zeros_like(y), y + x), y + x)
        y = model.net(y, z)
    logits, _ = model.heads(y)
    torch.testing.assert_close(output.logits, logits.to(output.logits.dtype))
    logits.square().sum().backward()
    for a, p in zip(found, model.net.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad)
    assert output.net_calls.tolist() == [9, 9, 9]


def test_two_step_never_reads_the_latent_of_its_carry():
    model = build(TwoStep, TwoStepConfig(**SMALL))
    y, z = model.initial_state(3)
    a = model.segment((y, z), INPUTS, IDS, Depth())
    b = model.segment((y, torch.randn_like(z)), INPUTS, IDS, Depth())
    assert torch.equal(a.logits, b.logits)


def test_a_reset_carry_makes_every_segment_the_attractors_first():
    config = {**SMALL, "solver": {"max_evaluations": 4}}
    reset = build(AttractorReset, AttractorResetConfig(**config))
    attractor = build(Attractor, AttractorConfig(**config))
    attractor.load_state_dict(reset.state_dict())
    repeated = [o.logits for o in infer(reset, INPUTS, IDS, 3, Depth())]
    carried = [o.logits for o in infer(attractor, INPUTS, IDS, 3, Depth())]
    assert all(torch.equal(logits, carried[0]) for logits in repeated)
    assert not torch.equal(carried[1], carried[0])


def test_the_matched_trm_is_the_attractor_under_picard_undamped():
    """E Picard evaluations and K undamped phantom steps are E + K cycles, K of them with a graph.

    (Picard's best iterate is the last one while its residual falls: weights scaled down.)
    """
    steps = {"inner_steps": 2}
    solver = {"kind": "picard", "max_evaluations": 4, "tolerance": 1e-14}
    config = AttractorConfig(
        **SMALL, **steps, initial="fixed", solver=solver, gradient={"steps": 3, "damping": 1.0}
    )
    attractor = build(Attractor, config)
    matched = build(TRM, TRMConfig(**SMALL, **steps, cycles=4 + 3, gradient_cycles=3))
    with torch.no_grad():
        for parameter in attractor.net.parameters():
            parameter.mul_(0.2)
    matched.load_state_dict(attractor.state_dict())
    outputs = [m.segment(m.initial_state(3), INPUTS, IDS, Depth()) for m in (attractor, matched)]
    for output in outputs:
        output.logits.square().sum().backward()
    torch.testing.assert_close(outputs[0].logits, outputs[1].logits)
    for a, b in zip(attractor.net.parameters(), matched.net.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
