"""The frame of a recursive grid model: embedding, one net, heads, and the two initial states."""

import torch
from torch import Tensor, nn

from reasoning import randomness
from reasoning.errors import InputError
from reasoning.net_config import LoopConfig, ReasonerConfig
from reasoning.nn.grid import GridEmbedding, GridHeads, GridShape, Net, activation_dtype
from reasoning.nn.layers import truncated_normal_
from reasoning.supervision import SegmentOutput, State

_START = 1 << 20  # a use of a segment's seeds beyond the draws of its updates


class Reasoner(nn.Module):
    """Embedding, net and heads around a state (y, z), each (B, L, D); models add `segment`.

    A `LoopConfig` with one state has y alone.

    The initial states are one D-vector each, truncated normal of deviation 1, broadcast over
    samples and positions. "learned" makes them parameters. A gradient reaches them only through
    segments that do not detach their start: a solved fixed point does not depend on where its
    solver began, so with implicit or phantom gradients they keep their initial value, but for a y
    that is no part of what is solved. "random" draws every entry anew for every puzzle.

    EqR's two interventions (design of "Equilibrium Reasoners") serve every model: the random start,
    and damped noisy updates u <- a u + (1 - a) net(u, c) + s e, in training and at test time.
    """

    def __init__(self, config: ReasonerConfig, shape: GridShape):
        super().__init__()
        self.config, self.shape = config, shape
        single = isinstance(config, LoopConfig) and config.states == 1
        self.names = ("y",) if single else ("y", "z")
        self.embedding = GridEmbedding(config, shape)
        self.net = Net(config, self.embedding.mixed, shape.families, shape.symbols)
        self.heads = GridHeads(config, shape)
        for name in self.names if config.initial != "random" else ():
            vector = truncated_normal_(torch.empty(config.width), std=1.0)
            if config.initial == "learned":
                self.register_parameter(f"initial_{name}", nn.Parameter(vector))
            else:
                self.register_buffer(f"initial_{name}", vector)

    def nets(self) -> list[nn.Module]:
        """The nets that a segment calls, for compilation."""
        return [self.net]

    def initial_state(self, batch: int, seeds: Tensor | None = None) -> State:
        """(y, z) before the first segment, each (batch, L, D).

        seeds (batch,) int64 are needed where the start is random. ValueError without them.
        """
        shape = (self.embedding.length, self.config.width)
        dtype = activation_dtype(self.heads.lm_head.weight)
        if self.config.initial == "random":
            drawn = (randomness.fold(_present(seeds), i) for i in range(len(self.names)))
            return tuple(randomness.truncated_normal(s, shape).to(dtype) for s in drawn)
        vectors = (getattr(self, f"initial_{name}") for name in self.names)
        return tuple(vector.to(dtype).expand(batch, *shape) for vector in vectors)

    def restart(self, batch: int, seeds: Tensor | None) -> State:
        """An initial state within a segment, whose updates' noise draws from `seeds` as well."""
        return self.initial_state(batch, None if seeds is None else randomness.fold(seeds, _START))

    def update(
        self, net: Net, state: Tensor, injection: Tensor, seeds: Tensor | None, draw: int
    ) -> Tensor:
        """One call of a net, (B, L, D) to (B, L, D), damped and noisy where configured.

        state: what is updated; injection: what the net adds to it; seeds: int64 (B,), of the noise,
        None where there is none. `draw` tells the calls of a segment apart, so that each has its
        own noise. InputError for noise without seeds.
        """
        new = net(state, injection)
        if self.config.update_damping:
            # Written as EqR writes it: lerp rounds otherwise, which a segment's calls amplify.
            kept = self.config.update_damping
            new = kept * state + (1 - kept) * new
        if self.config.update_noise:
            noise = randomness.normal(randomness.fold(_present(seeds), draw), state.shape[1:])
            new = new + (self.config.update_noise * noise).to(new.dtype)
        return new

    def cycle(self, state: State, x: Tensor, steps: int, seeds: Tensor | None, first: int) -> State:
        """`steps` updates of z, then one of y; with one state, as many calls update y.

        x: the embedded puzzle (B, L, D); seeds: as in `update`; first: the number of the first call
        within its segment, for its noise.
        """
        if len(state) == 1:
            (y,) = state
            for i in range(steps + 1):
                y = self.update(self.net, y, x, seeds, first + i)
            return (y,)
        y, z = state
        for i in range(steps):
            z = self.update(self.net, z, y + x, seeds, first + i)
        return self.update(self.net, y, z, seeds, first + steps), z

    def decode(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y (B, L, D) to logits (B, cells, vocabulary) and scores (B, 2) = (halt, continue)."""
        return self.heads(y)

    def read(
        self,
        state: State,
        net_calls: Tensor,
        diagnostics: dict[str, Tensor],
        earlier: tuple[Tensor, ...] = (),
    ) -> SegmentOutput:
        """Decode y, detach the carry.

        state: the segment's last, with its graph; net_calls, diagnostics, earlier: as in
        `SegmentOutput`.
        """
        logits, q = self.decode(state[0])
        carry = tuple(part.detach() for part in state)
        return SegmentOutput(carry, logits, q, net_calls, diagnostics, earlier)


def _present(seeds: Tensor | None) -> Tensor:
    if seeds is None:
        raise InputError("this model draws random numbers: give seeds, one per sample")
    return seeds


_APART = ("embedding.puzzles.", "initial_y", "initial_z")


def parameter_count(model: nn.Module) -> int:
    """Trainable numbers, puzzle embedding and initial states apart, as the papers count them."""
    return sum(p.numel() for name, p in model.named_parameters() if not name.startswith(_APART))


def embedding_count(model: nn.Module) -> int:
    """Of `parameter_count`, those that embed tokens and positions: every `nn.Embedding`, wherever
    a model keeps it, and all of a `GridEmbedding`."""
    embeds = nn.Embedding | GridEmbedding
    parts = [m for m in model.modules() if isinstance(m, embeds)]
    within = {id(p) for part in parts for p in part.parameters()}
    counted = (p for name, p in model.named_parameters() if not name.startswith(_APART))
    return sum(p.numel() for p in counted if id(p) in within)
