"""What is added to the cross entropy: against exact Jacobians and formulas, and in training."""

import sys
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent))
from language_standins import (
    CONTEXT,
    VOCABULARY,
    CountingStream,
    TinyLM,
    assert_same_tensors,
    config,
    pretrainer,
    tiny_attractor,
)

from baselines.configs import DEQConfig
from baselines.deq import DEQ
from reasoning.attractor_lm import AttractorLM
from reasoning.errors import InputError
from reasoning.pretraining.config import TermsConfig
from reasoning.pretraining.flops import matmul_rule
from reasoning.pretraining.loop import sequence_seeds
from reasoning.pretraining.passes import NO_CORE
from reasoning.pretraining.protocol import SolveBudget
from reasoning.randomness import fold
from reasoning.training.runs import create_run, read_jsonl
from scripts.models.lm_presets import LanguageRunConfig, language_preset

TOKENS = torch.arange(2 * 5).reshape(2, 5) % VOCABULARY


def attractor(**changes):
    return tiny_attractor("one-step", **changes).double()


def deq():
    torch.manual_seed(0)
    shape = {"width": 16, "head_width": 8, "context": CONTEXT, "layers": 1}
    return DEQ(DEQConfig(**shape), VOCABULARY).double()


def exact_jacobians(model, tokens):
    """(B, S D, S D) of the map at the solution."""
    f, _, y = model.fixed_point(tokens)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        whole = torch.func.jacrev(lambda v: f(v.view_as(y)).flatten(1))(y.flatten(1))
    return torch.stack([whole[i, :, i] for i in range(len(y))])


@pytest.mark.parametrize("made", [attractor, deq])
def test_the_jacobian_term_is_on_average_its_squared_norm_an_element(made):
    model = made()
    exact = exact_jacobians(model, TOKENS)
    want = exact.square().sum((1, 2)) / exact.shape[1]
    term = model(TOKENS).terms["jacobian"]
    drawn = torch.stack([term(torch.tensor([2 * i, 2 * i + 1])) for i in range(400)]).detach()
    error = drawn.std(0) / 400**0.5
    assert ((drawn.mean(0) - want).abs() < 4 * error).all()
    assert (error < 0.1 * want).all()


def test_its_gradient_is_that_of_finite_differences():
    model, seeds = attractor(), torch.tensor([3, 4])
    term = model(TOKENS).terms["jacobian"]
    weight = model.head.blocks[0].mlp.up.weight
    (gradient,) = torch.autograd.grad(term(seeds).sum(), weight)
    for place in ((0, 0), (5, 3), (20, 11)):
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                weight[place] += step
            values.append(float(term(seeds).detach().sum()))
            with torch.no_grad():
                weight[place] -= step
        assert float(gradient[place]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


def test_internalisation_is_the_squared_distance_of_the_proposal_alone():
    model = attractor()
    _, c, y = model.fixed_point(TOKENS)
    want = ((c - y).square().sum(-1) / y.square().sum(-1)).mean(1)
    term = model(TOKENS).terms["internalisation"](torch.zeros(2, dtype=torch.int64))
    torch.testing.assert_close(term.detach(), want, rtol=1e-9, atol=0)
    term.sum().backward()
    assert all(p.grad is None for p in model.head.parameters())  # the solution is the teacher
    assert model.backbone[0].attention.output.weight.grad.abs().sum() > 0


def test_no_term_is_computed_unless_it_has_a_weight(monkeypatch):
    monkeypatch.setattr("reasoning.nn.equilibrium.jacobian_energy", None)  # not callable
    monkeypatch.setattr("reasoning.attractor_lm._squared_distance", None)
    model = attractor()
    model(TOKENS).logits.sum().backward()
    with torch.no_grad():
        assert model(TOKENS).terms == {}


def test_the_loss_is_the_cross_entropy_and_its_weighted_terms():
    terms = TermsConfig(internalisation=0.3, jacobian=0.7)
    made, model = (
        pretrainer(model=tiny_attractor("one-step"), loss=terms),
        tiny_attractor("one-step"),
    )
    rows, seeds = torch.from_numpy(CountingStream(8, 4).next()), sequence_seeds(0, 0, 8)
    output = model(rows[:, :-1], seeds=seeds)
    cross = F.cross_entropy(output.logits.flatten(0, 1), rows[:, 1:].flatten())
    added = {
        k: output.terms[k](fold(seeds, 8 << 32)).mean() for k in ("internalisation", "jacobian")
    }
    (cross + 0.3 * added["internalisation"] + 0.7 * added["jacobian"]).backward()
    norm = torch.stack([p.grad.square().sum() for p in model.parameters()]).sum().sqrt()
    loss, seen = made.step()
    assert loss == pytest.approx(float(cross.detach()), rel=1e-5)  # perplexity stays comparable
    assert seen == pytest.approx(float(norm), rel=1e-4)
    told = made.statistics.summary(made.world)
    for name, value in added.items():
        assert told[f"{name}_term"] == pytest.approx(float(value.detach()), rel=1e-5)


@pytest.mark.parametrize("changes", [{"micro_batch": 3}, {"compile": True}])
def test_how_a_step_is_computed_changes_nothing_but_rounding(changes, monkeypatch):
    quick = partialmethod(nn.Module.compile, backend="aot_eager")
    monkeypatch.setattr(nn.Module, "compile", quick)
    terms = {"loss": TermsConfig(internalisation=0.3, jacobian=0.7)}
    whole, other = (
        pretrainer(model=tiny_attractor("one-step"), **terms, **more) for more in ({}, changes)
    )
    for _ in range(3):
        np.testing.assert_allclose(whole.step(), other.step(), rtol=1e-4)
    assert_same_tensors(whole, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "at_most"),
    # The solution moves along with the proposal, so that pulling one to the other is slow.
    [("jacobian", 0.5), ("internalisation", 0.95)],
)
def test_a_weight_lowers_its_term(name, at_most):
    ends = []
    for weight in (1e-8, 10.0):  # as good as none, yet told
        terms = TermsConfig(**{name: weight})
        made = pretrainer(model=tiny_attractor("one-step"), loss=terms, steps=40)
        for _ in range(35):
            made.step()
        made.statistics = type(made.statistics)()
        for _ in range(5):
            made.step()
        ends.append(made.statistics.summary(made.world)[f"{name}_term"])
    assert ends[1] < at_most * ends[0]


