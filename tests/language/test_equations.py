"""Every model against a straight-line transcription of its equations, in float64."""

import math

import pytest
import torch
import torch.nn.functional as F

from reasoning.pretraining.protocol import SolveBudget
from reasoning.solver_config import SolverConfig
from scripts.models.lm_models import build_language_model, language_model_config


def rms(x, weight=1.0):
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight


def rotate(x, positions):
    """Channel pairs (k, k + K/2) turned by position x 50000^(-2k/K), as complex numbers."""
    half = x.shape[-1] // 2
    angle = torch.outer(positions, 50_000.0 ** (-torch.arange(half).double() / half))
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(
        torch.ones_like(angle), angle
    )
    return torch.cat((turned.real, turned.imag), -1)


def attend(a, x, rows):
    length, heads = x.shape[1], a.heads
    q, k, v = (F.linear(x, p.weight).unflatten(-1, (heads, -1)) for p in (a.query, a.key, a.value))
    if rows is not None:
        gate = 2 / (1 + torch.exp(-x[..., :32] @ a.lookup_gate.weight.T))
        v = v + gate[..., None] * rows.unflatten(-1, (heads, -1))
    out = torch.zeros_like(v)
    for h in range(heads):
        place = torch.arange(length).double()
        qh, kh = (rms(rotate(part[:, :, h], place)) for part in (q, k))
        scores = qh @ kh.mT / math.sqrt(qh.shape[-1])
        scores = scores.masked_fill(~torch.ones(length, length).tril().bool(), -torch.inf)
        out[:, :, h] = scores.softmax(-1) @ v[:, :, h]
    return out.flatten(2) @ a.output.weight.T


def block(b, x, rows=None):
    gates = [1.0, 1.0]
    if b.gate is not None:
        gates = [b.gate.maximum / (1 + torch.exp(-g)) for g in (b.attention_gate, b.mlp_gate)]
    x = x + gates[0] * attend(b.attention, rms(x, b.attention_norm.weight), rows)
    inner = rms(x, b.mlp_norm.weight) @ b.mlp.up.weight.T
    return x + gates[1] * (0.5 * inner.clamp(min=0) ** 2 @ b.mlp.down.weight.T)


def readout(model, x, matrix=None):
    return rms(x, model.norm.weight) @ (model.embedding.weight if matrix is None else matrix).T


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-6)  # rotary tables are fp32


@pytest.fixture(scope="module")
def exact(make):
    return lambda kind, **settings: make(kind, **settings).double()


@pytest.mark.parametrize(("layers", "looked_up"), [(3, [0, 2]), (2, [1])])
def test_the_transformer_looks_values_up_on_every_second_layer_from_the_last(
    exact, tokens, layers, looked_up
):
    model = exact("transformer", layers=layers)
    x = model.embedding.weight[tokens]
    for i, b in enumerate(model.stack):
        table = model.lookups.tables[str(i)].weight[tokens] if i in looked_up else None
        x = block(b, x, table)
    close(model(tokens).logits, readout(model, x))
    assert list(model.lookups.tables) == [str(i) for i in looked_up]


def test_a_looped_transformer_applies_its_stack_again(exact, tokens):
    """By the same weights; a budget sets how often."""
    model = exact("transformer", layers=2, loops=3)
    states = [model.embedding.weight[tokens]]
    for _ in range(3):
        inner = block(model.stack[0], states[-1])
        table = model.lookups.tables["1"].weight[tokens]
        states.append(block(model.stack[1], inner, table))
    for most in (None, 0, 2):
        output, loops = model(tokens, SolveBudget(most)), 3 if most is None else most
        close(output.logits, readout(model, states[loops]))
        assert torch.equal(output.diagnostics["evaluations"], torch.full_like(tokens, loops))


def test_parcae_is_its_recurrence(exact, tokens):
    """And its gradient is that of the last four steps."""
    model = exact("parcae")
    rows = {i: model.lookups.tables[str(i)].weight[tokens] for i in (1, 3)}
    x = block(model.prelude[0], model.embedding.weight[tokens])
    e = rms(x, model.injected_norm.weight)
    d = torch.log(1 + torch.exp(model.dt))
    a = torch.exp(-d * torch.exp(model.a_log))
    assert (a > 0).all()
    assert (a < 1).all()
    h = parcae_start(model, tokens)
    for step in range(8):
        with torch.set_grad_enabled(step >= 4):
            h = a * h + d * (e @ model.injection.weight.T)
            h = block(model.core[1], block(model.core[0], h, rows[1]))
    x = block(model.coda[0], h @ model.readout.weight.T, rows[3])
    logits, output = readout(model, x), model(tokens)
    close(output.logits, logits)
    assert (output.diagnostics["evaluations"] == 8).all()
    own, expected = (
        torch.autograd.grad(value.square().sum(), list(model.parameters()))
        for value in (output.logits, logits)
    )
    for g, w in zip(own, expected, strict=True):
        torch.testing.assert_close(g, w, rtol=0, atol=1e-5 * float(w.abs().max()))


def parcae_start(model, tokens):
    """h0: what the readout gets where no step is taken."""
    seen = []
    handle = model.readout.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        model(tokens, SolveBudget(0))
    handle.remove()
    (h,) = seen
    assert abs(h.std() / math.sqrt(2 / (5 * h.shape[-1])) - 1) < 0.05
    assert h.abs().max() < 2.3 * math.sqrt(2 / (5 * h.shape[-1]))
    assert torch.equal(h[0], h[2])
    return h


