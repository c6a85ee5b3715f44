"""What a token's logits may depend on: the tokens before it. Bit for bit."""

import pytest
import torch

from reasoning.fixed_point import Anderson, solve
from reasoning.pretraining.protocol import SolveBudget
from reasoning.solver_config import SolverConfig

PICARD = SolverConfig(kind="picard", tolerance=3e-4, max_evaluations=20, damping=0.8)
MODELS = [
    ("transformer", {}),
    ("transformer", {"value_embeddings": False}),
    ("transformer", {"loops": 3}),
    ("parcae", {}),
    ("attractor", {}),
    ("attractor", {"solver": PICARD}),
    ("attractor", {"solver": SolverConfig(tolerance=1e-2, max_evaluations=30), "head_layers": 1}),
    ("attractor", {"injection": "concatenation", "start": "zero"}),
    ("attractor", {"injection": "initial"}),
    ("attractor", {"start": "gaussian"}),
    ("deq", {}),
    ("deq", {"tied": True, "solver": PICARD}),
]
NAMES = [f"{kind}{'-'.join(['', *settings])}" for kind, settings in MODELS]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("kind", "settings"), MODELS, ids=NAMES)
def test_a_changed_token_leaves_earlier_logits_and_other_sequences_bit_equal(
    make, tokens, kind, settings, precision
):
    model = make(kind, scale=0.5, **settings)
    budgets = [None, 1, 3] if kind != "transformer" else [None]
    bf16 = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    for most in budgets:
        with torch.no_grad(), bf16:
            before = model(tokens, SolveBudget(most))
            for t in (1, 11, 23):
                changed = tokens.clone()
                changed[0, t] = (changed[0, t] + 1) % 50
                after = model(changed, SolveBudget(most))
                for name in before.diagnostics:
                    a, b = before.diagnostics[name], after.diagnostics[name]
                    assert torch.equal(a[0, :t], b[0, :t])
                    assert torch.equal(a[1:], b[1:])
                assert torch.equal(before.logits[0, :t], after.logits[0, :t])
                assert torch.equal(before.logits[1:], after.logits[1:])
                assert not torch.equal(before.logits[0, t], after.logits[0, t])
        assert before.logits.dtype == torch.float32


@pytest.mark.parametrize(("kind", "settings"), MODELS, ids=NAMES)
def test_training_passes_are_causal_and_apart_too(make, tokens, kind, settings):
    """With seeds, and through a backward pass: no later token, no batch-mate, no gradient."""
    model = make(kind, **settings)
    seeds = torch.tensor([5, 17, 3])
    logits = model(tokens, seeds=seeds).logits
    # The mates change seed and text; sequence 1 does not move.
    others = tokens.flip(1)
    others[1] = tokens[1]
    mixed = model(others, seeds=torch.tensor([9, 17, 4])).logits
    assert torch.equal(logits[1], mixed[1])
    changed = tokens.clone()
    changed[:, 11] = (changed[:, 11] + 1) % 50
    assert torch.equal(model(changed, seeds=seeds).logits[:, :11], logits[:, :11])


@pytest.mark.parametrize(("kind", "settings"), MODELS, ids=NAMES)
def test_a_sequence_alone_says_what_it_says_in_company(make, tokens, kind, settings):
    """Only matmuls' rounding may differ between batch sizes."""
    model = make(kind, **settings).double()
    with torch.no_grad():
        together, alone = model(tokens), model(tokens[1:2])
    torch.testing.assert_close(alone.logits, together.logits[1:2], rtol=0, atol=1e-11)
    for name in together.diagnostics:
        if name != "residual":
            torch.testing.assert_close(
                alone.diagnostics[name], together.diagnostics[name][1:2], rtol=0, atol=1e-11
            )


def test_mixing_over_whole_sequences_would_leak(make, tokens):
    """The same map and solver with sequences for samples: later tokens reach earlier states."""
    model = make("attractor", scale=0.5)
    changed = tokens.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 50

    def states(ids, evaluations):
        f, c, _ = model.fixed_point(ids)
        with torch.no_grad():
            return solve(f, c, Anderson(1e-6, evaluations)).value[:, :-1]

    leaks = [float((states(tokens, t) - states(changed, t)).abs().max()) for t in (3, 5)]
    assert min(leaks) > 1e-5
    ours = [model.fixed_point(ids, SolveBudget(5))[2][:, :-1] for ids in (tokens, changed)]
    assert torch.equal(*ours)


def test_random_starts_follow_the_seed_of_the_sequence_and_the_position(make, tokens):
    same = tokens[:1].expand(3, -1)
    for kind, settings in (("parcae", {}), ("attractor", {"start": "gaussian"})):
        model, once = make(kind, **settings), SolveBudget(1)
        with torch.no_grad():
            fixed, drawn = model(same, once), model(same, once, seeds=torch.tensor([1, 2, 1]))
        assert torch.equal(fixed.logits[0], fixed.logits[1])
        torch.testing.assert_close(drawn.logits[0], drawn.logits[2], rtol=0, atol=1e-5)
        for other in (drawn.logits[1], fixed.logits[0]):
            assert (drawn.logits[0] - other).abs().max() > 1e-3
