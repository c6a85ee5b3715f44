"""Batched likelihoods against one sequence at a time; perplexity and bits per byte by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from reasoning.pretraining.evaluation import likelihood
from reasoning.pretraining.evaluation.lambada import lambada
from reasoning.pretraining.evaluation.likelihood import Scorer, Span
from reasoning.pretraining.evaluation.perplexity import evaluate_rows
from reasoning.pretraining.protocol import LMOutput, SolveBudget
from reasoning.training.distribution import World

ALONE = World(0, 1, torch.device("cpu"))


class Recurrent(nn.Module):
    """Causal, and dependent on the whole prefix; counts its passes and remembers the budget."""

    vocabulary, context = 13, 32

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = torch.randn(31, self.vocabulary, generator=generator) * 2
        self.rows, self.widest, self.budget = 0, 0, None

    def forward(self, tokens, budget, seeds=None, cache=None):
        assert not self.training
        self.rows += len(tokens)
        self.widest = max(self.widest, tokens.numel())
        self.budget = budget
        places = torch.arange(tokens.shape[1]) + 1
        state = ((tokens + 1) * places).cumsum(1) % 31
        return LMOutput(self.table[state], {"evaluations": state, "residual": state / 2})


def by_hand(model, tokens, start):
    """Summed nll in float64 and greediness, one token at a time."""
    total, greedy = 0.0, True
    for place in range(start, len(tokens)):
        prefix = torch.tensor([tokens[:place]])
        logits = model.eval()(prefix, SolveBudget()).logits[0, -1].double()
        total -= float(logits.log_softmax(0)[tokens[place]])
        greedy &= int(logits.argmax()) == tokens[place]
    return total, greedy


def random_spans(count, seed=0):
    rng = np.random.default_rng(seed)
    spans = []
    for _ in range(count):
        tokens = rng.integers(0, 13, rng.integers(2, 20))
        # Half of them take the likeliest last token, so that greedy is sometimes true.
        if rng.random() < 0.5:
            prefix = torch.from_numpy(tokens[None, :-1])
            tokens[-1] = int(Recurrent().eval()(prefix, None).logits[0, -1].argmax())
        start = len(tokens) - 1 if rng.random() < 0.6 else rng.integers(1, len(tokens))
        spans.append(Span(tokens, int(start)))
    return spans


@pytest.mark.parametrize("batch_tokens", [1, 40, 4096])
@pytest.mark.parametrize("read", [1, 30, 2**24])
def test_spans_equal_one_token_at_a_time(batch_tokens, read, monkeypatch):
    monkeypatch.setattr(likelihood, "_READ_LOGITS", read)
    spans = random_spans(60)
    model = Recurrent()
    scores = Scorer(model, ALONE, batch_tokens=batch_tokens).spans(spans)
    expected = [by_hand(Recurrent(), s.tokens.tolist(), s.start) for s in spans]
    np.testing.assert_allclose(scores.nll, [nll for nll, _ in expected], rtol=1e-5)
    assert scores.greedy.tolist() == [greedy for _, greedy in expected]
    assert 10 < scores.greedy.sum() < 50


def test_a_batch_keeps_to_its_tokens_and_its_logits(monkeypatch):
    model = Recurrent()
    Scorer(model, ALONE, batch_tokens=64).spans(random_spans(50))
    assert model.widest <= 64
    monkeypatch.setattr(likelihood, "_BATCH_LOGITS", 13 * 25)
    model = Recurrent()
    Scorer(model, ALONE, batch_tokens=4096).spans(random_spans(50))
    assert model.widest <= 25


def test_choices_that_differ_in_their_last_token_are_run_once():
    model = Recurrent()
    spans = [Span(np.array([1, 2, 3, last]), 3) for last in range(13)]
    scores = Scorer(model, ALONE).spans(spans)
    assert model.rows == 1
    assert np.exp(-scores.nll).sum() == pytest.approx(1)


def test_the_budget_and_the_mode_are_honoured_and_given_back():
    model = Recurrent().train()
    budget = SolveBudget(3, 0.5)
    assert len(Scorer(model, ALONE, budget).spans([]).nll) == 0
    Scorer(model, ALONE, budget).spans(random_spans(2))
    assert model.budget == budget
    assert model.training


def test_a_span_without_a_scored_token_is_refused():
    with pytest.raises(ValueError, match="scores no token"):
        Scorer(Recurrent(), ALONE).spans([Span(np.array([1, 2]), 2)])


def test_a_diverged_model_is_told():
    model = Recurrent()
    model.table[:] = math.nan
    with pytest.raises(ValueError, match="not finite"):
        Scorer(model, ALONE).spans(random_spans(2))


def test_perplexity_and_bits_per_byte_by_hand():
    rows = np.random.default_rng(1).integers(0, 13, (7, 12))
    rows[:, 5] = 0  # BOS
    token_bytes = np.array([0, *range(1, 13)])
    result = evaluate_rows(Scorer(Recurrent(), ALONE, batch_tokens=30), rows, token_bytes)
    nll = size = count = everything = evaluations = 0.0
    for row in rows.tolist():
        model = Recurrent().eval()
        output = model(torch.tensor([row[:-1]]), None)
        logs = output.logits.double().log_softmax(-1)[0]
        for place, label in enumerate(row[1:]):
            everything -= float(logs[place, label])
            if label == 0:
                continue
            nll -= float(logs[place, label])
            size += token_bytes[label]
            count += 1
            evaluations += float(output.diagnostics["evaluations"][0, place])
    assert result.loss == pytest.approx(nll / count, rel=1e-6)
    assert result.perplexity == pytest.approx(math.exp(nll / count), rel=1e-6)
    assert result.bits_per_byte == pytest.approx(nll / math.log(2) / size, rel=1e-6)
    assert result.loss_with_bos == pytest.approx(everything / 77, rel=1e-6)
    assert (result.rows, result.tokens, result.bytes) == (7, count, size)
    assert result.diagnostics["evaluations"] == pytest.approx(evaluations / count)
    assert result.diagnostics["residual"] == pytest.approx(evaluations / count / 2)


def test_the_standard_error_of_the_loss_is_that_of_resampled_rows():
    rng = np.random.default_rng(2)
    rows = rng.integers(1, 13, (200, 9))
    rows[:100, 3:] = 0  # rows of unlike weight
    token_bytes = np.array([0] + [1] * 12)
    scorer = Scorer(Recurrent(), ALONE)
    result = evaluate_rows(scorer, rows, token_bytes)
    losses = [
        evaluate_rows(scorer, rows[rng.integers(0, 200, 200)], token_bytes).loss
        for _ in range(150)
    ]  # fmt: skip
    assert result.stderr == pytest.approx(np.std(losses), rel=0.25)


def test_the_standard_error_of_the_loss_is_that_of_resampled_documents():
    """Rows of one document are alike: drawn together, or the error is told too small."""
    rng = np.random.default_rng(3)
    # 40 documents of 9 to 54 tokens, each of two kinds, cut into rows of 12 across their ends.
    documents = np.repeat(np.arange(40), rng.integers(1, 7, 40))[:, None].repeat(9, 1)
    rows = rng.integers(1, 13, (40, 2))[documents, rng.integers(0, 2, documents.shape)]
    documents, rows = documents.reshape(-1), rows.reshape(-1)
    spare = len(rows) % 12
    documents, rows = documents[spare:].reshape(-1, 12), rows[spare:].reshape(-1, 12)
    token_bytes = np.array([0] + [1] * 12)
    scorer = Scorer(Recurrent(), ALONE)
    result = evaluate_rows(scorer, rows, token_bytes, documents)
    by_rows = evaluate_rows(scorer, rows, token_bytes)
    assert (result.loss, result.documents) == (by_rows.loss, len(np.unique(documents[:, 1:])))
    labels = torch.from_numpy(rows[:, 1:])
    logs = scorer.forward(rows[:, :-1]).logits.double().log_softmax(-1)
    nll = -logs.gather(2, labels[..., None])[..., 0].numpy()
    groups = [nll[documents[:, 1:] == number] for number in np.unique(documents[:, 1:])]
    losses = []
    for _ in range(400):
        drawn = np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))])
        losses.append(drawn.mean())
    assert result.stderr == pytest.approx(np.std(losses), rel=0.15)
    assert result.stderr > 1.2 * by_rows.stderr


def test_one_document_has_no_standard_error():
    rows = np.random.default_rng(4).integers(1, 13, (5, 9))
    documents = np.zeros((5, 9), int)
    rows[0, -1], documents[0, -1] = 0, 1  # the BOS of another is no text of it
    result = evaluate_rows(Scorer(Recurrent(), ALONE), rows, np.arange(13), documents)
    assert (result.stderr, result.documents, result.rows) == (None, 1, 5)


def test_rows_of_another_tokenizer_are_refused():
    with pytest.raises(ValueError, match="another tokenizer"):
        evaluate_rows(Scorer(Recurrent(), ALONE), np.full((2, 4), 12), np.ones(12))
    with pytest.raises(ValueError, match="stands for text"):
        evaluate_rows(Scorer(Recurrent(), ALONE), np.zeros((2, 4), int), np.array([0, 1]))


def test_lambada_is_per_word_not_per_token():
    nll, correct = np.array([1.0, 3.0, 8.0]), np.array([1.0, 0.0, 0.0])
    result = lambada(nll, correct)
    assert result.perplexity == pytest.approx(math.exp(4.0))
    assert result.accuracy == pytest.approx(1 / 3)
    assert result.stderr == pytest.approx(math.sqrt(1 / 9))  # sample variance 1/3, of 3
    shifted = lambada(nll + result.perplexity_stderr / result.perplexity * 1e-3, correct)
    slope = (shifted.perplexity - result.perplexity) / 1e-3
    assert slope == pytest.approx(result.perplexity_stderr, rel=1e-2)
    assert lambada(nll[:1], correct[:1]).stderr is None
