"""MuonAdamW: orthogonalised momentum on the backbone's matrices, AdamW on everything else.

Muon's update of a matrix P (R, C) with gradient G, at learning rate lr and momentum mu:

    M <- mu M + (1 - mu) G;   U = (1 - mu) G + mu M                       Nesterov
    X = U / (1.02 |U|_F);     X <- a X + (b A + c A^2) X, A = X X^T       5 Polar Express steps
    s <- beta s + (1 - beta) mean(X^2)        of each row, s (R, 1), of each column if R < C, (1, C)
    X <- X / sqrt(s), rescaled to the Frobenius norm it had
    P <- P - lr sqrt(max(1, R / C)) (X + wd P [X P >= 0])                 cautious decay

The published recipe's; mu ramps up over the first steps and wd falls to 0 over the run.
`torch.optim.Muon` has one triple of coefficients for all steps, no second moment and no cautious
decay. Sources: Polar Express (Amsel et al. 2025), NorMuon (Li et al. 2025), cautious weight decay
(Chen et al. 2025).
"""

import math
from typing import get_args

import torch
from torch import Tensor, nn

from reasoning.errors import InputError
from reasoning.precision import wide
from reasoning.pretraining.config import MuonAdamWConfig
from reasoning.pretraining.protocol import Role
from reasoning.training.distribution import is_placed

POLAR_EXPRESS = (
    (8.15655, -22.48329, 15.87877),
    (4.04293, -2.80892, 0.50002),
    (3.89167, -2.77248, 0.50606),
    (3.28575, -2.36813, 0.46449),
    (2.34654, -1.70978, 0.42324),
)
_TINY = 1e-10


def orthogonalise(matrix: Tensor) -> Tensor:
    """Nearly U V^T of a finite matrix = U S V^T (R, C), whatever its scale; zeros stay zero.

    Singular values of 1e-3 of the norm and more come within 0.2 of 1. The products are taken in
    bf16 on CUDA, in the matrix's own precision elsewhere.
    """
    # By the largest entry first: the squares in the norm overflow or vanish long before entries do.
    largest = matrix.abs().amax()
    x = wide(matrix / torch.where(largest > 0, largest, 1))
    # 1.02: the coefficients are fitted for singular values that stay below 1 by that margin.
    x = x / (1.02 * x.norm().clamp_min(_TINY))
    x = x.bfloat16() if matrix.is_cuda else x.to(matrix.dtype)
    tall = x.size(0) > x.size(1)
    x = x.mT if tall else x
    for a, b, c in POLAR_EXPRESS:
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrix.dtype)


def second_moment_shape(rows: int, columns: int) -> tuple[int, int]:
    """(R, 1): a number per row. Of a wide matrix (1, C), per column: its rows, once orthogonal, are
    equally long already, its columns are not."""
    return (rows, 1) if rows >= columns else (1, columns)


def even_out(update: Tensor, second: Tensor, decay: float) -> Tensor:
    """Divide each row of update (R, C), or column, by the root of its running second moment
    `second`, (R, 1) or (1, C), moved in place, and keep the Frobenius norm."""
    update = wide(update)
    reduced = 1 if second.shape[1] == 1 else 0
    second.lerp_(update.square().mean(reduced, keepdim=True), 1 - decay)
    scaled = update * second.clamp_min(_TINY).rsqrt()
    return scaled * (update.norm() / scaled.norm().clamp_min(_TINY))


def _whole(tensor: Tensor) -> Tensor:
    """The full matrix of a sharded one, on every process."""
    return tensor.full_tensor() if is_placed(tensor) else tensor


def _placed_as(whole: Tensor, like: Tensor) -> Tensor:
    """This process's shard of a matrix that all processes hold whole."""
    if not is_placed(like):
        return whole
    from torch.distributed.tensor import DTensor, Replicate

    everywhere = [Replicate()] * like.device_mesh.ndim
    return DTensor.from_local(whole, like.device_mesh, everywhere, run_check=False).redistribute(
        placements=like.placements
    )


