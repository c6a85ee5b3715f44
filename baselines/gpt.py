"""The Transformer language model: every block once.

With value embeddings it is the Attractor paper's baseline (nanochat's), about half of whose
parameters are tables; without, it is the control that a weight-tied stack of the same blocks must
be compared with. Blocks and initialisation: reasoning.nn.causal.
"""

from torch import Tensor, nn

from baselines.configs import GPTConfig
from reasoning.nn.cache import KV, CacheKind, ModelCache
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
        """Logits (B, S, V); budget and seeds mean nothing here."""
        _, given = self.begin(tokens, cache, None)
        rows = None if self.lookups is None else self.lookups(tokens)
        x = given.run(self.stack, self.embedding(tokens), cache and cache.once, rows)
        if cache is not None:
            cache.length += tokens.shape[1]
        return LMOutput(self.logits(x))

    def new_cache(self, kind: CacheKind = "trajectory") -> ModelCache:
        """An empty cache; nothing is repeated, so both kinds are one."""
        return ModelCache([KV() for _ in self.stack])

    def blocks(self) -> list[nn.Module]:
        """All blocks in order."""
        return list(self.stack)

    def cost(self) -> Cost:
        """Counts for the FLOP rules."""
        lookups = [] if self.lookups is None else [self.lookups]
        return self.count(once=list(self.stack), lookups=lookups)
