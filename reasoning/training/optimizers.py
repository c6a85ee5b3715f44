"""Optimisers as one object: AdamATan2, AdamW or Muon on the weights, sign-SGD on the embedding."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from reasoning.errors import InputError
from reasoning.nn.compilation import nets_of
from reasoning.training.config import OptimizerConfig

PUZZLE_EMBEDDING = "embedding.puzzles."  # names of its parameters start so
_FP32_SEES = 2.0**-24  # 1 - less is 1 in fp32


class AdamATan2(torch.optim.Optimizer):
    """Adam with an arctangent for the quotient and its epsilon (Everett et al. 2024), at step t:

        m <- b1 m + (1 - b1) g;   v <- b2 v + (1 - b2) g^2;   p <- p (1 - lr wd)
        p <- p - lr / (1 - b1^t) atan2(m, sqrt(v / (1 - b2^t)))

    so in the compiled package `adam-atan2` 0.0.3, with which HRM and TRM were trained, and whose
    entries of the state these are. `bias_inside`: atan2(m / (1 - b1^t), ...) in place of the
    quotient outside, as in `adam-atan2-pytorch` with its factors a = b = 1. A constant gradient's
    first step is 0.997 lr by the one, 0.785 by the other; after tens of steps they are one.
    """

    def __init__(
        self,
        params,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        bias_inside: bool = False,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})
        self.bias_inside = bias_inside

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            (beta1, beta2), lr = group["betas"], group["lr"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"] = torch.zeros((), device=p.device)
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
                m, v = state["exp_avg"], state["exp_avg_sq"]
                state["step"] += 1
                # Of 0-dimensional tensors, for which no device has to be waited.
                left1, left2 = (1 - beta ** state["step"].double() for beta in (beta1, beta2))
                m.lerp_(p.grad, 1 - beta1)
                v.lerp_(p.grad.square(), 1 - beta2)
                root = v.sqrt() / left2.sqrt()
                p.mul_(1 - lr * group["weight_decay"])
                if self.bias_inside:
                    p.sub_(lr * torch.atan2(m / left1, root))
                else:
                    p.sub_((lr / left1) * torch.atan2(m, root))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state of this class, of `adam-atan2` or of `adam-atan2-pytorch`.

        ValueError for one of the last from the first tens of steps, which the published update
        would not continue as they began.
        """
        kept = ("params", "peak_lr", *self.defaults)
        groups = [
            {name: value for name, value in group.items() if name in kept}
            for group in state_dict["param_groups"]
        ]
        state = {key: dict(entry) for key, entry in state_dict["state"].items()}
        beta1 = max(group["betas"][0] for group in groups)
        for entry in state.values():
            if "steps" not in entry:
                continue
            steps = int(entry.pop("steps"))
            if not self.bias_inside and beta1**steps > _FP32_SEES:
                raise InputError(
                    f"after {steps} steps of adam-atan2-pytorch's update the published one would "
                    "go on otherwise: set optimizer.name to adam-atan2-pytorch in the run's "
                    "config.json, or start the run anew"
                )
            entry["step"] = torch.tensor(float(steps))
        super().load_state_dict({"state": state, "param_groups": groups})
        for p, entry in self.state.items():
            entry["step"] = entry["step"].to(p.device)


class SignSGD(torch.optim.Optimizer):
    """p <- p (1 - lr wd) - lr sign(g) on the rows of p (N, D) of the puzzles in the batch.

    The rows of other puzzles neither move nor decay; a row in the batch whose gradient is zero
    decays (HRM's sparse embedding).
    """

    def __init__(self, params, lr: float, weight_decay: float):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, rows: Tensor):
        """rows: indices of the batch's puzzles, of any shape, repeated or not."""
        rows = rows.flatten()  # a row that comes twice is written twice, with the same numbers
        for group in self.param_groups:
            lr, decay = group["lr"], group["weight_decay"]
            for p in group["params"]:
                if p.grad is not None:
                    p[rows] = (1 - lr * decay) * p[rows] - lr * p.grad[rows].sign()


