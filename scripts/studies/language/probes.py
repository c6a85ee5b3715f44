"""Probes of language models: cost of a training pass, the way of a state, its principal axes."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reasoning.precision import autocast
from reasoning.pretraining.protocol import LanguageModel, SolveBudget
from reasoning.training.memory import peak_bytes, restart_peak
from reasoning.training.meter import Meter

_NEVER = 1e-30  # a tolerance no residual meets


@dataclass(frozen=True)
class StepCost:
    """One forward and backward pass of a micro-batch, as executed.

    size: bytes: on cuda the allocator's peak, weights and gradients included; elsewhere what
        autograd keeps for the backward pass, weights included.
    """

    flops: int
    size: int


def step_cost(
    model: LanguageModel,
    tokens: Tensor,
    precision: str,
    budget: SolveBudget = SolveBudget(),  # noqa: B008 - frozen
) -> StepCost:
    """What a training pass on tokens (B, S) costs; leaves no gradients.

    model: on the tokens' device; precision: auto, bf16 or fp32; budget: how much the model
    iterates.
    """
    device = tokens.device
    seeds = torch.arange(len(tokens), device=device)

    def step() -> None:
        with autocast(device, precision):
            logits = model(tokens, budget=budget, seeds=seeds).logits
        F.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
        model.zero_grad(set_to_none=True)

    was_training = model.training
    model.train()
    with Meter() as meter:
        step()
    size = meter.saved_bytes
    if device.type == "cuda":
        restart_peak(device)
        step()
        size = peak_bytes(device)
    model.train(was_training)
    return StepCost(meter.flops, size)


@torch.no_grad()
def trajectory(model: LanguageModel, tokens: Tensor, iterations: int) -> np.ndarray:
    """States of the last position of sequences (B, S) after 0 to `iterations` evaluations:
    (B, iterations + 1, D). The Attractor's and DEQ's are the solver's, from where it starts;
    Parcae's those of its loop, from its random one."""
    states = [
        _state(model, tokens, SolveBudget(most, _NEVER))[:, -1] for most in range(iterations + 1)
    ]
    return torch.stack(states, dim=1).float().cpu().numpy()


def _state(model: nn.Module, tokens: Tensor, budget: SolveBudget) -> Tensor:
    if hasattr(model, "fixed_point"):
        return model.fixed_point(tokens, budget)[2]
    seen: list[Tensor] = []
    hook = model.readout.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        model(tokens, budget=budget)
    finally:
        hook.remove()
    return seen[0]


def principal_components(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (N, 2) of points (N, D) along their first principal axes, and the share of the
    variance that each of them carries (2,). An axis points to where its largest loading is
    positive."""
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    largest = np.abs(axes).argmax(axis=1)
    axes = axes * np.sign(axes[np.arange(len(axes)), largest])[:, None]
    total = np.square(sizes).sum()
    return centred @ axes.T, np.square(sizes[:2]) / (total or 1.0)


def distances_to_last(states: np.ndarray) -> np.ndarray:
    """|y_k - y_K| / |y_K| of states (B, K + 1, D): (B, K + 1)."""
    last = states[:, -1:]
    return np.linalg.norm(states - last, axis=-1) / np.linalg.norm(last, axis=-1)
