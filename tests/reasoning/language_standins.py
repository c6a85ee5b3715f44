"""A tiny language model and stream that keep the protocols; the run that tests train them in."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from reasoning.attractor_lm import AttractorLM, AttractorLMConfig
from reasoning.pretraining.config import MuonAdamWConfig, PretrainingConfig, ValidationConfig
from reasoning.pretraining.flops import Passes
from reasoning.pretraining.loop import Pretrainer
from reasoning.pretraining.packing import HeldOutRows
from reasoning.pretraining.protocol import Cost, LMOutput, SolveBudget
from reasoning.pretraining.validation import validate
from reasoning.solver_config import GradientConfig, SolverConfig
from reasoning.training.distribution import World
from reasoning.training.runs import create_run

VOCABULARY, WIDTH, CONTEXT = 11, 16, 8


class Block(nn.Module):
    """One head of causal attention and an MLP."""

    def __init__(self):
        super().__init__()
        self.norm = nn.Parameter(torch.ones(WIDTH))
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.mlp = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x):
        normed = nn.functional.rms_norm(x, (WIDTH,)) * self.norm
        q, k, v = self.qkv(normed).chunk(3, -1)
        x = x + self.out(nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True))
        return x + self.mlp(x).relu()


class TinyLM(nn.Module):
    """Tied embedding, one block, then y <- c + head(y) for up to two evaluations; a training pass
    adds noise drawn from each sequence's seed."""

    vocabulary, context = VOCABULARY, CONTEXT

    def __init__(self, seed: int = 0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(VOCABULARY, WIDTH)
            self.block, self.head = Block(), nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, tokens, budget=SolveBudget(), seeds=None, cache=None):  # noqa: B008
        c = self.block(self.embedding(tokens))
        if seeds is not None:
            noise = [self._noise(seed, tokens.shape[1]) for seed in seeds]
            c = c + torch.stack(noise).to(c)
        y, before = c, c
        most = 2 if budget.max_evaluations is None else budget.max_evaluations
        for _ in range(most):
            before, y = y, c + 0.5 * self.head(y).tanh()
        shift = (y - before).norm(dim=-1)
        made = torch.full_like(shift, most)
        residual = shift if most else torch.full_like(shift, float("inf"))
        logits = (y @ self.embedding.weight.T).float()
        return LMOutput(logits, {"evaluations": made, "residual": residual})

    def _noise(self, seed, length):
        generator = torch.Generator().manual_seed(int(seed))
        return 0.1 * torch.randn(length, WIDTH, generator=generator)

    def fixed_point(self, tokens):
        """A map that turns channels in pairs and stretches by 3: |J| = 3 everywhere."""
        c = self.embedding(tokens).detach()
        return lambda y: 3 * torch.stack((-y[..., 1::2], y[..., ::2]), -1).flatten(-2), c, c

    def new_cache(self):
        raise NotImplementedError

    def parameter_roles(self):
        roles = {"embedding.weight": "embedding", "head.weight": "head_matrix"}
        return roles | {
            f"block.{name}": "matrix" if p.ndim == 2 else "scalar"
            for name, p in self.block.named_parameters()
        }

    def cost(self):
        total = sum(p.numel() for p in self.parameters())
        return Cost(total, VOCABULARY * WIDTH, 0, 5 * WIDTH**2, 1, WIDTH**2, 0, WIDTH)

    def blocks(self):
        return [self.block, self.head]

    def repeated_blocks(self):
        return [self.head]


class CountingStream:
    """Rows that count upwards; every lane from its own place, which is its state."""

    def __init__(self, batch, lanes, rank=0, world=1):
        own = range(rank * lanes // world, (rank + 1) * lanes // world)
        self.rows, self.lanes = batch // lanes, {lane: 0 for lane in own}

    def next(self):
        rows = []
        for lane in self.lanes:
            for _ in range(self.rows):
                start = self.lanes[lane] * 3 + lane
                rows.append((start + np.arange(CONTEXT + 1) * (1 + lane % 3)) % VOCABULARY)
                self.lanes[lane] += 1
        return np.stack(rows).astype(np.int64)

    def state(self):
        return [{"lane": lane, "row": row} for lane, row in self.lanes.items()]

    def restore(self, states):
        assert [state["lane"] for state in states] == list(self.lanes)
        self.lanes = {state["lane"]: state["row"] for state in states}


ALONE = World(0, 1, torch.device("cpu"))
_TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, (8, CONTEXT + 1))
ROWS = HeldOutRows(_TOKENS, np.arange(8)[:, None].repeat(CONTEXT + 1, 1))
BYTES = np.arange(VOCABULARY)  # token 0, as BOS, has none
TEXT = ROWS.tokens[:, 1:] > 0


def config(**changes) -> PretrainingConfig:
    base = {
        "steps": 12,
        "context": CONTEXT,
        "batch": 8,
        "lanes": 4,
        "log_every": 2,
        "checkpoint_every": 4,
        "device": "cpu",
        "optimizer": MuonAdamWConfig(momentum_ramp=6),
        "validation": ValidationConfig(every=6, batch_tokens=3 * CONTEXT, evaluations=(None, 0)),
    }
    return PretrainingConfig(**base | changes)


def pretrainer(folder=None, world=ALONE, model=None, **changes) -> Pretrainer:
    settings = config(**changes)
    stream = CountingStream(settings.batch, settings.lanes, world.rank, world.size)

    def measure(trained):
        return validate(trained, ROWS, BYTES, settings.validation, world)

    made = model or TinyLM()
    return Pretrainer(made, stream, settings, world, Passes(2, 2), Passes(0, 2), folder, measure)


def tiny_attractor(gradient: str) -> AttractorLM:
    """An Attractor whose tokens take unlike numbers of evaluations."""
    torch.manual_seed(0)
    config = AttractorLMConfig(
        width=16,
        head_width=8,
        context=CONTEXT,
        backbone_layers=1,
        solver=SolverConfig(tolerance=1e-2, max_evaluations=12),
        gradient=GradientConfig(kind=gradient),
    )
    return AttractorLM(config, VOCABULARY)


def run_in(folder: Path, **changes) -> Pretrainer:
    create_run(folder, {})
    made = pretrainer(folder, **changes)
    assert made.train() is False
    return made


def assert_same_tensors(a: Pretrainer, b: Pretrainer, **tolerance):
    ours, theirs = a._tensors(), b._tensors()
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], msg=name, **tolerance)
