"""Blocks of the causal language models.

The block is nanochat's, which Parcae's and the Attractor's code descend from: pre-norm, no biases,

    x <- x + Attn(RMS(x));  x <- x + W2 phi(W1 RMS(x)),  phi(u) = 1/2 max(u, 0)^2

(the Attractor paper writes ReLU^2; the code released with it has the half). RMSNorm has a learned
scale; rotary positions of base 50,000 come before a parameter-free RMS norm of queries and keys. A
block of an attractor head has a gate per channel on each branch (`GateConfig`); a block with
lookups adds a row of a value-embedding table to its values, through one gate per head.

Weights: orthogonal with element deviation s = sqrt(2 / (5 D)), the projections that end a branch
zero; in gated blocks those are truncated normal of deviation s, for a branch that starts at zero
has nothing to solve for. Autocast narrows the matmuls and attention; the residual stream x and the
norms stay fp32.

Shapes: B sequences, S tokens, D width, H heads, K head width.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from reasoning.language_config import BlockShape, GateConfig
from reasoning.nn.cache import KV
from reasoning.nn.layers import apply_rotary, truncated_normal_
from reasoning.nn.moving import Moving

EPS = 1e-5  # of every RMS norm
ROTARY_BASE = 50_000.0
_GATE_CHANNELS = 32  # channels of x that decide how much of a looked-up value a head takes


def init_deviation(width: int) -> float:
    """s = sqrt(2 / (5 D)), the element deviation of every matrix and embedding."""
    return math.sqrt(2 / (5 * width))


def orthogonal_linear(fan_in: int, fan_out: int, deviation: float) -> nn.Linear:
    """A projection without bias: orthogonal rows or columns, elements of that deviation."""
    layer = nn.Linear(fan_in, fan_out, bias=False)
    nn.init.orthogonal_(layer.weight, gain=deviation * math.sqrt(max(fan_in, fan_out)))
    return layer


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(K)) v; the queries are the last of the keys' positions."""
    queries, keys = q.shape[2], k.shape[2]
    if queries == keys:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    if queries == 1:
        return F.scaled_dot_product_attention(q, k, v)
    seen = torch.ones(queries, keys, dtype=torch.bool, device=q.device).tril(keys - queries)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen)


class CausalAttention(nn.Module):
    """Causal self-attention; `lookup`: takes rows of a value-embedding table."""

    def __init__(self, width: int, heads: int, lookup: bool = False):
        super().__init__()
        self.heads = heads
        s = init_deviation(width)
        self.query, self.key, self.value = (orthogonal_linear(width, width, s) for _ in range(3))
        self.output = nn.Linear(width, width, bias=False)
        if lookup:
            self.lookup_gate = nn.Linear(min(_GATE_CHANNELS, width), heads, bias=False)
            nn.init.zeros_(self.lookup_gate.weight)  # 2 sigmoid(0) = 1

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        kv: KV | None,
        rows: Tensor | None,
        moving: Moving | None = None,
    ) -> Tensor:
        """x, rows (B, S, D): the normed stream and the looked-up values, None: none; of `moving`
        tokens alone (1, A, D). rotary: cos and sin (S, K) at their positions, (A, K) then; kv: of
        the positions before, extended in place, None: there are none and none are kept."""
        q, k, v = self.project(x, rotary, rows)
        if moving is not None:
            q, k, v = moving.among_all(q, k, v)
        if kv is not None:
            k, v = kv.extend(k, v)
        mixed = rearrange(causal_attention(q, k, v), "B H S K -> B S (H K)")
        return self.output(mixed if moving is None else moving.alone(mixed))

    def project(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], rows: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, H, S, K)."""
        q, k, v = (
            rearrange(project(x), "B S (H K) -> B H S K", H=self.heads)
            for project in (self.query, self.key, self.value)
        )
        if rows is not None:
            gate = 2 * torch.sigmoid(self.lookup_gate(x[..., :_GATE_CHANNELS]))
            rows = rearrange(rows, "B S (H K) -> B H S K", H=self.heads)
            v = v + (gate.mT[..., None] * rows).to(v.dtype)
        q, k = (
            F.rms_norm(apply_rotary(part, *rotary), part.shape[-1:], eps=EPS).to(v.dtype)
            for part in (q, k)
        )
        return q, k, v


class ReluSquaredMLP(nn.Module):
    """W2 phi(W1 x), phi(u) = 1/2 max(u, 0)^2."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.up = orthogonal_linear(width, inner, init_deviation(width))
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(0.5 * F.relu(self.up(x)).square())


class CausalBlock(nn.Module):
    """Pre-norm attention and MLP; `gate`: gated, with branches that do not start at zero."""

    def __init__(self, shape: BlockShape, lookup: bool = False, gate: GateConfig | None = None):
        super().__init__()
        self.attention_norm = nn.RMSNorm(shape.width, eps=EPS)
        self.attention = CausalAttention(shape.width, shape.heads, lookup)
        self.mlp_norm = nn.RMSNorm(shape.width, eps=EPS)
        self.mlp = ReluSquaredMLP(shape.width, shape.inner)
        self.gate = gate
        for last in (self.attention.output, self.mlp.down):
            if gate is None:
                nn.init.zeros_(last.weight)
            else:
                truncated_normal_(last.weight, init_deviation(shape.width))
        if gate is not None:
            self.attention_gate = nn.Parameter(torch.full((shape.width,), gate.raw))
            self.mlp_gate = nn.Parameter(torch.full((shape.width,), gate.raw))

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        kv: KV | None = None,
        rows: Tensor | None = None,
        moving: Moving | None = None,
    ) -> Tensor:
        """The stream x (B, S, D), of `moving` tokens (1, A, D), after this block; `kv` is extended
        in place. rotary, rows: as in `CausalAttention`."""
        branch = self.attention(self.attention_norm(x), rotary, kv, rows, moving)
        if self.gate is not None:
            branch = self.gate.maximum * self.attention_gate.sigmoid() * branch
        x = x + branch
        branch = self.mlp(self.mlp_norm(x))
        if self.gate is not None:
            branch = self.gate.maximum * self.mlp_gate.sigmoid() * branch
        return x + branch


@dataclass(frozen=True)
class Pass:
    """What every block of one forward pass gets: rotary tables (S, K), whether to keep only the
    blocks' inputs for the backward pass (activation checkpointing), and which tokens x is of, where
    it is not of all."""

    rotary: tuple[Tensor, Tensor]
    checkpoint: bool
    moving: Moving | None = None

    def run(
        self,
        blocks: nn.ModuleList,
        x: Tensor,
        kvs: list[KV] | None = None,
        rows: list[Tensor | None] | None = None,
    ) -> Tensor:
        """x through the blocks, each with its cache and its looked-up values.

        x: (B, S, D), or of moving tokens (1, A, D); kvs: a cache for each block, extended in place,
        None: none is kept; rows: looked-up values (B, S, D) for each, None where it looks none up.
        """
        for i, block in enumerate(blocks):
            kv = None if kvs is None else kvs[i]
            given = (self.rotary, kv, None if rows is None else rows[i], self.moving)
            if self.checkpoint and kvs is None and torch.is_grad_enabled():
                x = checkpoint(block, x, *given, use_reentrant=False, preserve_rng_state=False)
            else:
                x = block(x, *given)
        return x
