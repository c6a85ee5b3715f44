"""Building blocks shared by every puzzle model: norm, rotary positions, attention, SwiGLU, block.

Sources: HRM (Wang et al. 2025) and TRM (Jolicoeur-Martineau 2025). Their common block is post-norm,
has no biases and norms without a scale, so every state lies on a product of spheres of radius
sqrt(D). Parameter names follow the state dicts those papers release.

Shapes: B batch, L sequence, D width, H heads, K head width, I inner width of a SwiGLU.
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from reasoning.precision import wide
from reasoning.randomness import TRUNCATED_STD


def truncated_normal_(tensor: Tensor, std: float, generator: torch.Generator | None = None):
    """Fill in place with a normal cut at two deviations, whose deviation after the cut is `std`."""
    scale = std / TRUNCATED_STD
    return nn.init.trunc_normal_(tensor, std=scale, a=-2 * scale, b=2 * scale, generator=generator)


def linear(fan_in: int, fan_out: int) -> nn.Linear:
    """A projection without bias, truncated normal of deviation 1 / sqrt(fan_in)."""
    layer = nn.Linear(fan_in, fan_out, bias=False)
    truncated_normal_(layer.weight, 1 / math.sqrt(fan_in))
    return layer


def rms_norm(x: Tensor, eps: float = 1e-5) -> Tensor:
    """x / sqrt(mean(x^2) + eps) over the last axis, reduced in fp32 (float64 stays float64)."""
    rows = wide(x)
    return (rows * torch.rsqrt(rows.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


def swiglu_width(expansion: float, width: int, multiple: int) -> int:
    """Inner width of a SwiGLU: round(2/3 expansion x width), up to a multiple of `multiple`."""
    return math.ceil(round(expansion * width * 2 / 3) / multiple) * multiple


class SwiGLU(nn.Module):
    """down(silu(gate) * up), gate and up packed in one matrix, gate first.

    `normalised` takes sigmoid(gate) * N(gate * up) instead ("Speed is Confidence").
    """

    def __init__(self, width: int, inner: int, normalised: bool = False):
        super().__init__()
        self.normalised = normalised
        self.gate_up_proj = linear(width, 2 * inner)
        self.down_proj = linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        if self.normalised:
            return self.down_proj(torch.sigmoid(gate) * rms_norm(gate * up))
        return self.down_proj(F.silu(gate) * up)


def rotary_table(length: int, head_width: int, base: float = 10_000.0) -> tuple[Tensor, Tensor]:
    """Cosine and sine tables (L, K), half-split layout (Su et al. 2021, GPT-NeoX order).

    The angles are computed in fp32, as the released HRM and TRM code does: at position 900 they are
    off by up to 4e-5 from float64's, and a net trained on one table is run on the same.
    """
    frequency = 1.0 / base ** (torch.arange(0, head_width, 2, dtype=torch.float32) / head_width)
    angle = torch.outer(torch.arange(length, dtype=torch.float32), frequency)
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos(), angle.sin()


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate x (B, H, L, K) by tables (L, K), in the tables' precision."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = (table[..., : first.shape[-1]] for table in (cos, sin))  # their halves are alike
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k' / sqrt(K)) v on (B, H, L, K).

    PyTorch's fused kernel for CPUs is 3 times slower on short rows of narrow heads than two batched
    products with a compiled softmax between them. Scaling q and dividing the narrow output, not
    the scores, saves two more passes over the largest tensor.
    """
    if q.device.type == "cpu" and torch.compiler.is_compiling():
        scores = wide((q / math.sqrt(q.shape[-1])) @ k.transpose(-1, -2))
        weights = torch.exp(scores - scores.detach().amax(-1, keepdim=True))
        return (weights.to(v.dtype) @ v) / weights.sum(-1, keepdim=True).to(v.dtype)
    return F.scaled_dot_product_attention(q, k, v)


class Attention(nn.Module):
    """Full (bidirectional) self-attention; q, k, v packed along the output as H heads each."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % (2 * heads):
            raise ValueError(f"width {width} must be an even multiple of heads {heads}")
        self.heads = heads
        self.qkv_proj = linear(width, 3 * width)
        self.o_proj = linear(width, width)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        qkv = rearrange(self.qkv_proj(x), "B L (three H K) -> three B H L K", three=3, H=self.heads)
        q, k, v = qkv.unbind(0)
        if rotary is not None:
            q, k = apply_rotary(q, *rotary), apply_rotary(k, *rotary)
        return self.o_proj(rearrange(_attend(q, k, v), "B H L K -> B L (H K)"))


class Block(nn.Module):
    """Post-norm block: h <- N(h + Mix(h)); h <- N(h + SwiGLU(h)).

    Mix is attention, or, with `tokens` given, a SwiGLU over the token axis (TRM-mlp), whose inner
    width is rounded to the same multiple. With `token_norm` the norm after that SwiGLU runs over
    the token axis too, as in TRM's released code; otherwise over the channels.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        expansion: float,
        multiple: int,
        tokens: int | None = None,
        normalised: bool = False,
        token_norm: bool = False,
    ):
        super().__init__()
        if tokens is None:
            self.self_attn = Attention(width, heads)
        else:
            self.mlp_t = SwiGLU(tokens, swiglu_width(expansion, tokens, multiple), normalised)
        self.mixes_tokens, self.token_norm = tokens is not None, token_norm
        self.mlp = SwiGLU(width, swiglu_width(expansion, width, multiple), normalised)

    def ends(self) -> tuple[Tensor, Tensor]:
        """The weights whose products are added to h, one of each branch."""
        mixed = self.mlp_t.down_proj if self.mixes_tokens else self.self_attn.o_proj
        return mixed.weight, self.mlp.down_proj.weight

    def forward(self, h: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        if self.mixes_tokens:
            columns = h.transpose(1, 2)
            columns = columns + self.mlp_t(columns)
            if self.token_norm:
                h = rms_norm(columns).transpose(1, 2)
            else:
                h = rms_norm(columns.transpose(1, 2))
        else:
            h = rms_norm(h + self.self_attn(h, rotary))
        return rms_norm(h + self.mlp(h))
