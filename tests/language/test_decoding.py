"""Decoding piece by piece against one forward pass over the whole sequence."""

import pytest
import torch

from reasoning.errors import InputError
from reasoning.pretraining.generation import Sampling, generate
from reasoning.pretraining.protocol import SolveBudget
from reasoning.solver_config import GradientConfig, SolverConfig

# Tokens stop at different evaluations: from 2 to 8 of them.
LOOSE = SolverConfig(tolerance=3e-3, max_evaluations=30)
MODELS = [
    ("transformer", {}),
    ("transformer", {"loops": 3}),
    ("parcae", {}),
    ("attractor", {"solver": LOOSE}),
    ("attractor", {"solver": LOOSE, "head_layers": 1}),
    ("attractor", {"solver": LOOSE, "injection": "concatenation", "start": "gaussian"}),
    ("attractor", {"solver": LOOSE, "gradient": GradientConfig(kind="phantom")}),
    ("attractor", {"head": "absent"}),
    ("deq", {"solver": LOOSE}),
]
NAMES = [f"{kind}{'-'.join(['', *settings])}" for kind, settings in MODELS]


@torch.no_grad()
def decode(model, tokens, budget, kind="trajectory", pieces=(7, 1, 11, *[1] * 5)):
    cache, place, outputs = model.new_cache(kind), 0, []
    for length in pieces:
        outputs.append(model(tokens[:, place : place + length], budget, cache=cache))
        place += length
    assert place == tokens.shape[1] == cache.length
    names = outputs[0].diagnostics
    return (
        torch.cat([output.logits for output in outputs], 1),
        {name: torch.cat([o.diagnostics[name] for o in outputs], 1) for name in names},
        cache,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fp32", "fp64"])
@pytest.mark.parametrize(("kind", "settings"), MODELS, ids=NAMES)
def test_a_trajectory_cache_equals_the_uncached_pass(make, tokens, kind, settings, dtype):
    """At every budget, where tokens stop at their own evaluations and where none converges."""
    model = make(kind, scale=0.5, **settings).to(dtype)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    for most in [None, 0, 1, 4]:
        with torch.no_grad():
            whole = model(tokens, SolveBudget(most))
        logits, diagnostics, _ = decode(model, tokens, SolveBudget(most))
        torch.testing.assert_close(logits, whole.logits, rtol=0, atol=tolerance)
        for name in diagnostics.keys() & {"evaluations", "converged", "proposal_norm"}:
            torch.testing.assert_close(diagnostics[name], whole.diagnostics[name])
        if most is None and "solver" in settings:
            assert len(whole.diagnostics["evaluations"].unique()) > 2


@pytest.mark.parametrize("kind", ["attractor", "deq"])
def test_a_solution_cache_agrees_where_the_prefix_converged(make, tokens, kind):
    """And not before: one set of keys and values, whatever the tolerance."""
    error = {}
    for tolerance in (1e-1, 1e-4, 1e-11):
        solver = SolverConfig(tolerance=tolerance, max_evaluations=200)
        model = make(kind, scale=3, solver=solver).double()
        with torch.no_grad():
            whole = model(tokens).logits
        pieces = (7, 1, 4, 11, 1)
        logits, _, cache = decode(model, tokens, SolveBudget(), "solution", pieces)
        error[tolerance] = float((logits - whole).abs().max())
        assert len(cache.loop.levels) == 1
    assert error[1e-11] < 1e-10 < error[1e-4] < 1e-2
    assert error[1e-1] > 1e-5


def test_a_new_token_costs_its_own_position_alone(make, tokens):
    model = make("attractor", scale=0.5, solver=LOOSE)
    seen = []
    for block in model.blocks():
        block.register_forward_hook(lambda block, given, x: seen.append(given[0].shape[1]))
    for kind in ("trajectory", "solution"):
        cache = model.new_cache(kind)
        with torch.no_grad():
            model(tokens[:, :20], cache=cache)
            seen.clear()
            found = model(tokens[:, 20:21], cache=cache)
        assert set(seen) == {1}
        heads = (len(seen) - 1) // 2  # one backbone block, two in the head
        most = int(found.diagnostics["evaluations"].max())
        assert heads == (most + 1 if kind == "solution" else max(len(cache.loop.levels), most + 1))


def test_a_cache_keeps_to_one_budget_and_the_context(make, tokens):
    model = make("attractor")
    cache = model.new_cache()
    with torch.no_grad():
        model(tokens, SolveBudget(3), cache=cache)
        with pytest.raises(ValueError, match="budget"):
            model(tokens[:, :1], SolveBudget(4), cache=cache)
        model(tokens, SolveBudget(3), cache=cache)
        with pytest.raises(ValueError, match="context of 64"):
            model(tokens, SolveBudget(3), cache=cache)
    with pytest.raises(ValueError, match="context of 64"):
        model(torch.zeros(1, 65, dtype=torch.int64))
    with pytest.raises(ValueError, match="trajectory"):
        model.new_cache("both")


@pytest.mark.parametrize(
    ("kind", "cache"),
    [
        ("transformer", "trajectory"),
        ("parcae", "trajectory"),
        ("attractor", "trajectory"),
        ("attractor", "solution"),
    ],
)
def test_greedy_generation_is_the_argmax_of_the_uncached_model(make, tokens, kind, cache):
    tight = {"scale": 10, "solver": SolverConfig(tolerance=1e-8, max_evaluations=99)}
    model = make(kind, **(tight if kind == "attractor" else {})).double()
    prompt = tokens[:, :5]
    for step in generate(model, prompt, 6, Sampling(temperature=0), cache=cache):
        with torch.no_grad():
            output = model(prompt)
        assert torch.equal(step.ids, output.logits[:, -1].argmax(-1))
        if kind == "transformer":
            assert step.evaluations is None
        elif cache == "trajectory":
            assert torch.equal(step.evaluations, output.diagnostics["evaluations"][:, -1])
        if kind != "attractor":
            assert step.converged is None
        elif cache == "trajectory":
            assert torch.equal(step.converged, output.diagnostics["converged"][:, -1])
        prompt = torch.cat((prompt, step.ids[:, None]), 1)
    assert prompt.shape == (3, 11)


def test_budgets_reach_generation(make, tokens):
    model = make("attractor")
    for most in (0, 2):
        steps = generate(model, tokens[:, :5], 3, budget=SolveBudget(most))
        assert [step.evaluations.tolist() for step in steps] == [[most] * 3] * 3


def test_sampling_follows_the_softmax_of_the_kept_logits():
    """Frequencies of 4000 draws against the distribution, within 5 deviations."""
    logits = torch.tensor([[2.0, -1.0, 0.5, 1.0, 2.5]]).expand(4000, -1)
    for sampling, kept in (
        (Sampling(0.7, None, 3), [0, 1, 2, 3, 4]),
        (Sampling(1.3, 3, 4), [0, 3, 4]),
        (Sampling(1e-3, None, 5), [4]),
    ):
        generators = [torch.Generator().manual_seed(i) for i in range(4000)]
        counts = sampling.choose(logits, generators).bincount(minlength=5) / 4000
        expected = torch.zeros(5)
        expected[kept] = (logits[0, kept] / sampling.temperature).softmax(0)
        assert ((counts - expected).abs() <= 5 * (expected * (1 - expected) / 4000).sqrt()).all()


def test_draws_are_seeded_per_sequence(make, tokens):
    model, prompt = make("transformer"), tokens[:, :5]

    def said(rows, seed):
        steps = generate(model, prompt[rows], 12, Sampling(1.0, 20, seed))
        return torch.stack([step.ids for step in steps], 1)

    together = said([0, 1, 2], 7)
    assert torch.equal(together, said([0, 1, 2], 7))
    assert torch.equal(together[1:2], said([1], 8))
    assert not torch.equal(together, said([0, 1, 2], 70))


@pytest.mark.parametrize(
    ("make_settings", "name"),
    [
        (lambda: Sampling(temperature=-0.1), "temperature"),
        (lambda: Sampling(temperature=float("nan")), "temperature"),
        (lambda: Sampling(top_k=0), "top_k"),
        (lambda: Sampling(seed=-1), "seed"),
        (lambda: Sampling().choose(torch.tensor([[0.0, torch.nan]]), []), "not finite"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make_settings, name):
    with pytest.raises(ValueError, match=name):
        make_settings()


def test_generation_refuses_before_it_starts(make, tokens):
    model = make("transformer")
    with pytest.raises(ValueError, match="at most 41"):
        generate(model, tokens, 42)
    assert len(list(generate(model, tokens[:1], 41))) == 41  # the last is not read
    with pytest.raises(ValueError, match="empty"):
        generate(model, tokens[:, :0], 3)


def test_a_model_without_a_cache_is_told_that_it_generates_nothing(make, tokens, monkeypatch):
    model = make("transformer")

    def none(kind):
        raise NotImplementedError

    monkeypatch.setattr(model, "new_cache", none)
    with pytest.raises(InputError, match="GPT: has no cache, without which it generates nothing"):
        generate(model, tokens, 3)
