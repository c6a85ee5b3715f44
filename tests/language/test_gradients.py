"""The gradients of a language model's solution against plain autograd, in float64."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from reasoning.fixed_point import Picard, Unrolled
from reasoning.pretraining.protocol import SolveBudget
from reasoning.solver_config import GradientConfig, SolverConfig
from scripts.models.lm_presets import language_preset

TIGHT = SolverConfig(tolerance=1e-12, max_evaluations=99)
ADJOINT = {"kind": "adjoint", "tolerance": 1e-11, "max_evaluations": 99}

SCALE = {"attractor": 10.0, "deq": 2.0}  # J of norm about 0.2


def build(make, gradient, kind="attractor", **settings):
    settings = {"solver": TIGHT, "gradient": GradientConfig(**gradient)} | settings
    return make(kind, scale=SCALE[kind], **settings).double()


def loss_of(logits, tokens):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


def gradients(model, loss):
    """Of every parameter, as one vector."""
    found = torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)
    return torch.cat([g.flatten() for g in found])


def ours(model, tokens):
    return gradients(model, loss_of(model(tokens).logits, tokens))


def parts(model, tokens):
    """Injected c, with its graph, and the map, by the model's own blocks."""
    _, given = model.begin(tokens, None, None)
    c = given.run(getattr(model, "backbone", []), model.embedding(tokens))
    stack = model.head if hasattr(model, "head") else model.stack
    return c, lambda y: stack.image(y, c, given)


def solution_gradient(model, tokens, u_of_v, iterations=60):
    """The loss's gradient where y* receives u_of_v(v, J^T) in place of v, by plain iteration and
    autograd: d/dy f at y* carries u to c and to the weights."""
    c, f = parts(model, tokens)
    with torch.no_grad():
        y = c
        for _ in range(iterations):
            y = f(y)
        assert (f(y) - y).norm() < 1e-12 * y.norm()
    y = y.requires_grad_()
    matrix = None if getattr(model, "unembedding", None) is None else model.unembedding.weight
    loss = loss_of(model.logits(y, matrix), tokens)
    (v,) = torch.autograd.grad(loss, y, retain_graph=True)
    image = f(y)
    u = u_of_v(v, lambda w: torch.autograd.grad(image, y, w, retain_graph=True)[0])
    return gradients(model, loss) + gradients(model, (image * u.detach()).sum())


def neumann(terms):
    def total(v, vjp):
        u = v
        for _ in range(terms):
            u = v + vjp(u)
        return u

    return total


def error(got, expected):
    return float((got - expected).norm() / expected.norm())


@pytest.fixture(scope="module")
def short(tokens):
    return tokens[:, :10]


@pytest.mark.parametrize("kind", ["attractor", "deq"])
@pytest.mark.parametrize(
    ("gradient", "terms"),
    [
        ({"kind": "one-step"}, 0),
        ({"kind": "neumann", "terms": 1}, 1),
        ({"kind": "neumann", "terms": 4}, 4),
        (ADJOINT, 60),
        (ADJOINT | {"solver": "picard"}, 60),
        (ADJOINT | {"clip": 1e3}, 60),
    ],
    ids=["one-step", "neumann 1", "neumann 4", "anderson", "picard", "loose clip"],
)
def test_implicit_gradients_are_their_series(make, short, kind, gradient, terms):
    model = build(make, gradient, kind)
    expected = solution_gradient(model, short, neumann(terms))
    assert error(ours(model, short), expected) < 1e-9


@pytest.mark.parametrize("injection", ["additive", "concatenation"])
def test_adjoint_and_unrolled_are_autograd_through_the_iterations(make, short, injection):
    model = build(make, ADJOINT, injection=injection)
    c, f = parts(model, short)
    y = c
    for _ in range(60):
        y = f(y)
    unrolled = gradients(model, loss_of(model.logits(y), short))
    assert error(ours(model, short), unrolled) < 1e-9
    through = build(make, {"kind": "unrolled"}, injection=injection)
    assert error(ours(through, short), unrolled) < 1e-9