def schedule_factor(step: int, total: int, config: OptimizerConfig) -> float:
    """Factor on every learning rate at `step` (from 0) of `total`: warm-up, then the schedule."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.schedule == "constant":
        return 1.0
    progress = (step - config.warmup) / max(1, total - config.warmup)
    return config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * progress))


class Optimizers:
    """Every optimiser of a run, stepped together under one schedule.

    The puzzle embedding goes to sign-SGD; with Muon, the matrices of the model's nets go to Muon
    and the rest to AdamW. `kernels` names what runs, for the run's record. ValueError with Muon for
    a model that does not name its nets.
    """

    def __init__(self, model: nn.Module, config: OptimizerConfig):
        self.config = config
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        embedding = [p for name, p in named if name.startswith(PUZZLE_EMBEDDING)]
        weights = [(name, p) for name, p in named if not name.startswith(PUZZLE_EMBEDDING)]
        self._all, self.kernels = [], []
        if config.name == "muon":
            nets = nets_of(model, "muon", "with another --optimizer.name")
            inner = {id(p) for net in nets for p in net.parameters()}
            matrices = [
                p
                for name, p in weights
                if id(p) in inner and p.ndim == 2 and not name.endswith("bias")
            ]
            if not matrices:
                raise InputError(
                    "optimizer muon: the nets have no matrix to train; choose another "
                    "--optimizer.name"
                )
            taken = {id(p) for p in matrices}
            weights = [(n, p) for n, p in weights if id(p) not in taken]
            muon = torch.optim.Muon(
                matrices, lr=config.muon_lr, weight_decay=config.muon_weight_decay
            )
            self._add(muon, "torch.optim.Muon")
        rest = [p for _, p in weights]
        if rest:  # Muon or sign-SGD may have them all
            self._add(*_adam(rest, config))
        if embedding:
            sign = SignSGD(embedding, config.embedding_lr, config.embedding_weight_decay)
            self._add(sign, "sign-SGD")

    def _add(self, optimizer: torch.optim.Optimizer, kernel: str) -> None:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
        self._all.append(optimizer)
        self.kernels.append(kernel)

    def step(self, step: int, total: int, puzzle_ids: Tensor) -> float:
        """Update the weights with the rates of `step`; returns the schedule's factor.

        puzzle_ids: those of the global batch.
        """
        factor = schedule_factor(step, total, self.config)
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * factor
            if isinstance(optimizer, SignSGD):
                optimizer.step(puzzle_ids)
            else:
                optimizer.step()
        return factor

    def zero_grad(self) -> None:
        for optimizer in self._all:
            optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state, by the kernel, the parameter's place and the entry."""
        return {
            f"{kernel}'s {entry} {place}": value
            for kernel, optimizer in zip(self.kernels, self._all, strict=True)
            for place, state in enumerate(optimizer.state.values())
            for entry, value in state.items()
            if isinstance(value, Tensor)
        }

    def state_dict(self) -> list[dict]:
        return [optimizer.state_dict() for optimizer in self._all]

    def load_state_dict(self, states: list[dict]) -> None:
        """Take moments and counts; rates, decays and the like stay as configured. ValueError for
        those of other optimisers."""
        for optimizer, state in zip(self._all, states, strict=True):
            configured = [
                {name: value for name, value in group.items() if name != "params"}
                for group in optimizer.param_groups
            ]
            optimizer.load_state_dict(state)
            for group, own in zip(optimizer.param_groups, configured, strict=True):
                group.update(own)


def clip_gradients(model: nn.Module, limit: float | None) -> Tensor:
    """Scale gradients to a norm of `limit` at most, None: leave them; returns the norm before."""
    if limit is None:
        # Not clip_grad_norm_ at infinity: it would make NaN of gradients whose norm overflows.
        return nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    return nn.utils.clip_grad_norm_(model.parameters(), limit).detach()


def _adam(
    weights: list[nn.Parameter], config: OptimizerConfig
) -> tuple[torch.optim.Optimizer, str]:
    """The optimiser of all that has none of its own, and its name in the record."""
    common = {"lr": config.lr, "betas": config.betas, "weight_decay": config.weight_decay}
    if config.name in ("adam-atan2", "adam-atan2-pytorch"):
        inside = config.name == "adam-atan2-pytorch"
        return AdamATan2(weights, bias_inside=inside, **common), config.name
    return torch.optim.AdamW(weights, **common), "torch.optim.AdamW"