class Muon(torch.optim.Optimizer):
    """Muon on 2-D parameters. Its momentum is sharded as the parameters are; each matrix is
    gathered and orthogonalised whole, on every process alike."""

    def __init__(self, params: list[nn.Parameter], lr: float, second_moment: float):
        super().__init__(
            params, {"lr": lr, "momentum": 0.0, "weight_decay": 0.0, "decay": second_moment}
        )
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise InputError(f"Muon takes matrices, not a parameter of shape {p.shape}")
                # From the start, so that a checkpoint has the same entries at every step.
                self.state[p]["momentum"] = torch.zeros_like(p)
                shape = second_moment_shape(*p.shape)
                zeros = torch.zeros(shape, device=p.device, dtype=p.dtype)
                self.state[p]["second_moment"] = zeros

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            mu, decay = group["momentum"], group["weight_decay"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                momentum = self.state[p]["momentum"]
                momentum.lerp_(p.grad, 1 - mu)
                update = orthogonalise(_whole(p.grad.lerp(momentum, mu)))
                update = even_out(update, self.state[p]["second_moment"], group["decay"])
                update = _placed_as(update.to(p.dtype), p)
                agrees = update * p >= 0
                rate = group["lr"] * math.sqrt(max(1, p.shape[0] / p.shape[1]))
                p.sub_(rate * (update + decay * p * agrees))


def trapezoid(step: int, total: int, cooldown: float) -> float:
    """Factor on the learning rates at `step` (from 0) of `total`: 1, then linearly to 0."""
    falling = cooldown * total
    return min(1.0, (total - step) / falling) if falling else 1.0


def momentum_at(step: int, config: MuonAdamWConfig) -> float:
    """Muon's momentum at `step`: linear from its start over the ramp."""
    part = min(1.0, step / config.momentum_ramp) if config.momentum_ramp else 1.0
    return (1 - part) * config.momentum_start + part * config.momentum


class MuonAdamW:
    """Muon and AdamW over one model, stepped together under one schedule.

    roles: `LanguageModel.parameter_roles`. ValueError for a trained parameter without a role, or
    with one that is none, and for a role of what is no parameter.
    """

    def __init__(self, model: nn.Module, roles: dict[str, Role], config: MuonAdamWConfig):
        self.config = config
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if missing := trained.keys() - roles.keys():
            raise InputError(f"parameter {min(missing)} has no role: the optimiser cannot place it")
        if strange := roles.keys() - dict(model.named_parameters(remove_duplicate=False)).keys():
            raise InputError(f"parameter_roles: {min(strange)} is no parameter of the model")
        for name, role in roles.items():
            if role not in get_args(Role):
                known = ", ".join(get_args(Role))
                raise InputError(f"parameter {name}: {role!r} is no role; there are {known}")
            if role == "matrix" and name in trained and trained[name].ndim != 2:
                raise InputError(f"parameter {name}: a matrix, for Muon, has two dimensions")
        held: dict[Role, list[nn.Parameter]] = {}
        for name, p in trained.items():
            held.setdefault(roles[name], []).append(p)
        if held.keys() <= {"matrix"}:
            raise InputError("every trained parameter is a matrix: AdamW needs one of another role")
        head_lr = config.lr * config.head_lr_scale
        groups = [
            {"params": held.get("embedding", []) + held.get("scalar", []), "lr": config.lr},
            {
                "params": held.get("head_matrix", []),
                "lr": head_lr,
                "weight_decay": config.head_weight_decay,
            },
            {"params": held.get("head_scalar", []), "lr": head_lr},
        ]
        adamw = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            betas=config.betas,
            eps=config.eps,
            weight_decay=0.0,
        )
        for group in adamw.param_groups:
            for p in group["params"]:
                zeros = {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
                adamw.state[p] = {"step": torch.tensor(0.0)} | zeros
        self.optimizers: list[torch.optim.Optimizer] = [adamw]
        if "matrix" in held:
            self.muon = Muon(held["matrix"], config.muon_lr, config.second_moment)
            self.optimizers.append(self.muon)
        else:
            self.muon = None
        self._names = {id(p): name for name, p in trained.items()}
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["peak_lr"] = group["lr"]

    def step(self, step: int, total: int) -> float:
        """Update the weights with the rates of `step` (from 0); returns the schedule's factor."""
        factor = trapezoid(step, total, self.config.cooldown)
        if self.muon is not None:
            for group in self.muon.param_groups:
                group["momentum"] = momentum_at(step, self.config)
                group["weight_decay"] = self.config.muon_weight_decay * (1 - step / total)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * factor
            optimizer.step()
        return factor

    def zero_grad(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def state_tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state by `parameter.entry`; loading fills them in place."""
        return {
            f"{self._names[id(p)]}.{entry}": value
            for optimizer in self.optimizers
            for p, state in optimizer.state.items()
            for entry, value in state.items()
        }
