"""Every model against a straight-line transcription of its equations, and its published size."""

import pytest
import torch

from baselines.hrm import HRM, HRMConfig
from baselines.transformer import Transformer, TransformerConfig
from baselines.trm import TRM, TRMConfig
from reasoning.attractor import Attractor, AttractorConfig
from reasoning.nn.grid import GridShape
from reasoning.nn.reasoner import parameter_count
from reasoning.supervision import Depth
from scripts.models.presets import build_model, preset

SHAPE = GridShape(cells=9, vocabulary=5)
SIZE = {"width": 32, "layers": 2, "heads": 2, "multiple": 32, "puzzle_tokens": 2}
INPUTS = torch.randint(1, 5, (3, 9), generator=torch.Generator().manual_seed(1))
IDS = torch.zeros(3, dtype=torch.int64)


def make(kind, config):
    torch.manual_seed(0)
    return kind(config, SHAPE).double()


def state_of(model):
    return tuple(part.clone() for part in model.initial_state(3))


def gradients(model, output):
    loss = output.logits.square().sum() + output.q.sum()
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize("mixer", ["attention", "mlp"])
def test_trm_is_its_pseudocode_with_the_gradient_of_the_last_cycle(mixer):
    model = make(TRM, TRMConfig(**SIZE, mixer=mixer, cycles=3, inner_steps=2))
    output = model.segment(state_of(model), INPUTS, IDS, Depth())

    x, net = model.embedding(INPUTS, IDS), model.net
    y, z = state_of(model)
    for cycle in range(3):
        with torch.set_grad_enabled(cycle == 2):
            z = net(z, y + x)
            z = net(z, y + x)
            y = net(y, z)
    torch.testing.assert_close(output.state, (y.detach(), z.detach()), rtol=0, atol=0)
    assert output.net_calls.tolist() == [9, 9, 9]
    expected = gradients(model, model.read((y, z), output.net_calls, {}))
    for name, found in gradients(model, output).items():
        if expected[name] is not None:
            torch.testing.assert_close(found, expected[name])


def test_depth_overrides_trm_loops():
    model = make(TRM, TRMConfig(**SIZE))
    assert model.segment(
        state_of(model), INPUTS, IDS, Depth(cycles=2, inner_steps=4)
    ).net_calls.tolist() == [10, 10, 10]


def test_hrm_is_its_pseudocode_with_the_gradient_of_the_last_two_calls():
    model = make(HRM, HRMConfig(**SIZE, cycles=2, inner_steps=3))
    output = model.segment(state_of(model), INPUTS, IDS, Depth())
    x, low, high = model.embedding(INPUTS, IDS), model.net, model.high
    y, z = state_of(model)
    with torch.no_grad():
        for _ in range(3):
            z = low(z, y + x)
        y = high(y, z)
        for _ in range(2):
            z = low(z, y + x)
    z = low(z, y + x)
    y = high(y, z)
    torch.testing.assert_close(output.state, (y.detach(), z.detach()), rtol=0, atol=0)
    assert output.net_calls.tolist() == [8, 8, 8]
    expected = gradients(model, model.read((y, z), output.net_calls, {}))
    for name, found in gradients(model, output).items():
        if expected[name] is not None:
            torch.testing.assert_close(found, expected[name])


def test_transformer_is_one_pass_whatever_it_carries():
    model = make(Transformer, TransformerConfig(**SIZE))
    first = model.segment(state_of(model), INPUTS, IDS, Depth())
    second = model.segment(first.state, INPUTS, IDS, Depth())
    torch.testing.assert_close(first.logits, second.logits, rtol=0, atol=0)
    y = model.net(state_of(model)[0], model.embedding(INPUTS, IDS))
    torch.testing.assert_close(first.logits, model.heads(y)[0], rtol=0, atol=0)


def attractor(**changes):
    return make(Attractor, AttractorConfig(**SIZE, inner_steps=2, **changes))


def joint_map(model):
    x = model.embedding(INPUTS, IDS)

    def f(y, z):
        z = model.net(z, y + x)
        z = model.net(z, y + x)
        return model.net(y, z), z

    return f


