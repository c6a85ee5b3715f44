"""Building blocks shared by every puzzle model: norm, rotary positions, attention, SwiGLU, block.

Sources: HRM (Wang et al. 2025) and TRM (Jolicoeur-Martineau 2025). Their common block is post-norm,
has no biases and norms without a scale, so every state lies on a product of spheres of radius
sqrt(D). Parameter names follow the state dicts those papers release.

Shapes: B batch, L sequence, D width, H heads, K head width, I inner width of a SwiGLU.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from reasoning.errors import InputError
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

    def ends(self) -> tuple[Tensor, ...]:
        """The weights whose products leave the branch, as every mixer has them."""
        return (self.down_proj.weight,)

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
            raise InputError(f"width {width} must be an even multiple of heads {heads}")
        self.heads = heads
        self.qkv_proj = linear(width, 3 * width)
        self.o_proj = linear(width, width)

    def ends(self) -> tuple[Tensor, ...]:
        return (self.o_proj.weight,)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        qkv = rearrange(self.qkv_proj(x), "B L (three H K) -> three B H L K", three=3, H=self.heads)
        q, k, v = qkv.unbind(0)
        if rotary is not None:
            q, k = apply_rotary(q, *rotary), apply_rotary(k, *rotary)
        return self.o_proj(rearrange(_attend(q, k, v), "B H L K -> B L (H K)"))


class AxialAttention(Attention):
    """Self-attention along the units of a grid: rows, columns, boxes.

    The heads are split evenly among the families of units, in their order; a head attends from a
    cell to the cells of its unit in that family alone. Cost: cells x unit length, where full
    attention costs cells squared. Without positions it is equivariant to every relabelling of
    cells that keeps each family.

    families: each (units U, cells of a unit N) int64, holding every cell once. ValueError if the
    heads cannot be split evenly.
    """

    def __init__(self, width: int, heads: int, families: Sequence[np.ndarray]):
        super().__init__(width, heads)
        if not families or heads % len(families):
            raise InputError(
                f"axial mixing splits the heads among {len(families)} families of units: give a "
                f"multiple of it, not {heads}"
            )
        self.sizes = [family.shape[1] for family in families]
        for i, family in enumerate(families):
            order = torch.from_numpy(family.reshape(-1).astype(np.int64))
            self.register_buffer(f"order_{i}", order, persistent=False)
            self.register_buffer(f"back_{i}", order.argsort(), persistent=False)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        count = len(self.sizes)
        packed = rearrange(self.qkv_proj(x), "B L (three F H) -> three F B L H", three=3, F=count)
        mixed = []
        for i, size in enumerate(self.sizes):
            units = packed[:, i].index_select(2, getattr(self, f"order_{i}"))
            q, k, v = rearrange(
                units, "three B (U N) (H K) -> three (B U) H N K", N=size, H=self.heads // count
            ).unbind(0)
            if rotary is not None:
                tables = [table[:size] for table in rotary]
                q, k = apply_rotary(q, *tables), apply_rotary(k, *tables)
            along = rearrange(_attend(q, k, v), "(B U) H N K -> B (U N) (H K)", B=x.shape[0])
            mixed.append(along.index_select(1, getattr(self, f"back_{i}")))
        return self.o_proj(torch.cat(mixed, dim=-1))


class UnitSums(nn.Module):
    """Each cell reads sums over its units: message passing along rows, columns and boxes.

    The channels of a projection are split evenly among the families; those of a family are summed
    over the cell's unit in it and scaled by 1 / sqrt(cells of a unit). Linear in cells, and
    equivariant to every relabelling of cells that keeps each family. families as in
    `AxialAttention`. ValueError if the width cannot be split.
    """

    def __init__(self, width: int, families: Sequence[np.ndarray]):
        super().__init__()
        if not families or width % len(families):
            raise InputError(
                f"sums over units split the width among {len(families)} families of units: give a "
                f"multiple of it, not {width}"
            )
        self.v_proj = linear(width, width)
        self.o_proj = linear(width, width)
        self.register_buffer("sums", _unit_sums(families), persistent=False)

    def ends(self) -> tuple[Tensor, ...]:
        return (self.o_proj.weight,)

    def forward(self, x: Tensor, rotary: None = None) -> Tensor:
        # A product per family, so that each reads and writes whole rows.
        projections = self.v_proj.weight.chunk(len(self.sums))
        values = [F.linear(x, projection) for projection in projections]
        mixed = [sums.to(v.dtype) @ v for sums, v in zip(self.sums, values, strict=True)]
        return self.o_proj(torch.cat(mixed, dim=-1))


def _unit_sums(families: Sequence[np.ndarray]) -> Tensor:
    """(families, cells, cells): 1 / sqrt(N) where two cells share a unit of N cells."""
    sums = [_together(family) / math.sqrt(family.shape[1]) for family in families]
    return torch.from_numpy(np.stack(sums)).float()


def _together(family: np.ndarray) -> np.ndarray:
    """bool (cells, cells): whether two cells share a unit of a family."""
    unit = np.empty(family.size, dtype=np.int64)
    unit[family] = np.arange(len(family))[:, None]
    return unit[:, None] == unit


class RelationAttention(Attention):
    """Full attention whose scores get a learned number per head and relation of the two cells.

    The relation says in which families of units two cells share a unit, and whether they are one
    cell: for sudoku same cell, row, column, box, row and box, column and box, or none. The numbers
    begin at 0. families as in `AxialAttention`.
    """

    def __init__(self, width: int, heads: int, families: Sequence[np.ndarray]):
        super().__init__(width, heads)
        relation = _relations(families)
        self.register_buffer("relation", torch.from_numpy(relation), persistent=False)
        self.bias = nn.Parameter(torch.zeros(heads, int(relation.max()) + 1))

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        qkv = rearrange(self.qkv_proj(x), "B L (three H K) -> three B H L K", three=3, H=self.heads)
        q, k, v = qkv.unbind(0)
        if rotary is not None:
            q, k = apply_rotary(q, *rotary), apply_rotary(k, *rotary)
        bias = self.bias[:, self.relation].to(q.dtype)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.o_proj(rearrange(mixed, "B H L K -> B L (H K)"))


def _relations(families: Sequence[np.ndarray]) -> np.ndarray:
    """(cells, cells) int64: a number for each set of families in which two cells share a unit,
    and another for a cell and itself. ValueError without families."""
    if not families:
        raise InputError("relations of cells come from the units of a puzzle: this grid has none")
    cells = families[0].size
    shared = np.zeros((cells, cells), dtype=np.int64)
    for bit, family in enumerate(families):
        shared |= _together(family).astype(np.int64) << bit
    np.fill_diagonal(shared, 1 << len(families))
    return np.unique(shared, return_inverse=True)[1].reshape(cells, cells).astype(np.int64)


class Convolution(nn.Module):
    """Each cell mixes with its neighbours: a 3 x 3 convolution over a square grid, zeros around it.

    x (B, cells, D) to the same, row-major. ValueError unless the cells make a square.
    """

    def __init__(self, width: int, cells: int):
        super().__init__()
        self.side = math.isqrt(cells)
        if self.side**2 != cells:
            raise InputError(f"local mixing needs a square grid, not {cells} cells")
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        truncated_normal_(self.conv.weight, 1 / math.sqrt(9 * width))

    def ends(self) -> tuple[Tensor, ...]:
        return (self.conv.weight,)

    def forward(self, x: Tensor, rotary: None = None) -> Tensor:
        grid = rearrange(x, "B (R C) D -> B D R C", R=self.side)
        return rearrange(self.conv(grid), "B D R C -> B (R C) D")


class FieldMixer(nn.Module):
    """Cells mix within each field, and each field reads the mean of the others at its cell.

    x (B, F x L, D), field by field. All fields share `mix` and the projection of the mean: to
    exchange fields exchanges the results (DEC, Fixed-Point-Reasoner-Structures).
    """

    def __init__(self, mix: nn.Module, width: int, fields: int):
        super().__init__()
        self.mix, self.fields = mix, fields
        self.across = linear(width, width)

    def ends(self) -> tuple[Tensor, ...]:
        return (*self.mix.ends(), self.across.weight)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        fields = rearrange(x, "B (F L) D -> B F L D", F=self.fields)
        others = (fields.sum(1, keepdim=True) - fields) / (self.fields - 1)
        within = self.mix(fields.flatten(0, 1), rotary).unflatten(0, (-1, self.fields))
        return (within + self.across(others)).flatten(1, 2)


class TokenMixer(SwiGLU):
    """A SwiGLU over the token axis (TRM-mlp), of x (B, L, D)."""

    def forward(self, x: Tensor, rotary: None = None) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Block(nn.Module):
    """h <- N(h + Mix(h)); h <- N(h + SwiGLU(h)), or, `pre`, h <- h + Mix(N(h)); h <- h +
    SwiGLU(N(h)), whose stack ends with a norm (`reasoning.nn.grid.Net`).

    mix: the module that mixes cells, under the name that released weights give it: `mlp_t` for a
    token mixer, else `self_attn`. With `token_norm` the norm after it runs over the token axis, as
    after the token mixer of TRM's released code; otherwise over the channels.
    """

    def __init__(self, mix: nn.Module, mlp: SwiGLU, *, token_norm: bool = False, pre: bool = False):
        super().__init__()
        self.name = "mlp_t" if isinstance(mix, TokenMixer) else "self_attn"
        self.add_module(self.name, mix)
        self.mlp, self.token_norm, self.pre = mlp, token_norm, pre

    def ends(self) -> tuple[Tensor, ...]:
        """The weights whose products are added to h, of each branch."""
        return (*getattr(self, self.name).ends(), *self.mlp.ends())

    def forward(self, h: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        mix = getattr(self, self.name)
        if self.pre:
            h = h + mix(rms_norm(h), rotary)
            return h + self.mlp(rms_norm(h))
        mixed = h + mix(h, rotary)
        if self.token_norm:  # noqa: SIM108
            h = rms_norm(mixed.transpose(1, 2)).transpose(1, 2)
        else:
            h = rms_norm(mixed)
        return rms_norm(h + self.mlp(h))
