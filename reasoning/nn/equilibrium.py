"""The fixed point of a causal stack of blocks, solved token by token.

With head(u) = u + g(u) a stack of gated blocks and c an injected state, the map is

    f(y) = c + g(y + c)                additive
    f(y) = c + g(W [y; c])             concatenation; W starts at [I I], where the two agree
    f(y) = g(y)                        initial: c is where the solver starts and nothing more

so J = dg/du and df/dc = I + J. (y <- head(y + c), as one line of the Attractor paper reads, is
another map with another fixed point.) Under "initial" an implicit gradient does not reach c at all,
for a fixed point does not depend on where its solver began.

Tokens are the solver's samples: each has its own mixing weights, stopping and best iterate, and a
token that stopped stands still in what later ones see. So a token's solution depends on the tokens
before it and on nothing else, bit for bit, and a cache can hold it (reasoning.nn.cache). The last
evaluation's image is what is returned: T evaluations are T steps. Gradients need not be causal: the
adjoint's samples are whole sequences, and so `clip` bounds |u| by |v| over a sequence. Per token it
would cut off what reaches a well-predicted token, whose own v is small, from later ones.

Shapes: B sequences, S tokens, D width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from reasoning.fixed_point import Picard, Unrolled, solve
from reasoning.nn.cache import KV, LoopCache
from reasoning.nn.causal import BlockShape, CausalBlock, GateConfig, Pass
from reasoning.nn.language import LanguageConfig
from reasoning.precision import wide
from reasoning.pretraining.flops import NO_CORE, Passes
from reasoning.pretraining.protocol import SolveBudget
from reasoning.solver_config import GradientConfig, SolverConfig

Injection = Literal["additive", "concatenation", "initial"]
StateMap = Callable[[Tensor], Tensor]


class EquilibriumConfig(LanguageConfig):
    """A language model that solves for a fixed point. Defaults: the paper's at 140M."""

    gate: GateConfig = Field(default_factory=GateConfig, description="gates of the solved blocks")
    solver: SolverConfig = Field(
        default_factory=lambda: SolverConfig(tolerance=3e-4, max_evaluations=64, min_evaluations=6),
        description="the forward solve, per token",
    )
    gradient: GradientConfig = Field(
        default_factory=lambda: GradientConfig(kind="one-step"), description="the backward pass"
    )

    def has_map(self) -> bool:
        return True

    def published_passes(self) -> Passes:
        return Passes(7, 1)

    def gradient_passes(self) -> Passes:
        return Passes(*self.gradient.passes()) if self.has_map() else NO_CORE


@dataclass(frozen=True)
class Equilibrium:
    """y (B, S, D) and, per token (B, S): residual of the best iterate, evaluations, converged."""

    value: Tensor
    diagnostics: dict[str, Tensor]


class EquilibriumStack(nn.Module):
    """Gated blocks and the fixed point of their map."""

    def __init__(
        self, shape: BlockShape, layers: int, gate: GateConfig, injection: Injection = "additive"
    ):
        super().__init__()
        self.injection = injection
        self.blocks = nn.ModuleList(CausalBlock(shape, gate=gate) for _ in range(layers))
        if injection == "concatenation":
            self.mix = nn.Linear(2 * shape.width, shape.width, bias=False)
            with torch.no_grad():
                self.mix.weight.copy_(torch.eye(shape.width).repeat(1, 2))

    def image(self, y: Tensor, c: Tensor, given: Pass, kvs: list[KV] | None = None) -> Tensor:
        """f(y) in the residual stream's precision, extending `kvs`."""
        if self.injection == "initial":
            u = y
        elif self.injection == "concatenation":
            u = self.mix(torch.cat((y, c), dim=-1)).to(y.dtype)
        else:
            u = y + c
        g = given.run(self.blocks, u, kvs) - u
        return g if self.injection == "initial" else c + g

    def solve(
        self,
        c: Tensor,
        start: Tensor,
        given: Pass,
        config: EquilibriumConfig,
        budget: SolveBudget,
        cache: LoopCache | None = None,
        position: int = 0,
    ) -> Equilibrium:
        """The fixed point for c (B, S, D), from `start`; without a graph if there is a cache."""
        solver = config.solver.build(
            budget.max_evaluations, budget.tolerance, early_exit=True, final_step=True
        )
        made = count()

        def per_token(rows: Tensor) -> Tensor:
            kvs = None if cache is None else cache.at(next(made), position)
            return self.image(rows.view(c.shape), c, given, kvs).flatten(0, 1)

        gradient = config.gradient.build(early_exit=True)
        unrolled = isinstance(gradient, Unrolled)
        graph = torch.is_grad_enabled() and cache is None
        with torch.set_grad_enabled(graph and unrolled):
            solution = solve(per_token, start.flatten(0, 1), solver, Unrolled())
        y = solution.value.view(c.shape)
        if graph and not unrolled:
            attach = Picard(max_evaluations=0)
            y = solve(lambda y: self.image(y, c, given), y, attach, gradient).value
        if cache is not None:
            self._rest(y, c, given, cache, position, next(made), solver.max_evaluations)
        tokens = c.shape[:2]
        report = {
            "residual": solution.residual.view(tokens),
            "evaluations": solution.evaluations.view(tokens),
            "converged": solution.converged.view(tokens),
        }
        return Equilibrium(y, report)

    @torch.no_grad()
    def _rest(
        self,
        y: Tensor,
        c: Tensor,
        given: Pass,
        cache: LoopCache,
        position: int,
        evaluations: int,
        most: int,
    ) -> None:
        """Fill the cache with what later tokens see of these once they have stopped."""
        if not evaluations:  # the proposal is read out: later tokens will not look here either
            return
        for evaluation in cache.unfilled(evaluations, most):
            kvs = cache.at(evaluation, position)
            self.image(y, c, given, kvs)
            cache.keep(kvs)


def norms(y: Tensor) -> Tensor:
    """|y| of every token (B, S), without a graph."""
    return wide(y.detach()).norm(dim=-1)