def test_truncated_gradients_err_by_powers_of_the_jacobian(make, short):
    """Published on a small contractive model: 7.3 % for u = v, 0.6 % for u = v + J^T v."""
    exact = ours(build(make, ADJOINT), short)
    errors = [
        error(ours(build(make, gradient), short), exact)
        for gradient in ({"kind": "one-step"}, {"kind": "neumann", "terms": 1})
    ]
    assert 0.03 < errors[0] < 0.3
    assert 0.1 * errors[0] ** 2 < errors[1] < 2 * errors[0] ** 2


def test_phantom_is_autograd_through_damped_steps_from_the_solution(make, short):
    model = build(make, {"kind": "phantom", "steps": 3, "damping": 0.7})
    c, f = parts(model, short)
    with torch.no_grad():
        w = c
        for _ in range(60):
            w = f(w)
    for _ in range(3):
        w = 0.3 * w + 0.7 * f(w)
    expected = gradients(model, loss_of(model.logits(w), short))
    assert error(ours(model, short), expected) < 1e-9


@pytest.mark.parametrize("checkpoint", [False, True])
def test_reversible_is_autograd_through_its_steps_from_the_solution(make, short, checkpoint):
    gradient = {"kind": "reversible", "steps": 3, "damping": 0.5}
    model = build(make, gradient, checkpoint=checkpoint)
    c, f = parts(model, short)
    with torch.no_grad():
        w = c
        for _ in range(60):
            w = f(w)
    a = b = w
    for _ in range(3):
        a = 0.5 * a + 0.5 * f(b)
        b = 0.5 * b + 0.5 * f(a)
    expected = gradients(model, loss_of(model.logits(b), short))
    assert error(ours(model, short), expected) < 1e-9


def test_clip_bounds_the_adjoint_of_every_sequence(make, short):
    """|u| <= clip |v|, whichever way u is formed."""

    def clipped(terms, clip):
        def u_of_v(v, vjp):
            u = neumann(terms)(v, vjp)
            size, most = (t.flatten(1).norm(dim=1)[:, None, None] for t in (u, clip * v))
            return u * (most / size).clamp(max=1)

        return u_of_v

    for gradient, terms, clip in (
        ({"kind": "one-step"}, 0, 0.5),
        ({"kind": "neumann", "terms": 2}, 2, 1.02),
        (ADJOINT, 60, 1.02),
    ):
        model = build(make, gradient | {"clip": clip})
        expected = solution_gradient(model, short, clipped(terms, clip))
        free = solution_gradient(model, short, neumann(terms))
        assert error(ours(model, short), expected) < 1e-9
        assert error(free, expected) > 1e-3


def test_an_adjoint_solve_of_more_than_its_most_is_refused():
    with pytest.raises(ValidationError, match="min_evaluations 50 is more than"):
        GradientConfig(kind="adjoint", min_evaluations=50, max_evaluations=10)


def test_the_adjoint_solve_mixes_as_it_is_told_and_at_770m_as_the_forward_solve():
    settings = language_preset("attractor-770m").model
    assert (settings.solver.mixing, settings.gradient.mixing) == (0.96, 0.96)  # table 8
    assert settings.gradient.build().solver.mixing == 0.96
    picard = GradientConfig(kind="adjoint", solver="picard", mixing=0.5).build().solver
    assert isinstance(picard, Picard)  # which has none


@pytest.mark.parametrize("kind", ["phantom", "unrolled"])
def test_a_clip_without_an_adjoint_is_refused(kind):
    with pytest.raises(ValidationError, match="clip"):
        GradientConfig(kind=kind, clip=2.0)


@pytest.mark.parametrize("gradient", [{"kind": "one-step"}, ADJOINT], ids=["one-step", "adjoint"])
def test_a_frozen_head_trains_the_backbone_through_it(make, short, gradient):
    trained, frozen = build(make, gradient), build(make, gradient, head="frozen")
    loss_of(trained(short).logits, short).backward()
    loss_of(frozen(short).logits, short).backward()
    free = dict(trained.named_parameters())
    for name, parameter in frozen.named_parameters():
        if name.startswith("head."):
            assert parameter.grad is None
        else:
            torch.testing.assert_close(parameter.grad, free[name].grad)
            assert parameter.grad.any()


