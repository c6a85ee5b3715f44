"""The Attractor language model (Solve the Loop, sections 3 and 4.1).

A backbone of causal blocks turns the tied embedding into a proposal c, un-normalised; the head's
gated blocks define f(y) = c + g(y + c), solved from y = c (see reasoning.nn.equilibrium); the
solution is read out like any embedding:

    logits = RMS(y*) E^T,  with a budget of no evaluations RMS(c) E^T.

Controls and ablations are settings: `head` absent (the backbone alone) or frozen as it started,
`injection`, `start`, and everything of the solver and the gradient. A solved fixed point does not
depend on its start, which gets no gradient from an implicit method; c gets its own through f.

Choices where the paper is silent: under "phantom" the training value is the end of the phantom
steps and the evaluated one the solver's, the same fixed point; Gaussian starts have deviation
`start_deviation` and are drawn per sequence from its seed, or from `start_seed` in evaluation.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from reasoning.attractor_lm_config import AttractorLMConfig
from reasoning.errors import InputError
from reasoning.names import CacheKind
from reasoning.nn.cache import KV, LoopCache, ModelCache
from reasoning.nn.causal import CausalBlock, Pass
from reasoning.nn.equilibrium import Equilibrium, EquilibriumStack, StateMap, norms
from reasoning.nn.language import CausalLM, noise_at
from reasoning.precision import wide
from reasoning.pretraining.protocol import Cost, LMOutput, SolveBudget
from reasoning.randomness import normal


class AttractorLM(CausalLM):
    Config = AttractorLMConfig
    config: AttractorLMConfig
    head_prefix = "head."

    def __init__(self, config: AttractorLMConfig, vocabulary: int):
        super().__init__(config, vocabulary)
        self.backbone = nn.ModuleList(
            CausalBlock(config.block) for _ in range(config.backbone_layers)
        )
        if config.head == "absent":
            self.head = None
        else:
            self.head = EquilibriumStack(
                config.block, config.head_layers, config.gate, config.injection
            ).requires_grad_(config.head == "trained")

    def forward(
        self,
        tokens: Tensor,
        budget: SolveBudget = SolveBudget(),  # noqa: B008 - frozen
        seeds: Tensor | None = None,
        cache: ModelCache | None = None,
    ) -> LMOutput:
        """Logits (B, S, V). Diagnostics (B, S): proposal_norm |c|, displacement |y* - c| / |c|,
        and the solver's residual, evaluations, converged. A cache is for decoding: no gradients."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and cache is None):
            c, found, given = self._solve(tokens, budget, seeds, cache)
            if cache is not None:
                cache.length += tokens.shape[1]
            size = norms(c)
            moved = norms(found.value.detach() - c.detach()) / size.clamp_min(1e-15)
            own = {"proposal_norm": size, "displacement": moved}
            terms = self._terms(c, found.value.detach(), given) if torch.is_grad_enabled() else {}
            return LMOutput(self.logits(found.value), found.diagnostics | own, terms)

    def _terms(self, c: Tensor, y: Tensor, given: Pass) -> dict[str, Callable[[Tensor], Tensor]]:
        if self.head is None:
            return {}
        return {
            "internalisation": lambda seeds: _squared_distance(c, y),
            "jacobian": self.head.jacobian_term(y, c, given),
        }

    def _solve(
        self, tokens: Tensor, budget: SolveBudget, seeds: Tensor | None, cache: ModelCache | None
    ) -> tuple[Tensor, Equilibrium, Pass]:
        position, given = self.begin(tokens, cache, budget)
        c = given.run(self.backbone, self.embedding(tokens), cache and cache.once)
        most = budget.max_evaluations
        most = self.config.solver.max_evaluations if most is None else most
        if self.head is None or most == 0:
            return c, _unsolved(c), given
        start = self._start(tokens, c, seeds, position)
        loop = cache and cache.loop
        found = self.head.solve(c, start, given, self.config, budget, loop, position)
        return c, found, given

    def _start(self, tokens: Tensor, c: Tensor, seeds: Tensor | None, position: int) -> Tensor:
        if self.config.start == "proposal":
            return c
        if self.config.start == "zero":
            return torch.zeros_like(c)
        drawn = noise_at(seeds, self.config.start_seed, tokens, position, self.config.width, normal)
        return (self.config.start_deviation * drawn).to(c.dtype)

    @torch.no_grad()
    def fixed_point(
        self,
        tokens: Tensor,
        budget: SolveBudget = SolveBudget(),  # noqa: B008 - frozen
    ) -> tuple[StateMap, Tensor, Tensor]:
        """The map f on (B, S, D) at these tokens, its proposal c and solution, for probes of
        contraction and of the way to the solution. ValueError without a head."""
        if self.head is None:
            raise InputError("a model without a head has no map: choose head trained or frozen")
        c, found, given = self._solve(tokens, budget, None, None)
        return lambda y: self.head.image(y, c, given), c, found.value

    def new_cache(self, kind: CacheKind = "trajectory") -> ModelCache:
        """An empty cache; `kind` as in reasoning.nn.cache."""
        loop = None if self.head is None else LoopCache(self.config.head_layers, kind)
        return ModelCache([KV() for _ in self.backbone], loop)

    def blocks(self) -> list[nn.Module]:
        """Backbone, then head."""
        return [*self.backbone, *([] if self.head is None else self.head.blocks)]

    def repeated_blocks(self) -> list[nn.Module]:
        """The head."""
        return [] if self.head is None else list(self.head.blocks)

    def cost(self) -> Cost:
        """Counts for the FLOP rules; the head is the repeated part."""
        core = [] if self.head is None else list(self.head.blocks)
        if self.config.injection == "concatenation" and self.head is not None:
            core.append(self.head.mix)
        return self.count(once=list(self.backbone), core=core)


def _squared_distance(c: Tensor, y: Tensor) -> Tensor:
    """(B,) |c - y|^2 / |y|^2, the mean over tokens."""
    apart, size = (wide(v).square().sum(-1) for v in (c - y, y))
    return (apart / size.clamp_min(1e-30)).mean(1)


def _unsolved(c: Tensor) -> Equilibrium:
    tokens = c.shape[:2]
    return Equilibrium(
        c,
        {
            "residual": c.new_full(tokens, torch.inf, dtype=torch.float32),
            "evaluations": torch.zeros(tokens, dtype=torch.int64, device=c.device),
            "converged": torch.zeros(tokens, dtype=torch.bool, device=c.device),
        },
    )
