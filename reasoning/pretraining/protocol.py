"""What pretraining, evaluation and generation need of a language model: the one protocol.

Every model is seen through it alone, so data order, budget and metric are the same for all.

Shapes: B sequences, S tokens, V vocabulary.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor, nn


@dataclass(frozen=True)
class SolveBudget:
    """How much a model may iterate in one forward pass; None keeps the model's own.

    max_evaluations: T, most evaluations of the map per token (Parcae: steps); 0 reads the
        proposal out unrefined;
    tolerance: relative residual at which a token stops.
    """

    max_evaluations: int | None = None
    tolerance: float | None = None


@dataclass(frozen=True)
class LMOutput:
    """logits: (B, S, V) fp32; diagnostics: per-token numbers (B, S), such as residual, evaluations,
    converged, |proposal| and |solution - proposal|; terms: what a loss may add, by its name there:
    of seeds (B,), with a graph, a mean over tokens (B,), computed when asked."""

    logits: Tensor
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)
    terms: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)


# How the optimiser treats a parameter: `matrix` is Muon's (2-D, of the backbone), the rest AdamW's;
# `head_*` are the attractor head's, with its own learning rate and decay.
Role = Literal["matrix", "embedding", "scalar", "head_matrix", "head_scalar"]


@dataclass(frozen=True)
class Cost:
    """What the FLOP rules need to know of a model. Counts are parameters unless named otherwise.

    total: all parameters; embedding: the token embedding; lookups: value-embedding tables;
    once: weights of the matmuls every token passes once, the unembedding apart (a tied one counts
        as a matmul of `embedding` parameters); once_layers: attention layers among them;
    core: weights of the matmuls of one evaluation of the repeated part, charged by the
        `diagnostics["evaluations"]` that forward reports; core_layers: its attention layers;
    width: d;
    core_scales: parameters of the repeated part that multiply no matrix: norms, gates.
    """

    total: int
    embedding: int
    lookups: int
    once: int
    once_layers: int
    core: int
    core_layers: int
    width: int
    core_scales: int = 0


class LanguageModel(Protocol):
    """Tokens in, logits out. Also an nn.Module."""

    vocabulary: int
    context: int  # longest sequence, in tokens

    def forward(
        self,
        tokens: Tensor,
        budget: SolveBudget = ...,
        seeds: Tensor | None = None,
        cache: Any | None = None,
    ) -> LMOutput:
        """tokens (B, S) int64. budget: how much the model may iterate; by default as much as its
        own settings say. seeds (B,) int64 make a training pass random per sequence where the model
        is (None: evaluation, nothing is random). cache: from `new_cache`, extended in place;
        positions go on from it. ValueError for more than `context` positions."""

    def new_cache(self, kind: Literal["trajectory", "solution"] = "trajectory") -> Any:
        """An empty cache for decoding. `kind`: whether repeated layers keep the keys and values of
        every evaluation, or those of the last alone (see reasoning.nn.cache)."""

    def parameter_roles(self) -> dict[str, Role]:
        """A role for every named parameter."""

    def cost(self) -> Cost:
        """Counts for the FLOP rules."""

    def blocks(self) -> list[nn.Module]:
        """The modules to compile and shard one by one."""

    def repeated_blocks(self) -> list[nn.Module]:
        """Those of them that are called as often as the data asks for: processes would not gather
        their shards in step, so they stay with the rest of the model."""
