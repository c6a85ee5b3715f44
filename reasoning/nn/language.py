"""The frame of every causal language model: embedding, positions, lookups, readout, counts.

Tied readout: logits = RMS(x) E^T, in fp32, without a soft cap. Embedding and value tables start
truncated normal of deviation sqrt(2 / (5 D)), so that tied logits start below 1. Choice: the
released code's embedding starts orthogonal, its value tables at N(0, 1), and their gates, which
here are zero and AdamW's, as PyTorch's linear layers do, and are Muon's.

Shapes: B sequences, S tokens, D width, V vocabulary.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reasoning.errors import InputError
from reasoning.language_config import LanguageConfig, LanguageFacts  # noqa: F401 - once lay here
from reasoning.nn.cache import ModelCache
from reasoning.nn.causal import EPS, ROTARY_BASE, CausalBlock, Pass, init_deviation
from reasoning.nn.layers import rotary_table, truncated_normal_
from reasoning.precision import wide
from reasoning.pretraining.protocol import Cost, Role
from reasoning.randomness import fold

Draw = Callable[[Tensor, tuple[int, ...]], Tensor]  # of reasoning.randomness
_STATES = 1  # tells a sequence's random states from its other draws


class CausalLM(nn.Module):
    """Embedding, final norm and tied readout around what a model does between; models add
    `forward`, `new_cache`, `blocks` and `cost` (see reasoning.pretraining.protocol)."""

    head_prefix: str | None = None  # of the parameters the optimiser treats as an attractor head's

    def __init__(self, config: LanguageConfig, vocabulary: int):
        super().__init__()
        self.config, self.vocabulary, self.context = config, vocabulary, config.context
        self.embedding = self.table()
        self.norm = nn.RMSNorm(config.width, eps=EPS)
        cos, sin = rotary_table(config.context, config.head_width, ROTARY_BASE)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def table(self) -> nn.Embedding:
        """A vector of D channels for every token."""
        table = nn.Embedding(self.vocabulary, self.config.width)
        truncated_normal_(table.weight, init_deviation(self.config.width))
        return table

    def begin(self, tokens: Tensor, cache: ModelCache | None, budget: Any) -> tuple[int, Pass]:
        """The first token's position and what blocks get. ValueError past the context."""
        start = 0 if cache is None else cache.length
        stop = start + tokens.shape[1]
        if stop > self.context:
            raise InputError(
                f"{stop} positions exceed the model's context of {self.context}: shorten the text"
            )
        if cache is not None:
            cache.agree(budget)
        return start, Pass((self.cos[start:stop], self.sin[start:stop]), self.config.checkpoint)

    def logits(self, x: Tensor, matrix: Tensor | None = None) -> Tensor:
        """RMS(x) E^T (B, S, V), fp32; `matrix` (V, D) in place of the embedding."""
        return wide(F.linear(self.norm(x), self.embedding.weight if matrix is None else matrix))

    def repeated_blocks(self) -> list[nn.Module]:
        """Blocks called as often as the data asks for; none unless a model says so."""
        return []

    def parameter_roles(self) -> dict[str, Role]:
        """Weights of blocks and other projections are matrices, lookup gates are not."""
        return {name: self._role(name, parameter) for name, parameter in self.named_parameters()}

    def _role(self, name: str, parameter: Tensor) -> Role:
        owner = self.get_submodule(name.rpartition(".")[0])
        if isinstance(owner, nn.Embedding):
            return "embedding"
        matrix = parameter.dim() == 2 and "lookup_gate" not in name
        if self.head_prefix is not None and name.startswith(self.head_prefix):
            return "head_matrix" if matrix else "head_scalar"
        return "matrix" if matrix else "scalar"

    def count(
        self,
        once: list[nn.Module],
        core: list[nn.Module] = (),
        lookups: list[nn.Module] = (),
    ) -> Cost:
        """Costs of a model whose matmuls apart from the readout lie in `once` and `core`."""
        return Cost(
            total=sum(p.numel() for p in self.parameters()),
            embedding=self.embedding.weight.numel(),
            lookups=_all_weights(lookups),
            once=_matmul_weights(once),
            once_layers=sum(isinstance(module, CausalBlock) for module in once),
            core=_matmul_weights(core),
            core_layers=sum(isinstance(module, CausalBlock) for module in core),
            width=self.config.width,
            core_scales=_all_weights(core) - _matmul_weights(core),
        )


def _all_weights(modules: list[nn.Module]) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def _matmul_weights(modules: list[nn.Module]) -> int:
    linears = [m for module in modules for m in module.modules() if isinstance(m, nn.Linear)]
    return sum(linear.weight.numel() for linear in linears)


class Lookups(nn.Module):
    """Value-embedding tables of every second layer, the last included: i = L - 1 mod 2."""

    def __init__(self, model: CausalLM, layers: int):
        super().__init__()
        self.layers = layers
        self.tables = nn.ModuleDict({str(i): model.table() for i in self.places(layers)})

    @staticmethod
    def places(layers: int) -> list[int]:
        """The layers that look up values."""
        return [i for i in range(layers) if i % 2 == (layers - 1) % 2]

    def forward(self, tokens: Tensor) -> list[Tensor | None]:
        """For each layer its rows (B, S, D), or None."""
        return [
            self.tables[str(i)](tokens) if str(i) in self.tables else None
            for i in range(self.layers)
        ]


def noise_at(
    seeds: Tensor | None, fixed: int, tokens: Tensor, start: int, width: int, draw: Draw
) -> Tensor:
    """States (B, S, D) that depend on nothing but a sequence's seed and the position, counted from
    `start`. Without seeds, for evaluation, every sequence gets those of the seed `fixed`.

    seeds: int64 (B,); tokens: (B, S), of which the shape and the device count; width: D; draw: the
    distribution, of `reasoning.randomness`.
    """
    batch, length = tokens.shape
    if seeds is None:
        seeds = torch.full((batch,), fixed, device=tokens.device)
    places = fold(seeds, _STATES)[:, None] + torch.arange(
        start, start + length, device=seeds.device
    )
    return draw(places.flatten(), (width,)).view(batch, length, width)