def test_attractor_solves_the_joint_map():
    model = attractor(
        solver={"tolerance": 1e-9, "max_evaluations": 400}, gradient={"kind": "one-step"}
    )
    output = model.segment(state_of(model), INPUTS, IDS, Depth())
    assert output.diagnostics["converged"].all()
    f = joint_map(model)
    for part, image in zip(output.state, f(*output.state), strict=True):
        torch.testing.assert_close(image, part, rtol=0, atol=1e-6)
    mapped = model.map_at(INPUTS, IDS)(state_of(model))
    torch.testing.assert_close(mapped, f(*state_of(model)), rtol=0, atol=0)
    with pytest.raises(ValueError, match="solve_for z"):
        attractor(solve_for="z").map_at(INPUTS, IDS)
    # Solved again from its own solution it stays there, in one evaluation.
    again = model.segment(output.state, INPUTS, IDS, Depth())
    assert again.diagnostics["evaluations"].max() == 1


def test_attractor_with_no_evaluations_is_phantom_steps_from_the_carry():
    model = attractor(gradient={"kind": "phantom", "steps": 2, "damping": 0.5})
    output = model.segment(state_of(model), INPUTS, IDS, Depth(evaluations=0))
    f, w = joint_map(model), state_of(model)
    for _ in range(2):
        w = tuple(0.5 * a + 0.5 * b for a, b in zip(w, f(*w), strict=True))
    torch.testing.assert_close(output.state, tuple(p.detach() for p in w))
    assert output.net_calls.tolist() == [6, 6, 6]
    expected = gradients(model, model.read(w, output.net_calls, {}))
    for name, found in gradients(model, output).items():
        if not name.startswith("initial"):
            torch.testing.assert_close(found, expected[name])


def test_a_segment_returns_the_image_of_the_best_iterate_and_its_residuals():
    model = attractor(
        solver={"kind": "picard", "max_evaluations": 3}, gradient={"kind": "one-step"}
    )
    output = model.segment(state_of(model), INPUTS, IDS, Depth())
    f, w, tried = joint_map(model), state_of(model), []
    for _ in range(3):
        image = tuple(part.detach() for part in f(*w))
        gaps = [
            torch.stack([(b - a).flatten(1).norm(dim=1), a.flatten(1).norm(dim=1)])
            for a, b in zip(w, image, strict=True)
        ]
        joint = torch.stack(gaps).square().sum(0).sqrt()
        tried.append((joint[0] / joint[1], *(gap / size for gap, size in gaps), *image))
        w = image
    for sample in range(3):
        best = min(tried, key=lambda each: each[0][sample])
        diagnostics = output.diagnostics
        names = ("residual", "residual_y", "residual_z")
        found = (*(diagnostics[name] for name in names), *output.state)
        for ours, expected in zip(found, best, strict=True):
            torch.testing.assert_close(ours[sample], expected[sample])


def test_net_calls_count_the_application_that_an_implicit_gradient_is_taken_of():
    model = attractor(solver={"max_evaluations": 3}, gradient={"kind": "one-step"})
    made = []
    model.net.register_forward_hook(lambda *_: made.append(1))
    for graph, calls in ((True, 12), (False, 9)):
        made.clear()
        with torch.set_grad_enabled(graph):
            output = model.segment(state_of(model), INPUTS, IDS, Depth())
        assert output.net_calls.tolist() == [calls] * 3
        assert len(made) == calls


def test_net_calls_count_those_that_undo_reversible_steps():
    settings = {"kind": "reversible", "steps": 2, "damping": 0.5}
    model = attractor(solver={"max_evaluations": 0}, gradient=settings)
    made = []
    model.net.register_forward_hook(lambda *_: made.append(1))
    output = model.segment(state_of(model), INPUTS, IDS, Depth())
    output.logits.sum().backward()
    assert output.net_calls.tolist() == [len(made)] * 3
    made.clear()
    with torch.no_grad():
        output = model.segment(state_of(model), INPUTS, IDS, Depth())
    assert output.net_calls.tolist() == [len(made)] * 3


@pytest.mark.parametrize("kind", ["one-step", "neumann", "adjoint", "unrolled"])
def test_no_segment_leaves_the_state_as_it_was(kind):
    model = attractor(solver={"max_evaluations": 2}, gradient={"kind": kind})
    state = state_of(model)
    for _ in range(6):
        output = model.segment(state, INPUTS, IDS, Depth())
        for before, after in zip(state, output.state, strict=True):
            assert not (before == after).flatten(1).all(1).any()
        state = output.state


