"""Optimisers as one object: AdamATan2, AdamW or Muon on the weights, sign-SGD on the embedding.

AdamATan2 (Everett et al. 2024): p <- p (1 - lr wd); p <- p - lr atan2(m_hat, sqrt(v_hat)), with no
epsilon and the factors a = b = 1 that HRM and TRM train with. The compiled CUDA kernel
(`adam-atan2`, extra `cuda`) runs it where present, `adam-atan2-pytorch` everywhere else.
"""

import importlib.util
import math

import torch
from adam_atan2_pytorch.adam_atan2 import AdamAtan2
from torch import Tensor, nn

from reasoning.training.config import OptimizerConfig


class SignSGD(torch.optim.Optimizer):
    """p <- p (1 - lr wd) - lr sign(g) on the rows of p (N, D) whose gradient is not all zero.

    The rows of puzzles that were not in the batch neither move nor decay (HRM's sparse embedding).
    """

    def __init__(self, params, lr: float, weight_decay: float):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            lr, decay = group["lr"], group["weight_decay"]
            for p in group["params"]:
                if p.grad is not None:
                    seen = (p.grad != 0).any(-1, keepdim=True)
                    p.sub_(seen * (lr * decay * p + lr * p.grad.sign()))


def schedule_factor(step: int, total: int, config: OptimizerConfig) -> float:
    """Factor on every learning rate at `step` (from 0) of `total`: warm-up, then the schedule."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.schedule == "constant":
        return 1.0
    progress = (step - config.warmup) / max(1, total - config.warmup)
    return config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * progress))


def adam_atan2(params: list[Tensor], config: OptimizerConfig) -> tuple[torch.optim.Optimizer, str]:
    """AdamATan2 with a = b = 1 and the name of the kernel that runs it."""
    fused = importlib.util.find_spec("adam_atan2") is not None
    if fused and all(p.is_cuda for p in params):
        from adam_atan2 import AdamATan2

        kernel = AdamATan2(
            params, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
        )
        return kernel, "adam-atan2 (CUDA kernel)"
    plain = AdamAtan2(
        params, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, a=1.0, b=1.0
    )
    return plain, "adam-atan2-pytorch"


class Optimizers:
    """Every optimiser of a run, stepped together under one schedule.

    Parameters are split by name: the puzzle embedding goes to sign-SGD; with Muon, the matrices of
    the net go to Muon and the rest to AdamW. `kernels` names what runs, for the run's record.
    """

    def __init__(self, model: nn.Module, config: OptimizerConfig):
        self.config = config
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        embedding = [p for name, p in named if name.startswith("embedding.puzzles.")]
        weights = [(name, p) for name, p in named if not name.startswith("embedding.puzzles.")]
        self._all, self.kernels = [], []
        if config.name == "muon":
            inner = [(n, p) for n, p in weights if not n.startswith(("embedding.", "heads."))]
            matrices = [p for n, p in inner if p.ndim == 2 and not n.endswith("bias")]
            taken = {id(p) for p in matrices}
            weights = [(n, p) for n, p in weights if id(p) not in taken]
            muon = torch.optim.Muon(
                matrices, lr=config.muon_lr, weight_decay=config.muon_weight_decay
            )
            self._add(muon, "torch.optim.Muon")
        rest = [p for _, p in weights]
        if config.name == "adam-atan2":
            self._add(*adam_atan2(rest, config))
        else:
            adamw = torch.optim.AdamW(
                rest, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
            )
            self._add(adamw, "torch.optim.AdamW")
        if embedding:
            sign = SignSGD(embedding, config.embedding_lr, config.embedding_weight_decay)
            self._add(sign, "sign-SGD")

    def _add(self, optimizer: torch.optim.Optimizer, kernel: str) -> None:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
        self._all.append(optimizer)
        self.kernels.append(kernel)

    def step(self, step: int, total: int) -> float:
        """Update the weights with the rates of `step`; returns the schedule's factor."""
        factor = schedule_factor(step, total, self.config)
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * factor
            optimizer.step()
        return factor

    def zero_grad(self) -> None:
        for optimizer in self._all:
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict]:
        return [optimizer.state_dict() for optimizer in self._all]

    def load_state_dict(self, states: list[dict]) -> None:
        for optimizer, state in zip(self._all, states, strict=True):
            optimizer.load_state_dict(state)


def clip_gradients(model: nn.Module, limit: float | None) -> Tensor:
    """Scale gradients to a norm of `limit` at most, None: leave them; returns the norm before."""
    if limit is None:
        # Not clip_grad_norm_ at infinity: it would make NaN of gradients whose norm overflows.
        return nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    return nn.utils.clip_grad_norm_(model.parameters(), limit).detach()
