"""Parcae (Prairie et al. 2026): a looped language model with a prelude, a core and a coda.

With e = RMS(prelude(E x)), scaled, and h0 random,

    h <- core(a h + D (B e)),  a = exp(-D A), D = softplus(dt), A = exp(A_log), per channel,

so 0 < a < 1; readout: coda(C h), norm, tied unembedding. In training a sequence takes
N = max(1, Poisson(8)) steps, of which the last min(N, 4) carry the gradient; in evaluation 8.

Details, with their source
* A = 1, a = sqrt(1/5), B = I before training; h0 truncated normal of deviation sqrt(2/(5D)), in
  evaluation too ("like-init"; there seeded by `start_seed` and the position alone).
* Steps are per sequence ("per-sequence", table 10). Sequences end together, so that the steps with
  a gradient are the last of the batch; one that takes fewer keeps its h0 until its turn.
* Value embeddings as in the Transformer, layers counted through prelude, core and coda.
* Choices: C is initialised like any matrix, and B and C are matrices to the optimiser as well. The
  released code gives the two to AdamW without decay, which was no better here (a loss of 2.73 for
  2.67 after 60 small steps, one seed).

A budget sets the steps, in training too; its tolerance has no meaning here.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.configs import ParcaeConfig
from reasoning.nn.cache import KV, CacheKind, LoopCache, ModelCache
from reasoning.nn.causal import EPS, CausalBlock, Pass, init_deviation, orthogonal_linear
from reasoning.nn.language import CausalLM, Lookups, noise_at
from reasoning.pretraining.protocol import Cost, LMOutput, SolveBudget
from reasoning.randomness import poisson, truncated_normal

_INITIAL_DECAY = math.sqrt(1 / 5)


class Parcae(CausalLM):
    Config = ParcaeConfig
    config: ParcaeConfig

    def __init__(self, config: ParcaeConfig, vocabulary: int):
        super().__init__(config, vocabulary)
        depths = (config.prelude_layers, config.core_layers, config.coda_layers)
        places = Lookups.places(sum(depths)) if config.value_embeddings else []
        blocks = [CausalBlock(config.block, lookup=i in places) for i in range(sum(depths))]
        ends = (depths[0], depths[0] + depths[1])
        self.prelude, self.core, self.coda = (
            nn.ModuleList(part)
            for part in (blocks[: ends[0]], blocks[ends[0] : ends[1]], blocks[ends[1] :])
        )
        self.lookups = Lookups(self, sum(depths)) if config.value_embeddings else None
        width, deviation = config.width, init_deviation(config.width)
        self.injected_norm = nn.RMSNorm(width, eps=EPS)
        self.injection = nn.Linear(width, width, bias=False)  # B
        nn.init.eye_(self.injection.weight)
        self.readout = orthogonal_linear(width, width, deviation)  # C
        # softplus(dt) = -log(a) at A = 1
        self.dt = nn.Parameter(torch.full((width,), math.log(1 / _INITIAL_DECAY - 1)))
        self.a_log = nn.Parameter(torch.zeros(width))

    def forward(
        self,
        tokens: Tensor,
        budget: SolveBudget = SolveBudget(),  # noqa: B008 - frozen
        seeds: Tensor | None = None,
        cache: ModelCache | None = None,
    ) -> LMOutput:
        """Logits (B, S, V). Diagnostics (B, S): evaluations, the steps taken. `seeds` draw h0 and
        the number of steps. A cache is for decoding: no gradients, no seeds."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and cache is None):
            position, given = self.begin(tokens, cache, budget)
            rows = self._rows(tokens)
            prelude, coda = self._once(cache)
            x = given.run(self.prelude, self.embedding(tokens), prelude, rows[0])
            step_size = F.softplus(self.dt)
            injected = step_size * self.injection(self.injected_norm(x))
            decay = torch.exp(-step_size * self.a_log.exp())
            width = self.config.width
            h = noise_at(
                seeds, self.config.start_seed, tokens, position, width, truncated_normal
            ).to(x.dtype)
            h = init_deviation(width) * h
            steps = self._steps(budget, seeds, len(tokens))
            loop = cache and cache.loop
            h = self._loop(h, decay, injected, steps, given, rows[1], loop, position)
            x = given.run(self.coda, self.readout(h).to(x.dtype), coda, rows[2])
            if cache is not None:
                cache.length += tokens.shape[1]
            taken = torch.tensor(steps, device=tokens.device)[:, None].expand(tokens.shape)
            return LMOutput(self.logits(x), {"evaluations": taken})

    def _loop(
        self,
        h: Tensor,
        decay: Tensor,
        injected: Tensor,
        steps: list[int],
        given: Pass,
        rows: list[Tensor | None],
        cache: LoopCache | None,
        position: int,
    ) -> Tensor:
        """h after each sequence's own steps, the last ones with a graph."""
        most, graph = max(steps), torch.is_grad_enabled()
        waits = torch.tensor([most - own for own in steps], device=h.device)[:, None, None]
        for k in range(most):
            kvs = None if cache is None else cache.at(k, position)
            with torch.set_grad_enabled(graph and k >= most - self.config.gradient_steps):
                stepped = given.run(self.core, decay * h + injected, kvs, rows)
                h = torch.where(waits <= k, stepped, h)
            if cache is not None and k == most - 1:
                cache.keep(kvs)
        return h

    def _steps(self, budget: SolveBudget, seeds: Tensor | None, batch: int) -> list[int]:
        """Each sequence's number of steps."""
        if budget.max_evaluations is not None:
            return [budget.max_evaluations] * batch
        if seeds is None:
            return [self.config.steps] * batch
        return poisson(seeds, self.config.steps).clamp_min(1).tolist()

    def _rows(self, tokens: Tensor) -> list[list[Tensor | None] | None]:
        """Looked-up values of prelude, core and coda."""
        if self.lookups is None:
            return [None, None, None]
        rows = self.lookups(tokens)
        ends = len(self.prelude), len(self.prelude) + len(self.core)
        return [rows[: ends[0]], rows[ends[0] : ends[1]], rows[ends[1] :]]

    def _once(self, cache: ModelCache | None) -> tuple[list[KV] | None, list[KV] | None]:
        if cache is None:
            return None, None
        return cache.once[: len(self.prelude)], cache.once[len(self.prelude) :]

    def new_cache(self, kind: CacheKind = "trajectory") -> ModelCache:
        """An empty cache; `kind` as in reasoning.nn.cache, a solution being the last step's."""
        once = [KV() for _ in (*self.prelude, *self.coda)]
        return ModelCache(once, LoopCache(len(self.core), kind))

    def blocks(self) -> list[nn.Module]:
        """Prelude, core and coda."""
        return [*self.prelude, *self.core, *self.coda]

    def repeated_blocks(self) -> list[nn.Module]:
        """The core."""
        return list(self.core)

    def cost(self) -> Cost:
        """Counts for the FLOP rules; B e is computed once, as C h is."""
        once = [*self.prelude, *self.coda, self.injection, self.readout]
        lookups = [] if self.lookups is None else [self.lookups]
        return self.count(once=once, core=list(self.core), lookups=lookups)