def test_solving_for_z_holds_y_and_sweeps():
    model = attractor(
        solve_for="z",
        sweeps=2,
        solver={"tolerance": 1e-9, "max_evaluations": 400},
        gradient={"kind": "one-step"},
    )
    output = model.segment(state_of(model), INPUTS, IDS, Depth())
    x = model.embedding(INPUTS, IDS)
    y, z = state_of(model)
    for _ in range(2):
        for _ in range(400):
            z = model.net(model.net(z, y + x), y + x)
        y = model.net(y, z)
    torch.testing.assert_close(output.state[0], y.detach(), rtol=0, atol=1e-6)
    assert set(output.diagnostics) == {"evaluations", "converged", "residual", "residual_z"}
    with torch.no_grad():
        output = model.segment(state_of(model), INPUTS, IDS, Depth())
    # Of both sweeps: every evaluation is two calls, and each sweep ends with one for y.
    assert torch.equal(output.net_calls, 2 * output.diagnostics["evaluations"] + 2)


@pytest.mark.parametrize(
    "kind", ["phantom", "reversible", "one-step", "neumann", "adjoint", "unrolled"]
)
def test_every_gradient_reaches_every_weight_of_the_net(kind):
    model = attractor(gradient={"kind": kind, "damping": 0.5}, solver={"max_evaluations": 4})
    found = gradients(model, model.segment(state_of(model), INPUTS, IDS, Depth()))
    for name, gradient in found.items():
        if name.startswith(("net", "embedding.tokens", "heads")):
            assert gradient is not None, name
            assert gradient.abs().sum() > 0, name


def test_adjoint_gradient_equals_finite_differences_of_the_solved_segment():
    model = attractor(
        solver={"tolerance": 1e-12, "max_evaluations": 600},
        gradient={"kind": "adjoint", "tolerance": 1e-10, "max_evaluations": 400},
    )
    weight = model.net.layers[0].mlp.down_proj.weight
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(3)).double()

    # From the solution on: an untrained map has several fixed points, and the way to one from
    # afar may end in another once a weight has moved.
    solved = model.segment(state_of(model), INPUTS, IDS, Depth()).state

    def loss():
        output = model.segment(solved, INPUTS, IDS, Depth())
        assert output.diagnostics["converged"].all()
        return output.logits.square().sum()

    (found,) = torch.autograd.grad(loss(), weight)
    values = []
    for h in (1e-4, -1e-4):
        with torch.no_grad():
            weight += h * direction
            values.append(loss().item())
            weight -= h * direction
    slope = (values[0] - values[1]) / 2e-4
    assert (found * direction).sum().item() == pytest.approx(slope, rel=1e-4)


def test_a_learned_start_is_left_alone_by_implicit_gradients_and_moved_by_unrolling():
    for kind, moves in (("phantom", False), ("adjoint", False), ("unrolled", True)):
        model = attractor(gradient={"kind": kind}, solver={"max_evaluations": 3})
        output = model.segment(model.initial_state(3), INPUTS, IDS, Depth())
        gradient = gradients(model, output)["initial_z"]
        assert (gradient is not None and gradient.abs().sum() > 0) == moves, kind


PUBLISHED = {
    ("trm-7m", "sudoku"): 6_828_034,
    ("trm-7m", "maze"): 6_822_914,
    ("trm-mlp-7m", "sudoku"): 5_028_866,
    ("trm-27m", "sudoku"): 27_275_266,
    ("trm-27m", "maze"): 27_270_146,
    ("transformer-27m", "sudoku"): 27_275_266,
    ("hrm-27m", "sudoku"): 27_275_266,
    ("hrm-27m", "maze"): 27_270_146,
    ("attractor-7m", "sudoku"): 6_828_034,
    ("attractor-27m", "sudoku"): 27_275_266,
}
GRIDS = {"sudoku": GridShape(81, 11), "maze": GridShape(900, 6)}


@pytest.mark.parametrize(("name", "puzzle"), sorted(PUBLISHED))
def test_presets_have_the_published_number_of_parameters(name, puzzle):
    with torch.device("meta"):
        model = build_model(preset(name, puzzle), GRIDS[puzzle])
    assert parameter_count(model) == PUBLISHED[name, puzzle]


@pytest.mark.parametrize("name", ["attractor-7m", "trm-7m", "trm-mlp-7m", "transformer-7m"])
def test_published_sizes_run_a_segment_with_gradients(name):
    model = build_model(preset(name), SHAPE)
    output = model.segment(model.initial_state(1), INPUTS[:1], IDS[:1], Depth())
    assert output.logits.isfinite().all()
    found = gradients(model, output)
    assert all(g is None or g.isfinite().all() for g in found.values())
    assert found["net.layers.1.mlp.down_proj.weight"].abs().sum() > 0
