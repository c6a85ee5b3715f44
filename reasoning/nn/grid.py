"""What every grid model shares: the network config, embeddings in, heads out.

Facts: TRM (arXiv 2510.04871) and HRM (arXiv 2506.21734). A grid of `cells` tokens is preceded by
`puzzle_tokens` positions that hold the puzzle's own embedding; logits are read from the cells of y
and the halting score from its position 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from reasoning.errors import InputError
from reasoning.model_config import SMALL_SCALES, ModelConfig
from reasoning.nn.layers import (
    Attention,
    AxialAttention,
    Block,
    Convolution,
    FieldMixer,
    RelationAttention,
    SwiGLU,
    TokenMixer,
    UnitSums,
    linear,
    rms_norm,
    rotary_table,
    swiglu_width,
    truncated_normal_,
)
from reasoning.precision import wide


@dataclass(frozen=True)
class GridShape:
    """What the data decides.

    cells: of a grid; vocabulary: tokens, with PAD = 0; puzzles: number of puzzle ids;
    families: units that cells may be mixed along (rows, columns, boxes), each family an array
        (units, cells of a unit) int64 that holds every cell once;
    symbols: tokens whose meanings may be exchanged, such as digits.
    """

    cells: int
    vocabulary: int
    puzzles: int = 1
    families: tuple[np.ndarray, ...] = field(default=(), compare=False)
    symbols: tuple[int, ...] = ()


# Widths and layers of each scale; SwiGLU widths round to 32 where 256 would swamp a small net.
_SIZES: dict[str, dict[str, Any]] = {
    "mini": {"width": 32, "layers": 1, "heads": 2, "multiple": 32, "puzzle_tokens": 1},
    "cpu": {"width": 64, "layers": 2, "heads": 4, "multiple": 32, "puzzle_tokens": 1},
    "1m": {"width": 96, "layers": 2, "heads": 6, "multiple": 32, "puzzle_tokens": 1},
    "7m": {"width": 512, "layers": 2},
    "27m": {"width": 512, "layers": 8},
}


class NetConfig(ModelConfig):
    """Sizes of one stack of blocks with its embeddings and heads."""

    width: int = Field(512, gt=0, description="state width D, in channels")
    layers: int = Field(2, gt=0, description="blocks in the net")
    heads: int = Field(8, gt=0, description="attention heads")
    expansion: float = Field(4.0, gt=0, description="SwiGLU expansion; inner width is 2/3 of it")
    multiple: int = Field(
        256, gt=0, description="SwiGLU inner widths round up to this many channels"
    )
    normalise_product: bool = Field(
        False, description="SwiGLU as sigmoid(g) N(g v), N the norm, in place of silu(g) v"
    )
    mixer: Literal["attention", "mlp", "axial", "sums", "relations", "local"] = Field(
        "attention",
        description="how cells mix: full attention, an MLP over the cells, attention along the "
        "puzzle's units (axial), sums over those units, full attention with a learned bias for "
        "each relation of two cells, or a 3 x 3 convolution (local)",
    )
    mixer_norm: Literal["channels", "tokens"] = Field(
        "channels",
        description="axis of the norm after the mlp mixer; TRM's released code: tokens",
    )
    branch_scale: float = Field(
        1.0,
        gt=0,
        description="factor on the initial weights that end a block's branches; 1: as published, "
        "1 / sqrt(2 layers): deep nets begin as trainable as shallow ones",
    )
    fields: Literal["none", "digits"] = Field(
        "none",
        description="digits: a state for each cell and digit, which share all weights, so that "
        "exchanging digits exchanges answers (DEC)",
    )
    positions: Literal["rope", "learned", "none"] = Field("rope", description="position encoding")
    puzzle_tokens: int = Field(16, ge=0, description="positions that hold the puzzle embedding")
    norm: Literal["post", "pre"] = Field(
        "post", description="norm after each branch (published), or before it and after the stack"
    )
    halting_from: Literal["first", "mean"] = Field(
        "first", description="the halting score reads position 0 (published), or the mean of all"
    )

    @classmethod
    def at_scale(cls, scale: str, puzzle: str) -> dict[str, Any]:
        """Its sizes; small nets learn their positions."""
        sizes = super().at_scale(scale, puzzle) | _SIZES[scale]
        return sizes | ({"positions": "learned"} if scale in SMALL_SCALES else {})

    @model_validator(mode="after")
    def _grid_mixers_see_cells_alone(self):
        if self.mixer in ("axial", "sums", "relations", "local") and self.puzzle_tokens:
            raise InputError(f"mixer {self.mixer} mixes cells alone: set puzzle_tokens to 0")
        return self

    @model_validator(mode="after")
    def _fields_share_everything(self):
        if self.fields == "digits":
            if self.puzzle_tokens or self.positions == "learned" or self.mixer == "mlp":
                raise InputError(
                    "fields digits share their cells' mixing: set puzzle_tokens to 0, positions to "
                    "none or rope, and mixer to another than mlp"
                )
            if self.halting_from != "mean":
                raise InputError("fields digits have no first position: set halting_from to mean")
        return self

    @model_validator(mode="after")
    def _heads_divide_width(self):
        if self.width % (2 * self.heads):
            raise InputError(f"width {self.width} must be an even multiple of heads {self.heads}")
        return self


def activation_dtype(parameter: Tensor) -> torch.dtype:
    """The dtype states take: autocast's where it is on, else the parameters'."""
    kind = parameter.device.type
    if kind != "meta" and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return parameter.dtype


class Net(nn.Module):
    """A stack of blocks as one level: net(h, c) = blocks(h + c). Shapes (B, L, D).

    length: positions that mix: L, or with fields L of each of them;
    families and symbols as in `GridShape`. ValueError where the mixer or the fields need what the
    grid has not.
    """

    def __init__(
        self,
        config: NetConfig,
        length: int,
        families: Sequence[np.ndarray] = (),
        symbols: Sequence[int] = (),
    ):
        super().__init__()
        self.layers = nn.ModuleList(
            Block(
                _mixer(config, length, families, symbols),
                SwiGLU(
                    config.width,
                    swiglu_width(config.expansion, config.width, config.multiple),
                    config.normalise_product,
                ),
                token_norm=config.mixer == "mlp" and config.mixer_norm == "tokens",
                pre=config.norm == "pre",
            )
            for _ in range(config.layers)
        )
        with torch.no_grad():
            for block in self.layers:
                for weight in block.ends():
                    weight *= config.branch_scale
        self.pre = config.norm == "pre"
        self.rotary = config.positions == "rope" and config.mixer in _ROTATED
        if self.rotary:
            cos, sin = rotary_table(length, config.width // config.heads)
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)

    def forward(self, h: Tensor, injection: Tensor) -> Tensor:
        rotary = (self.cos, self.sin) if self.rotary else None
        h = h + injection
        for layer in self.layers:
            h = layer(h, rotary)
        return rms_norm(h) if self.pre else h


_ROTATED = ("attention", "axial", "relations")


def _mixer(
    config: NetConfig, length: int, families: Sequence[np.ndarray], symbols: Sequence[int]
) -> nn.Module:
    """A block's mixer; its weights are drawn before those of the block's SwiGLU."""
    match config.mixer:
        case "attention":
            mix = Attention(config.width, config.heads)
        case "mlp":
            inner = swiglu_width(config.expansion, length, config.multiple)
            mix = TokenMixer(length, inner, config.normalise_product)
        case "axial":
            mix = AxialAttention(config.width, config.heads, families)
        case "sums":
            mix = UnitSums(config.width, families)
        case "relations":
            mix = RelationAttention(config.width, config.heads, families)
        case "local":
            mix = Convolution(config.width, length)
    if config.fields == "none":
        return mix
    return FieldMixer(mix, config.width, len(_exchanged(symbols)))


def _exchanged(symbols: Sequence[int]) -> Sequence[int]:
    """ValueError if there are none."""
    if not symbols:
        raise InputError("fields digits need symbols that can be exchanged: this puzzle has none")
    return symbols


class GridEmbedding(nn.Module):
    """Tokens (B, cells) and puzzle ids (B,) to x (B, L, D), L = puzzle_tokens + cells.

    With a field for each symbol L = fields x cells, field by field, and what is embedded is a
    cell's role in the field: it holds this symbol, another, or none.
    """

    def __init__(self, config: NetConfig, shape: GridShape):
        super().__init__()
        self.config, self.shape = config, shape
        self.scale = math.sqrt(config.width)
        self.fields = config.fields == "digits"
        if self.fields:
            symbols = torch.tensor(_exchanged(shape.symbols))
            self.register_buffer("symbols", symbols, persistent=False)
        self.tokens = nn.Embedding(3 if self.fields else shape.vocabulary, config.width)
        truncated_normal_(self.tokens.weight, 1 / self.scale)
        if config.puzzle_tokens:
            self.puzzles = nn.Embedding(shape.puzzles, config.width)
            nn.init.zeros_(self.puzzles.weight)
        if config.positions == "learned":
            self.positions = nn.Parameter(torch.empty(self.length, config.width))
            truncated_normal_(self.positions, 1 / self.scale)

    @property
    def mixed(self) -> int:
        """Positions that mix with each other."""
        return self.config.puzzle_tokens + self.shape.cells

    @property
    def length(self) -> int:
        """L, positions of a state."""
        return self.mixed * (len(self.shape.symbols) if self.fields else 1)

    def forward(self, inputs: Tensor, puzzle_ids: Tensor) -> Tensor:
        if self.fields:
            held = inputs.unsqueeze(1) == self.symbols[:, None]
            inputs = (held.any(1, keepdim=True).long() + held.long()).flatten(1)
        x = self.tokens(inputs)
        if self.config.puzzle_tokens:
            # One vector per puzzle fills the first position, zeros the padding after it.
            puzzle = self.puzzles(puzzle_ids).unsqueeze(1)
            puzzle = F.pad(puzzle, (0, 0, 0, self.config.puzzle_tokens - 1))
            x = torch.cat((puzzle, x), dim=1)
        if self.config.positions == "learned":
            # Equal variance for token and position, as HRM does.
            x = math.sqrt(0.5) * (x + self.positions)
        return (self.scale * x).to(activation_dtype(self.tokens.weight))


class GridHeads(nn.Module):
    """y (B, L, D) to logits (B, cells, vocabulary) and scores (B, 2) = (halt, continue), wide.

    With a field for each symbol its logit is read from its own state, the other tokens' from the
    mean of the fields.
    """

    def __init__(self, config: NetConfig, shape: GridShape):
        super().__init__()
        self.puzzle_tokens = config.puzzle_tokens
        self.mean = config.halting_from == "mean"
        self.fields = len(_exchanged(shape.symbols)) if config.fields == "digits" else 0
        if self.fields:
            others = [token for token in range(shape.vocabulary) if token not in shape.symbols]
            order = torch.tensor([*shape.symbols, *others]).argsort()
            self.register_buffer("order", order, persistent=False)
            self.other_head = linear(config.width, len(others))
        self.lm_head = linear(config.width, 1 if self.fields else shape.vocabulary)
        self.q_head = nn.Linear(config.width, 2)
        nn.init.zeros_(self.q_head.weight)
        nn.init.constant_(self.q_head.bias, -5.0)

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        if self.fields:
            fields = y.unflatten(1, (self.fields, -1))
            own = self.lm_head(fields).squeeze(-1).transpose(1, 2)
            logits = torch.cat((own, self.other_head(fields.mean(1))), -1)[..., self.order]
        else:
            logits = self.lm_head(y[:, self.puzzle_tokens :])
        read = y.mean(1) if self.mean else y[:, 0]
        return wide(logits), wide(self.q_head(read))
