"""Exponential moving average of a model's parameters; evaluation runs on it."""

import copy

import torch
from torch import Tensor, nn

from reasoning.training.config import EMAConfig
from reasoning.training.optimizers import PUZZLE_EMBEDDING


class EMA:
    """`model` is a copy of the trained model whose parameters are the averages and whose buffers,
    such as the statistics of a batch norm, are the newest.

    The puzzle embedding is no average but the newest weights: in TRM's code it is a buffer.
    decay at step t is `decay`, or min(decay, (1 + t) / (10 + t)) with `warmup`, so that a short
    run's average is not held back by the initial weights.
    """

    def __init__(self, model: nn.Module, config: EMAConfig):
        self.config = config
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = self.config.decay
        if step < self.config.start:
            decay = 0.0
        elif self.config.warmup:
            decay = min(decay, (1 + step) / (10 + step))
        averages, newest = [], []
        for (name, average), p in zip(
            self.model.named_parameters(), model.parameters(), strict=True
        ):
            if name.startswith(PUZZLE_EMBEDDING):
                average.copy_(p)
            else:
                averages.append(average)
                newest.append(p.detach())
        torch._foreach_lerp_(averages, newest, 1 - decay)
        saved, kept = model.state_dict(keep_vars=True), dict(self.model.named_buffers())
        for name, buffer in model.named_buffers():
            # What no checkpoint holds is a cache, and no statistic.
            if name in saved and name in kept and kept[name].shape == buffer.shape:
                self._take(name, buffer)

    def _take(self, name: str, buffer: Tensor) -> None:
        """A buffer's newest numbers; in memory of its own, for one may be an expanded view."""
        holder, _, last = name.rpartition(".")
        setattr(self.model.get_submodule(holder), last, buffer.detach().clone())
