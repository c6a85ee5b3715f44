"""Exponential moving average of a model's parameters; evaluation runs on it."""

import copy

import torch
from torch import nn

from reasoning.training.checkpoints import unfold_buffers
from reasoning.training.config import EMAConfig
from reasoning.training.optimizers import PUZZLE_EMBEDDING


class EMA:
    """`model` is a copy of the trained model whose parameters are the averages and whose buffers,
    such as the statistics of a batch norm, are the newest.

    The puzzle embedding is no average but the newest weights: in TRM's code it is a buffer.
    decay at step t is `decay`, or min(decay, (1 + t) / (10 + t)) with `warmup`, so that a short
    run's average is not held back by the initial weights.

    statistics: the names of the buffers that a checkpoint holds; others are caches.
    """

    def __init__(self, model: nn.Module, config: EMAConfig):
        self.config = config
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        held = self.model.state_dict().keys()
        self.statistics = [name for name, _ in self.model.named_buffers() if name in held]
        unfold_buffers(self.model)

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
        for name in self.statistics:
            kept, buffer = self.model.get_buffer(name), model.get_buffer(name)
            if kept.shape == buffer.shape:  # else a cache after all, of this batch's size
                kept.copy_(buffer)
