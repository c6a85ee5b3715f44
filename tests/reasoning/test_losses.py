"""Losses against their formulas written out one cell at a time."""

import math

import pytest
import torch

from reasoning.losses import (
    LossConfig,
    candidate_loss,
    cell_loss,
    exactly_right,
    supervision_loss,
)


def stablemax_by_hand(row: list[float], label: int) -> float:
    s = [a + 1 if a >= 0 else 1 / (1 - a) for a in row]
    return -math.log(s[label] / sum(s))


def softmax_by_hand(row: list[float], label: int) -> float:
    return -math.log(math.exp(row[label]) / sum(map(math.exp, row)))


@pytest.fixture
def sample():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 6, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(1, 5, (4, 6), generator=generator)
    labels[0, 2:] = 0  # PAD is not scored
    return logits, labels


@pytest.mark.parametrize(
    ("kind", "by_hand"), [("stablemax", stablemax_by_hand), ("softmax", softmax_by_hand)]
)
def test_cell_loss_is_the_mean_over_scored_cells(sample, kind, by_hand):
    logits, labels = sample
    expected = []
    for rows, row_labels in zip(logits.tolist(), labels.tolist(), strict=True):
        scored = [by_hand(r, c) for r, c in zip(rows, row_labels, strict=True) if c]
        expected.append(sum(scored) / len(scored))
    found = cell_loss(logits, labels, LossConfig(cells=kind))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_label_smoothing_equals_torch(sample):
    logits, labels = sample
    found = cell_loss(logits, labels, LossConfig(cells="softmax", label_smoothing=0.2))
    for i in range(len(logits)):
        expected = torch.nn.functional.cross_entropy(
            logits[i], labels[i], ignore_index=0, label_smoothing=0.2
        )
        torch.testing.assert_close(found[i], expected)


def test_stablemax_stays_finite_with_finite_gradients_at_huge_logits():
    logits = torch.tensor([[[1e30, -1e30, 0.0]]], requires_grad=True)
    loss = cell_loss(logits, torch.tensor([[1]]), LossConfig())
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad.isfinite().all()


def test_stablemax_has_the_gradient_of_its_limits_at_zero():
    # Both sides of s(a) have slope 1 at 0, so d log p_0 / d logits = (1, 0, 0) - 1 / 3.
    logits = torch.zeros(1, 1, 3, requires_grad=True)
    cell_loss(logits, torch.tensor([[1]]), LossConfig()).sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[[1.0, -2.0, 1.0]]]) / 3)


def test_halting_target_is_exactness(sample):
    logits, labels = sample
    logits = logits.clone()
    logits[1].scatter_(1, labels[1].unsqueeze(1), 50.0)  # sample 1 is right everywhere
    right = exactly_right(logits, labels)
    assert right.tolist()[1] is True
    assert not right[2:].any()
    q = torch.tensor([[0.3, 0.0]] * 4)
    losses = supervision_loss(logits, q, labels, LossConfig(halting=0.5))
    p = 1 / (1 + math.exp(-0.3))
    expected = [-math.log(p) if r else -math.log(1 - p) for r in right.tolist()]
    torch.testing.assert_close(losses.halting, torch.tensor(expected))
    torch.testing.assert_close(losses.total, losses.cells + 0.5 * losses.halting.double())


def test_an_ignored_cell_cannot_make_an_answer_wrong():
    logits = torch.tensor([[[0.0, 9.0], [0.0, 9.0]]])
    assert exactly_right(logits, torch.tensor([[1, 0]])).tolist() == [True]


def test_candidates_weigh_right_and_wrong_tokens_apart(sample):
    logits, labels = sample
    config = LossConfig(candidate_weights=(3.0, 0.25))
    for found, rows, row_labels in zip(
        candidate_loss(logits, labels, config).tolist(),
        logits.tolist(),
        labels.tolist(),
        strict=True,
    ):
        cells = []
        for row, label in zip(rows, row_labels, strict=True):
            if label:
                p = [1 / (1 + math.exp(-a)) for a in row]
                wrong = [-math.log(1 - b) for i, b in enumerate(p) if i != label]
                cells.append(-3.0 * math.log(p[label]) + 0.25 * sum(wrong))
        assert found == pytest.approx(sum(cells) / len(cells))


@pytest.mark.parametrize("kind", ["stablemax", "softmax"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_token_that_is_ruled_out_is_as_if_it_were_not_there(sample, kind, smoothing):
    """PAD at -inf, as a model may have it, where some labels are PAD: losses and gradients are
    those of a vocabulary without that token."""
    logits, labels = sample
    labels = torch.where(labels == 1, 2, labels)
    config = LossConfig(cells=kind, label_smoothing=smoothing, candidates=0.5)
    q = torch.zeros(4, 2, dtype=torch.float64)
    given = logits.clone().requires_grad_()
    ruled = torch.cat((torch.full_like(given[..., :1], -math.inf), given[..., 1:]), -1)
    losses = supervision_loss(ruled, q, labels, config)
    short = logits[..., 1:].clone().requires_grad_()
    without = supervision_loss(short, q, (labels - 1).clamp_min(0), config)
    torch.testing.assert_close(losses.total, without.total)
    gradients = torch.autograd.grad(losses.total.sum(), given)[0]
    torch.testing.assert_close(
        gradients[..., 1:], torch.autograd.grad(without.total.sum(), short)[0]
    )
    assert not gradients[..., 0].any()