def test_the_head_absent_is_the_trained_model_without_evaluations(make, short):
    whole, alone = make("attractor"), make("attractor", head="absent")
    alone.load_state_dict({k: v for k, v in whole.state_dict().items() if "head." not in k})
    assert torch.equal(alone(short).logits, whole(short, SolveBudget(0)).logits)
    loss_of(whole(short, SolveBudget(0)).logits, short).backward()
    assert all((p.grad is None) == n.startswith("head.") for n, p in whole.named_parameters())


@pytest.mark.parametrize("kind", ["attractor", "deq", "parcae", "transformer"])
def test_checkpointing_and_autocast_lose_no_gradient(make, short, kind):
    """Recomputed blocks give the same gradients; in bf16 every parameter still gets one, though
    the solver has cast the same weights without a graph before."""
    settings = {"gradient": GradientConfig(**ADJOINT)} if kind in ("attractor", "deq") else {}
    seeds = torch.tensor([1, 2, 3])
    found = []
    for checkpoint in (False, True):
        model = make(kind, SCALE.get(kind, 1.0), checkpoint=checkpoint, **settings).double()
        loss = loss_of(model(short, seeds=seeds).logits, short)
        found.append(gradients(model, loss))
    assert error(found[1], found[0]) < 1e-12
    for gradient in ("one-step", "adjoint", "reversible"):
        if settings:
            settings = {"gradient": GradientConfig(kind=gradient, damping=0.5)}
        narrow = make(kind, SCALE.get(kind, 1.0), checkpoint=True, **settings)
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(narrow(short, seeds=seeds).logits, short)
        loss.backward()
        assert all(p.grad is not None and p.grad.any() for p in narrow.parameters())


def saved_bytes(model, tokens, budget):
    """Bytes of activations kept for the backward pass; weights do not count."""
    own = {p.data_ptr() for p in model.parameters()}
    kept = {}

    def keep(tensor):
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(tokens, budget)  # alive, so that no address is used twice
    assert output.logits.requires_grad
    return sum(kept.values())


def test_training_memory_is_flat_in_the_evaluations_but_for_unrolled(make, tokens):
    used = {}
    for kind in ("one-step", "adjoint", "phantom", "reversible", "unrolled"):
        solver = SolverConfig(tolerance=1e-30, max_evaluations=32)
        gradient = GradientConfig(kind=kind, damping=0.5)
        model = make("attractor", solver=solver, gradient=gradient)
        used[kind] = [saved_bytes(model, tokens, SolveBudget(t)) for t in (2, 16)]
    for kind in ("one-step", "adjoint", "phantom", "reversible"):
        assert used[kind][1] == used[kind][0]
    assert used["reversible"][0] < used["one-step"][0]  # of no evaluation is anything kept
    assert used["unrolled"][1] > 4 * used["unrolled"][0]
    parcae = make("parcae")
    flat = [saved_bytes(parcae, tokens, SolveBudget(t)) for t in (2, 4, 16)]
    assert flat[0] < flat[1] == flat[2]


def test_recomputed_blocks_keep_no_activations_of_a_single_head_layer_either(make):
    """Through every iteration, where a head of one layer may leave tokens out elsewhere."""
    tokens = torch.randint(0, 50, (4, 64), generator=torch.Generator().manual_seed(0))
    solver = SolverConfig(tolerance=1e-30, max_evaluations=8)
    settings = {"solver": solver, "gradient": GradientConfig(kind="unrolled"), "head_layers": 1}
    whole, recomputed = (
        saved_bytes(make("attractor", checkpoint=c, **settings), tokens, SolveBudget(8))
        for c in (False, True)
    )
    assert recomputed < whole / 3


@dataclass(frozen=True)
class Turned(Unrolled):
    """Its value is the solver's with its sign turned."""

    def attach(self, f, found):
        return tuple(-part for part in super().attach(f, found))


def test_a_gradient_through_the_solver_attaches_its_own_value(make, short, monkeypatch):
    """As `fixed_point.solve` has it, where a model once took the solver's value as it was."""
    solver = SolverConfig(tolerance=1e-30, max_evaluations=3)
    model = make("attractor", solver=solver, gradient=GradientConfig(kind="unrolled")).double()
    plain = model(short).logits
    monkeypatch.setattr(GradientConfig, "build", lambda self, early_exit=None: Turned())
    torch.testing.assert_close(model(short).logits, -plain)
