"""Losses of deep supervision: cross-entropy over cells and the halting loss, per sample.

Stablemax: s(a) = a + 1 for a >= 0 and 1 / (1 - a) below, loss = -log(s_label / sum s)
(Prieto et al. 2025; HRM and TRM use it). Everything is reduced in fp32 or wider.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from reasoning.frozen import Frozen
from reasoning.precision import wide

IGNORED_LABEL = 0  # PAD


class LossConfig(Frozen):
    """Which cross-entropy, and the weight of the halting loss."""

    cells: Literal["stablemax", "softmax"] = Field("stablemax", description="cell probabilities")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="mass spread over the vocabulary")
    halting: float = Field(0.5, ge=0, description="weight of the halting loss")


def log_stablemax(logits: Tensor, dim: int) -> Tensor:
    """Log-probabilities of stablemax over one axis."""
    # log s is -log(1 - a) below zero and log(1 + a) above. Not sign(a) log(1 + |a|), whose gradient
    # torch takes as 0 at zero, where it is 1.
    above, below = torch.log1p(logits.clamp_min(0)), -torch.log1p(-logits.clamp_max(0))
    log_s = torch.where(logits < 0, below, above)
    return log_s - torch.logsumexp(log_s, dim=dim, keepdim=True)


def cell_loss(logits: Tensor, labels: Tensor, config: LossConfig) -> Tensor:
    """Mean cross-entropy over the scored cells of each sample.

    logits (B, cells, V), labels (B, cells) with PAD ignored -> (B,). NaN where a row is all PAD.
    """
    softmax = config.cells == "softmax"
    log_p = (F.log_softmax if softmax else log_stablemax)(wide(logits), dim=-1)
    nll = -log_p.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    if config.label_smoothing:
        nll = torch.lerp(nll, -log_p.mean(-1), config.label_smoothing)
    scored = labels != IGNORED_LABEL
    return (nll * scored).sum(-1) / scored.sum(-1)


def exactly_right(logits: Tensor, labels: Tensor) -> Tensor:
    """(B,) bool: every scored cell's most likely token is its label."""
    return ((logits.argmax(-1) == labels) | (labels == IGNORED_LABEL)).all(-1)


@dataclass(frozen=True)
class Losses:
    """Per-sample losses (B,) and the weighted total that is minimised."""

    cells: Tensor
    halting: Tensor
    total: Tensor
    exact: Tensor


def supervision_loss(
    logits: Tensor,
    q: Tensor,
    labels: Tensor,
    config: LossConfig,
    continue_target: Tensor | None = None,
) -> Losses:
    """Cell loss + weight x BCE(q_halt, exactly right) [+ weight x BCE(q_continue, target)].

    q (B, 2) = (halt, continue) logits; `continue_target` (B,) is HRM's bootstrapped target.
    """
    cells = cell_loss(logits, labels, config)
    exact = exactly_right(logits.detach(), labels)
    halting = F.binary_cross_entropy_with_logits(q[:, 0], exact.to(q.dtype), reduction="none")
    if continue_target is not None:
        halting = halting + F.binary_cross_entropy_with_logits(
            q[:, 1], continue_target, reduction="none"
        )
    return Losses(cells, halting, cells + config.halting * halting, exact)