def test_parcae_starts_at_the_published_decay():
    model = build_language_model(language_model_config("parcae-mini"), 50, 0)
    size = F.softplus(model.dt)
    decay = torch.exp(-size * model.a_log.exp())
    torch.testing.assert_close(decay, torch.full_like(size, 0.2**0.5))
    assert torch.equal(model.injection.weight, torch.eye(128))


def test_parcae_draws_its_steps_per_sequence(exact, tokens):
    """Together or alone, a sequence takes its own steps and gets its own gradient."""
    model, seeds = exact("parcae"), torch.arange(40, 43)
    together = model(tokens, seeds=seeds)
    steps = together.diagnostics["evaluations"][:, 0].tolist()
    assert len(set(steps)) > 1
    apart = [
        model(tokens[i : i + 1], SolveBudget(n), seeds=seeds[i : i + 1]).logits
        for i, n in enumerate(steps)
    ]
    torch.testing.assert_close(together.logits, torch.cat(apart), rtol=0, atol=1e-11)
    mine, alone = (
        torch.autograd.grad(logits.square().sum(), list(model.parameters()))
        for logits in (together.logits, torch.cat(apart))
    )
    for g, w in zip(mine, alone, strict=True):
        torch.testing.assert_close(g, w, rtol=0, atol=1e-10 * float(w.abs().max()))
    many = model(tokens[:1, :2].expand(400, 2), seeds=torch.arange(400)).diagnostics["evaluations"]
    assert abs(many[:, 0].double().mean() - 8) < 5 * math.sqrt(8 / 400)
    assert many.min() >= 1


@pytest.mark.parametrize("injection", ["additive", "concatenation", "initial"])
def test_the_attractor_takes_t_steps_of_its_map(exact, tokens, injection):
    """The result is the image of the iterate of least residual."""
    plain = SolverConfig(kind="picard", tolerance=1e-30, max_evaluations=9)
    model = exact("attractor", scale=3, injection=injection, solver=plain)
    if injection == "concatenation":
        with torch.no_grad():
            model.head.mix.weight += 0.02 * torch.randn(
                64, 128, generator=torch.Generator().manual_seed(5)
            )
    c = block(model.backbone[0], model.embedding.weight[tokens])
    y = best = c
    residual = torch.full(tokens.shape, torch.inf)
    for steps in range(4):
        output = model(tokens, SolveBudget(steps))
        found = output.diagnostics
        close(output.logits, readout(model, best))
        assert (found["evaluations"] == steps).all()
        moved = (best - c).norm(dim=-1) / c.norm(dim=-1)
        torch.testing.assert_close(found["residual"].float(), residual, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(found["displacement"], moved, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(found["proposal_norm"], c.norm(dim=-1))

        u = y if injection == "initial" else y + c
        if injection == "concatenation":
            u = torch.cat((y, c), -1) @ model.head.mix.weight.T
        g = block(model.head.blocks[1], block(model.head.blocks[0], u)) - u
        image = g if injection == "initial" else c + g
        now = ((image - y).norm(dim=-1) / y.norm(dim=-1)).float()
        best = torch.where((now < residual)[..., None], image, best)
        residual, y = torch.minimum(now, residual), image


@pytest.mark.parametrize("tied", [False, True])
def test_the_deq_solves_from_zero_and_decodes_with_its_own_matrix(exact, tokens, tied):
    model = exact("deq", tied=tied, solver=SolverConfig(tolerance=1e-10, max_evaluations=99))
    x = model.embedding.weight[tokens]
    z = torch.zeros_like(x)
    for _ in range(60):
        u = z + x
        z = x + block(model.stack.blocks[1], block(model.stack.blocks[0], u)) - u
    output = model(tokens)
    close(output.logits, readout(model, z, None if tied else model.unembedding.weight))
    assert output.diagnostics["converged"].all()
    assert not model(tokens, SolveBudget(0)).logits.any()


@pytest.mark.parametrize("start", ["zero", "gaussian"])
def test_a_unique_solution_does_not_depend_on_the_start(exact, tokens, start):
    tight = SolverConfig(tolerance=1e-10, max_evaluations=99)
    proposal, other = (
        exact("attractor", scale=10, start=s, solver=tight)(tokens) for s in ("proposal", start)
    )
    torch.testing.assert_close(other.logits, proposal.logits, rtol=0, atol=1e-7)
    assert not torch.equal(other.diagnostics["evaluations"], proposal.diagnostics["evaluations"])


def test_budgets_change_the_evaluations_and_the_tolerance(exact, tokens):
    model = exact("attractor", scale=10, solver=SolverConfig(tolerance=1e-3, max_evaluations=50))
    loose = model(tokens, SolveBudget(tolerance=1e-1)).diagnostics
    tight = model(tokens, SolveBudget(tolerance=1e-8)).diagnostics
    assert (loose["evaluations"] < tight["evaluations"]).all()
    assert (tight["residual"] <= 1e-8).all()
    assert tight["converged"].all()
    # A token's residual was measured while earlier ones still moved; jointly it holds as well.
    f, _, y = model.fixed_point(tokens, SolveBudget(tolerance=1e-8))
    with torch.no_grad():
        assert ((f(y) - y).norm(dim=-1) <= 1e-8 * y.norm(dim=-1)).all()