def test_recomputed_blocks_give_the_same_step():
    terms = TermsConfig(internalisation=0.3, jacobian=0.7)
    steps = []
    for checkpoint in (False, True):
        model = tiny_attractor("one-step")
        model.config = model.config.model_copy(update={"checkpoint": checkpoint})
        made = pretrainer(model=model, loss=terms)
        steps.append([made.step() for _ in range(2)])
    np.testing.assert_allclose(*steps, rtol=1e-5)


def test_a_term_that_a_model_does_not_offer_is_refused():
    made = pretrainer(model=TinyLM(), loss=TermsConfig(jacobian=1.0))
    with pytest.raises(InputError, match=r"loss.jacobian: the model offers no such term \(.*none"):
        made.step()
    for name, changes, told in (
        ("transformer-mini", {"jacobian": 1.0}, "no map"),
        ("deq-mini", {"internalisation": 1.0}, "no proposal"),
    ):
        values = language_preset(name).model_dump() | {"loss": changes}
        with pytest.raises(ValueError, match=told):
            LanguageRunConfig.model_validate(values)
    with pytest.raises(ValueError, match="replicated"):
        config(loss=TermsConfig(jacobian=1.0), parallel="sharded")


def test_a_run_logs_its_terms_and_resumes_to_the_same_bytes(tmp_path):
    def made(name):
        folder = tmp_path / name
        terms = TermsConfig(internalisation=0.1, jacobian=0.1)
        return pretrainer(folder, model=tiny_attractor("one-step"), loss=terms, steps=8)

    for name in ("whole", "broken"):
        create_run(tmp_path / name, {})
    made("whole").train()
    first = made("broken")
    while first.done < 5:
        first.step()
        first._pending.append((1.0, 1.0))
    del first
    made("broken").train()
    logs = [read_jsonl(tmp_path / name / "metrics.jsonl") for name in ("whole", "broken")]
    assert logs[0] == logs[1]
    assert all("jacobian_term" in r for r in logs[0] if r["split"] == "train")


def test_the_terms_passes_are_what_they_multiply():
    """By torch's own count, from c on: behind it the term's gradient joins the loss's."""
    assert TermsConfig(internalisation=1.0).passes() == NO_CORE
    torch.manual_seed(0)
    model, length = AttractorLM(language_preset("attractor-mini").model, 257), 64
    c, found, given = model._solve(torch.randint(0, 257, (1, length)), SolveBudget(), None, None)
    c = c.detach().requires_grad_()
    with FlopCounterMode(display=False) as counter:
        term = model.head.jacobian_term(found.value.detach(), c, given)
        term(torch.tensor([0])).sum().backward()
    passes = TermsConfig(jacobian=1.0).passes(), NO_CORE
    ruled, nothing = (matmul_rule(model.cost(), length, each) for each in passes)
    assert counter.get_total_flops() == pytest.approx((ruled - nothing) * length, rel=0.1)
