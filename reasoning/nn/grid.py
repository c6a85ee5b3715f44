"""What every grid model shares: the network config, embeddings in, heads out.

Facts: TRM (arXiv 2510.04871) and HRM (arXiv 2506.21734). A grid of `cells` tokens is preceded by
`puzzle_tokens` positions that hold the puzzle's own embedding; logits are read from the cells of y
and the halting score from its position 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reasoning.errors import InputError
from reasoning.net_config import NetConfig
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
    """ValueError if there are fewer than two."""
    if len(symbols) < 2:
        raise InputError(
            "fields digits need two symbols or more that can be exchanged: this puzzle has "
            f"{len(symbols) or 'none'}"
        )
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
