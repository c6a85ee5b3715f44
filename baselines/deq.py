"""The deep-equilibrium language model (Bai et al. 2019): no backbone, a hidden state from zero.

    z* = x + g(z* + x), solved from z = 0, with x the token embedding injected at every evaluation.

g, solver and gradient are the Attractor's (reasoning.nn.equilibrium), so what differs is the
paper's point alone: no proposal to start from and, unless `tied`, an output matrix of its own.
Choices where the paper is silent: all blocks are solved for; parameters are matched to the
Attractor's in scripts.models.lm_models. A budget of no evaluations reads out z = 0: uniform
predictions.
"""

import torch
from torch import Tensor, nn

from baselines.configs import DEQConfig
from reasoning.nn.cache import CacheKind, LoopCache, ModelCache
from reasoning.nn.causal import Pass
from reasoning.nn.equilibrium import Equilibrium, EquilibriumStack, StateMap
from reasoning.nn.language import CausalLM
from reasoning.pretraining.protocol import Cost, LMOutput, SolveBudget


class DEQ(CausalLM):
    Config = DEQConfig
    config: DEQConfig

    def __init__(self, config: DEQConfig, vocabulary: int):
        super().__init__(config, vocabulary)
        self.stack = EquilibriumStack(config.block, config.layers, config.gate)
        self.unembedding = None if config.tied else self.table()

    def forward(
        self,
        tokens: Tensor,
        budget: SolveBudget = SolveBudget(),  # noqa: B008 - frozen
        seeds: Tensor | None = None,
        cache: ModelCache | None = None,
    ) -> LMOutput:
        """Logits (B, S, V). Diagnostics (B, S): residual, evaluations, converged. Nothing is
        random. A cache is for decoding: no gradients."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and cache is None):
            found, x, given = self._solve(tokens, budget, cache)
            if cache is not None:
                cache.length += tokens.shape[1]
            matrix = None if self.unembedding is None else self.unembedding.weight
            z, terms = found.value.detach(), {}
            if torch.is_grad_enabled():
                terms["jacobian"] = self.stack.jacobian_term(z, x, given)
            return LMOutput(self.logits(found.value, matrix), found.diagnostics, terms)

    def _solve(
        self, tokens: Tensor, budget: SolveBudget, cache: ModelCache | None
    ) -> tuple[Equilibrium, Tensor, Pass]:
        position, given = self.begin(tokens, cache, budget)
        x = self.embedding(tokens)
        loop = cache and cache.loop
        zero = torch.zeros_like(x)
        return self.stack.solve(x, zero, given, self.config, budget, loop, position), x, given

    @torch.no_grad()
    def fixed_point(
        self,
        tokens: Tensor,
        budget: SolveBudget = SolveBudget(),  # noqa: B008 - frozen
    ) -> tuple[StateMap, Tensor, Tensor]:
        """The map on (B, S, D) at these tokens, the embedding and the solution, for probes."""
        found, x, given = self._solve(tokens, budget, None)
        return lambda z: self.stack.image(z, x, given), x, found.value

    def new_cache(self, kind: CacheKind = "trajectory") -> ModelCache:
        """An empty cache; `kind` as in reasoning.nn.cache."""
        return ModelCache([], LoopCache(self.config.layers, kind))

    def blocks(self) -> list[nn.Module]:
        """The blocks of the map."""
        return list(self.stack.blocks)

    def repeated_blocks(self) -> list[nn.Module]:
        """All of them."""
        return self.blocks()

    def cost(self) -> Cost:
        """Counts for the FLOP rules; everything but the readout is repeated."""
        return self.count(once=[], core=list(self.stack.blocks))
