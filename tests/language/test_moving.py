"""Tokens at rest are not evaluated: the others' numbers, and theirs, stay what they were."""

import pytest
import torch

from reasoning.nn.equilibrium import EquilibriumStack
from reasoning.nn.moving import Moving, filled_up
from reasoning.pretraining.protocol import SolveBudget
from reasoning.solver_config import SolverConfig

# Tokens stop at different evaluations.
LOOSE = SolverConfig(tolerance=3e-3, max_evaluations=30)
PICARD = SolverConfig(kind="picard", tolerance=3e-3, max_evaluations=30, damping=0.8)
SETTINGS = [
    {},
    {"solver": PICARD},
    {"injection": "concatenation", "start": "zero"},
    {"start": "gaussian"},
]


@pytest.fixture(scope="module")
def text():
    """(5, 48) token ids."""
    return torch.randint(0, 50, (5, 48), generator=torch.Generator().manual_seed(2))


def build(make, **settings):
    return make("attractor", scale=0.5, head_layers=1, **({"solver": LOOSE} | settings))


def whole_sequences(monkeypatch):
    monkeypatch.setattr(EquilibriumStack, "_restricts", False)


def counted(model):
    rows = []
    model.head.blocks[0].mlp.register_forward_pre_hook(
        lambda _, given: rows.append(given[0].shape[:-1].numel())
    )
    return rows


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_numbers_are_those_of_whole_sequences(make, text, settings, precision, monkeypatch):
    model = build(make, **settings)
    bf16 = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    rows = counted(model)
    with torch.no_grad(), bf16:
        found, few = model(text), sum(rows)
        whole_sequences(monkeypatch)
        whole = model(text)
    assert few < 0.9 * (sum(rows) - few)
    loose = {"rtol": 1e-2, "atol": 1e-2} if precision == "bf16" else {}
    torch.testing.assert_close(found.logits, whole.logits, **loose)
    if precision == "fp32":
        for name, value in whole.diagnostics.items():
            torch.testing.assert_close(found.diagnostics[name], value, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_every_sequence_is_solved_as_alone(make, text, settings):
    model = build(make, **settings).double()
    rows = counted(model)
    with torch.no_grad():
        together, few = model(text), sum(rows)
        for b in range(len(text)):
            alone = model(text[[b]])  # fewer than 64 tokens: evaluated whole
            torch.testing.assert_close(alone.logits[0], together.logits[b])
            for name, value in together.diagnostics.items():
                torch.testing.assert_close(alone.diagnostics[name][0], value[b])
    evaluations = together.diagnostics["evaluations"]
    assert few < int(evaluations.max()) * text.numel()
    assert few >= int(evaluations.sum())


def test_training_is_that_of_whole_sequences(make, text, monkeypatch):
    model = build(make).double()
    rows, made = counted(model), []
    for _ in range(2):
        model.zero_grad()
        model(text, seeds=torch.arange(5)).logits.logsumexp(-1).sum().backward()
        made.append([p.grad.clone() for p in model.parameters()])
        few = made[1:] or sum(rows)
        whole_sequences(monkeypatch)
    torch.testing.assert_close(*made)
    assert few


@pytest.mark.parametrize("kind", ["trajectory", "solution"])
def test_a_cache_holds_what_whole_sequences_leave_in_it(make, text, kind, monkeypatch):
    """Prefill in two parts, the second seen by what rests of the first."""
    model = build(make).double()
    rows, caches = counted(model), []
    for _ in range(2):
        cache = model.new_cache(kind)
        with torch.no_grad():
            first, second = model(text[:, :30], cache=cache), model(text[:, 30:], cache=cache)
        caches.append((cache, first, second, sum(rows)))
        whole_sequences(monkeypatch)
    (moving, *said, few), (whole, *expected, most) = caches
    assert few < most - few
    for a, b in zip(said, expected, strict=True):
        torch.testing.assert_close(a.logits, b.logits)
    assert len(moving.loop.levels) == len(whole.loop.levels)
    for a, b in zip(moving.loop.levels, whole.loop.levels, strict=True):
        torch.testing.assert_close((a[0].keys, a[0].values), (b[0].keys, b[0].values))


def test_a_budget_of_one_evaluation_moves_every_token(make, text):
    model = build(make)
    rows = counted(model)
    with torch.no_grad():
        model(text, SolveBudget(1))
    assert rows == [text.numel()]


def test_moving_tokens_find_their_places():
    shape = (2, 3, 5, 4)  # B, H, S, K
    q, k, v = (torch.randn(shape) for _ in range(3))
    rest = torch.randn(2, *shape)
    assert filled_up(torch.tensor([7, 1, 4]), 5).tolist() == [7, 1, 4, 7, 7]
    places = filled_up(torch.tensor([7, 1, 4]), 100)
    assert places.tolist() == [7, 1, 4] + [7] * 61
    moving = Moving(places, *rest)
    given = (part.transpose(1, 2).flatten(0, 1)[places].transpose(0, 1)[None] for part in (q, k, v))
    made = moving.among_all(*given)
    for part, own, old in zip(made, (q, k, v), (torch.zeros(shape), *rest), strict=True):
        expected = old.clone()
        for b, s in ((1, 2), (0, 1), (0, 4)):
            expected[b, :, s] = own[b, :, s]
        assert torch.equal(part, expected)
