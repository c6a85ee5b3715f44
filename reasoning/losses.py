"""Losses of deep supervision: cross-entropy over cells and the halting loss, per sample.

Stablemax: s(a) = a + 1 for a >= 0 and 1 / (1 - a) below, loss = -log(s_label / sum s)
(Prieto et al. 2025; HRM and TRM use it). Everything is reduced in fp32 or wider.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from reasoning.loss_config import LossConfig
from reasoning.precision import wide

IGNORED_LABEL = 0  # PAD


def log_stablemax(logits: Tensor, dim: int) -> Tensor:
    """Log-probabilities of stablemax over one axis."""
    # log s is -log(1 - a) below zero and log(1 + a) above. Not sign(a) log(1 + |a|), whose gradient
    # torch takes as 0 at zero, where it is 1.
    above, below = torch.log1p(logits.clamp_min(0)), -torch.log1p(-logits.clamp_max(0))
    log_s = torch.where(logits < 0, below, above)
    return log_s - torch.logsumexp(log_s, dim=dim, keepdim=True)


def log_probabilities(logits: Tensor, config: LossConfig) -> Tensor:
    """What the model that is trained with this loss takes for its log-probabilities (B, cells, V)
    of logits (B, cells, V), in fp32 or wider."""
    softmax = config.cells == "softmax"
    return (F.log_softmax if softmax else log_stablemax)(wide(logits), dim=-1)


def cell_loss(logits: Tensor, labels: Tensor, config: LossConfig) -> Tensor:
    """Mean cross-entropy over the scored cells of each sample.

    logits (B, cells, V), labels (B, cells) with PAD ignored -> (B,). NaN where a row is all PAD.
    A token that a model rules out, by -inf, is no part of the smoothing.
    """
    log_p = log_probabilities(logits, config)
    nll = -log_p.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    if config.label_smoothing:
        possible = ~logits.isneginf()
        others = -log_p.masked_fill(~possible, 0).sum(-1) / possible.sum(-1)
        nll = torch.lerp(nll, others, config.label_smoothing)
    return _over_scored(nll, labels)


def _over_scored(loss: Tensor, labels: Tensor) -> Tensor:
    """The mean (B,) of the losses (B, cells) of cells whose label is not PAD: not by a product, for
    PAD may be ruled out and infinitely wrong."""
    scored = labels != IGNORED_LABEL
    return loss.masked_fill(~scored, 0).sum(-1) / scored.sum(-1)


def candidate_loss(logits: Tensor, labels: Tensor, config: LossConfig) -> Tensor:
    """Mean over the scored cells of the binary cross-entropies of all tokens, (B,).

    Each logit says whether its token is a candidate of the cell: right answers weigh more than
    wrong ones, for to strike the right one is fatal (Lattice Deduction Transformer, 2605.08605). A
    wrong one that is ruled out, by -inf, costs nothing.
    """
    right, wrong = config.candidate_weights
    target = F.one_hot(labels, logits.shape[-1]).to(logits.dtype)
    weight = torch.where(target > 0, right, wrong)
    struck = logits.isneginf() & (target == 0)
    bits = F.binary_cross_entropy_with_logits(
        logits.masked_fill(struck, 0), target, weight, reduction="none"
    )
    return _over_scored(bits.masked_fill(struck, 0).sum(-1), labels)


def exactly_right(logits: Tensor, labels: Tensor) -> Tensor:
    """(B,) bool: every scored cell's most likely token is its label."""
    return ((logits.argmax(-1) == labels) | (labels == IGNORED_LABEL)).all(-1)


@dataclass(frozen=True)
class Losses:
    """Per-sample losses (B,) and the weighted total that is minimised.

    jacobian: |J|^2 an element, where it has a weight; own: the model's own, where it has one.
    """

    cells: Tensor
    halting: Tensor
    total: Tensor
    exact: Tensor
    jacobian: Tensor | None = None
    own: Tensor | None = None

    def with_jacobian(self, energy: Tensor, config: LossConfig) -> "Losses":
        """With the Jacobian's term (B,) in the total."""
        return replace(self, total=self.total + config.jacobian * energy, jacobian=energy)

    def with_own(self, own: Tensor) -> "Losses":
        """With a loss of the model's own (B,) in the total."""
        return replace(self, total=self.total + own, own=own)


def supervision_loss(
    logits: Tensor,
    q: Tensor,
    labels: Tensor,
    config: LossConfig,
    continue_target: Tensor | None = None,
    earlier: Sequence[Tensor] = (),
) -> Losses:
    """Cell loss + weight x BCE(q_halt, exactly right) [+ weight x BCE(q_continue, target)].

    logits (B, cells, V) and labels (B, cells), as in `cell_loss`; config: of the cells' loss, and
    the weights. q (B, 2) = (halt, continue) logits; `continue_target` (B,) is HRM's bootstrapped
    target; None: there is none. The cells' losses are means over `logits` and those of `earlier`
    answers of the same shape.
    """
    answers = [*earlier, logits]
    cells = torch.stack([cell_loss(answer, labels, config) for answer in answers]).mean(0)
    exact = exactly_right(logits.detach(), labels)
    halting = F.binary_cross_entropy_with_logits(q[:, 0], exact.to(q.dtype), reduction="none")
    if continue_target is not None:
        halting = halting + F.binary_cross_entropy_with_logits(
            q[:, 1], continue_target, reduction="none"
        )
    total = cells + config.halting * halting
    if config.candidates:
        bits = torch.stack([candidate_loss(wide(a), labels, config) for a in answers]).mean(0)
        total = total + config.candidates * bits
    return Losses(cells, halting, total, exact)
