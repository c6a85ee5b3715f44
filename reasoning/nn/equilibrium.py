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
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from reasoning.fixed_point import Picard, jacobian_energy, solve
from reasoning.fixed_point.iteration import Map, Tensors
from reasoning.language_config import BlockShape, EquilibriumConfig, GateConfig, Injection
from reasoning.nn.cache import KV, LoopCache
from reasoning.nn.causal import CausalBlock, Pass
from reasoning.nn.compilation import is_compiled
from reasoning.nn.moving import ROWS, Moving, filled_up
from reasoning.precision import wide
from reasoning.pretraining.protocol import SolveBudget
from reasoning.randomness import normal

StateMap = Callable[[Tensor], Tensor]


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
        """f(y) in the residual stream's precision, extending `kvs`, one for each block.

        y, c: (B, S, D), or of the moving tokens of `given` (1, A, D); given: what every block gets.
        """
        u = self._argument(y, c)
        g = given.run(self.blocks, u, kvs) - u
        return g if self.injection == "initial" else c + g

    def _argument(self, y: Tensor, c: Tensor) -> Tensor:
        if self.injection == "initial":
            return y
        if self.injection == "concatenation":
            return self.mix(torch.cat((y, c), dim=-1)).to(y.dtype)
        return y + c

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
        """The fixed point for c (B, S, D), from `start`; without a graph if there is a cache.

        start: (B, S, D); given: what every block gets; config: its solver and gradient; budget: in
        place of the solver's own, where it says one; cache: of the positions before, extended in
        place, None: there are none; position: that of the first token.
        """
        solver = config.solver.build(
            budget.max_evaluations, budget.tolerance, early_exit=True, final_step=True
        )
        gradient = config.gradient.build(early_exit=True)
        unrolled = gradient.through_solver
        graph = torch.is_grad_enabled() and cache is None
        narrow = self._restricts and c.shape[:2].numel() > ROWS and not (graph and unrolled)
        tokens = _Tokens(self, c, given, cache, position, narrow)
        with torch.set_grad_enabled(graph and unrolled):
            found = solver.run(
                tokens.all, (start.flatten(0, 1).clone(),), tokens.of if narrow else None
            )
        attached = gradient.attach(tokens.all, found) if graph and unrolled else found.value
        y = attached[0].view(c.shape)
        if graph and not unrolled:
            attach = Picard(max_evaluations=0)
            y = solve(lambda y: self.image(y, c, given), y, attach, gradient).value
        if cache is not None:
            self._rest(y, c, given, cache, position, tokens.made, solver.max_evaluations)
        report = {
            "residual": found.residual.view(c.shape[:2]),
            "evaluations": found.evaluations.view(c.shape[:2]),
            "converged": found.converged.view(c.shape[:2]),
        }
        return Equilibrium(y, report)

    def jacobian_term(self, y: Tensor, c: Tensor, given: Pass) -> Callable[[Tensor], Tensor]:
        """Of seeds (B,): an estimate of |J|_F^2 / (S D) of each sequence, with a graph to the
        blocks and to c. y, c: (B, S, D), y without a graph of its own; given: as of `solve`."""
        # Recomputed, attention would be fused again, which has no second derivatives.
        whole = replace(given, checkpoint=False)

        def term(seeds: Tensor) -> Tensor:
            probe = normal(seeds, y.shape[1:])
            return jacobian_energy(lambda w: self.image(w, c, whole), y, probe)

        return term

    @property
    def _restricts(self) -> bool:
        """Whether tokens at rest may leave: in a second block what others see of one still moves
        with the tokens before it, and a compiled block would be compiled for every number."""
        return len(self.blocks) == 1 and not is_compiled(self.blocks[0])

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


class _Tokens:
    """The map with tokens as samples (B S, D): all of them, or, of one block, those that move."""

    def __init__(
        self,
        stack: EquilibriumStack,
        c: Tensor,
        given: Pass,
        cache: LoopCache | None,
        position: int,
        narrow: bool,
    ):
        """narrow: whether `of` is asked for some of them; others: as of the stack's `solve`."""
        self.stack, self.c, self.given = stack, c, given
        self.cache, self.position, self.narrow = cache, position, narrow
        self.made = 0  # evaluations
        self.kvs: list[KV] = []  # of the last one

    def all(self, y: Tensors) -> Tensors:
        """Of every token."""
        return (self._image(y[0].view(self.c.shape), self.c, self.given).flatten(0, 1),)

    def of(self, places: Tensor, gone: Tensor, at_rest: Tensors) -> Map:
        """Of these tokens, for whom those `gone` from now on stand where they rest."""
        keys, values = self._seen()
        leaving, rows = self._pass(gone, keys, values)
        block = self.stack.blocks[0]
        u = self.stack._argument(at_rest[0][rows], self._c(leaving))
        seen = block.attention.project(block.attention_norm(u)[None], leaving.rotary, None)
        _, keys, values = leaving.moving.among_all(*seen)

        def moving(y: Tensors) -> Tensors:
            nonlocal keys, values
            given, rows = self._pass(places, keys, values)
            image = self._image(y[0][rows][None], self._c(given)[None], given)
            keys, values = self._seen()
            return (image[0, : len(places)],)

        return moving

    def _pass(self, places: Tensor, keys: Tensor, values: Tensor) -> tuple[Pass, Tensor]:
        """What the block gets for tokens at these places, and which of them its rows are of."""
        own = torch.arange(len(places), device=places.device)
        rows = filled_up(own, self.c.shape[:2].numel())
        moving = Moving(places[rows], keys, values)
        cos, sin = (table[moving.places % self.c.shape[1]] for table in self.given.rotary)
        return Pass((cos, sin), False, moving), rows

    def _c(self, given: Pass) -> Tensor:
        return self.c.flatten(0, 1)[given.moving.places]

    def _image(self, y: Tensor, c: Tensor, given: Pass) -> Tensor:
        if self.cache is not None:
            self.kvs = self.cache.at(self.made, self.position)
        elif self.narrow:
            self.kvs = [KV()]
        self.made += 1
        return self.stack.image(y, c, given, self.kvs or None)

    def _seen(self) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, S, K) of the last evaluation, without those of earlier texts."""
        (kv,) = self.kvs
        return kv.keys[:, :, self.position :], kv.values[:, :, self.position :]


def norms(y: Tensor) -> Tensor:
    """|y| of every token (B, S), without a graph."""
    return wide(y.detach()).norm(dim=-1)
