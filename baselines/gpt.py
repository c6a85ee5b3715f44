"""The Transformer language model: every block once, or the whole stack several times.

With value embeddings it is the Attractor paper's baseline (nanochat's), about half of whose
parameters are tables; without, it is the control that a weight-tied stack of the same blocks must
be compared with. With `loops` it is a plain looped Transformer (Dehghani et al. 2019, without
halting): x <- stack(x) on the residual stream, from the embedding, with a gradient through every
loop, and no solver, gate or injection. Blocks and initialisation: reasoning.nn.causal.
"""

import torch
from torch import Tensor, nn

from baselines.configs import GPTConfig
from reasoning.nn.cache import KV, CacheKind, LoopCache, ModelCache
from reasoning.nn.causal import CausalBlock
from reasoning.nn.language import CausalLM, Lookups
from reasoning.pretraining.protocol import Cost, LMOutput, SolveBudget


class GPT(CausalLM):
    Config = GPTConfig
    config: GPTConfig

    def __init__(self, config: GPTConfig, vocabulary: int):
        super().__init__(config, vocabulary)
        places = Lookups.places(config.layers) if config.value_embeddings else []
        self.stack = nn.ModuleList(
            CausalBlock(config.block, lookup=i in places) for i in range(config.layers)
        )
        self.lookups = Lookups(self, config.layers) if config.value_embeddings else None

    def forward(
        self,
        tokens: Tensor,
        budget: SolveBudget = SolveBudget(),  # noqa: B008 - frozen
        seeds: Tensor | None = None,
        cache: ModelCache | None = None,
    ) -> LMOutput:
        """Logits (B, S, V). A budget sets the loops where there are several; its tolerance and
        `seeds` mean nothing here. Diagnostics (B, S), of a looped model: evaluations, its loops."""
        loops = self._loops(budget)
        position, given = self.begin(tokens, cache, loops)
        rows = None if self.lookups is None else self.lookups(tokens)
        x = self.embedding(tokens)
        for k in range(loops):
            kvs = self._kept(cache, k, position)
            x = given.run(self.stack, x, kvs, rows)
            if cache is not None and cache.loop is not None and k == loops - 1:
                cache.loop.keep(kvs)
        if cache is not None:
            cache.length += tokens.shape[1]
        if self.config.loops == 1:
            return LMOutput(self.logits(x))
        return LMOutput(self.logits(x), {"evaluations": torch.full_like(tokens, loops)})

    def _loops(self, budget: SolveBudget) -> int:
        if self.config.loops == 1 or budget.max_evaluations is None:
            return self.config.loops
        return budget.max_evaluations

    def _kept(self, cache: ModelCache | None, loop: int, position: int) -> list[KV] | None:
        if cache is None or cache.loop is None:
            return cache and cache.once
        return cache.loop.at(loop, position)

    def new_cache(self, kind: CacheKind = "trajectory") -> ModelCache:
        """An empty cache; `kind` as in reasoning.nn.cache, a solution being the last loop's. Of a
        stack applied once both are one."""
        if self.config.loops == 1:
            return ModelCache([KV() for _ in self.stack])
        return ModelCache([], LoopCache(len(self.stack), kind))

    def blocks(self) -> list[nn.Module]:
        """All blocks in order."""
        return list(self.stack)

    def repeated_blocks(self) -> list[nn.Module]:
        """All, where they are looped."""
        return list(self.stack) if self.config.loops > 1 else []

    def cost(self) -> Cost:
        """Counts for the FLOP rules; a looped stack is the core."""
        lookups = [] if self.lookups is None else [self.lookups]
        if self.config.loops == 1:
            return self.count(once=list(self.stack), lookups=lookups)
        return self.count(once=[], core=list(self.stack), lookups=lookups)
