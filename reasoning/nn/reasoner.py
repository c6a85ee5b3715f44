"""The frame of a recursive grid model: embedding, one net, heads, and the two initial states."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from reasoning.nn.grid import GridEmbedding, GridHeads, GridShape, Net, NetConfig, activation_dtype
from reasoning.nn.layers import truncated_normal_
from reasoning.supervision import SegmentOutput, State


class ReasonerConfig(NetConfig):
    """A net with the (y, z) state of deep supervision."""

    initial: Literal["learned", "fixed"] = Field(
        "fixed",
        description="initial (y, z): trained (the Attractor paper) or constant (TRM's code)",
    )


class Reasoner(nn.Module):
    """Embedding, net and heads around a state (y, z), each (B, L, D); models add `segment`.

    The initial states are one D-vector each, truncated normal of deviation 1, broadcast over
    samples and positions. "learned" makes them parameters. A gradient reaches them only through
    segments that do not detach their start: a solved fixed point does not depend on where its
    solver began, so with implicit or phantom gradients they keep their initial value.
    """

    def __init__(self, config: ReasonerConfig, shape: GridShape):
        super().__init__()
        self.config, self.shape = config, shape
        self.embedding = GridEmbedding(config, shape)
        self.net = Net(config, self.embedding.length)
        self.heads = GridHeads(config, shape)
        for name in ("initial_y", "initial_z"):
            vector = truncated_normal_(torch.empty(config.width), std=1.0)
            if config.initial == "learned":
                self.register_parameter(name, nn.Parameter(vector))
            else:
                self.register_buffer(name, vector)

    def nets(self) -> list[nn.Module]:
        """The nets that a segment calls, for compilation."""
        return [self.net]

    def initial_state(self, batch: int) -> State:
        """(y, z) before the first segment, each (batch, L, D)."""
        shape = (batch, self.embedding.length, self.config.width)
        dtype = activation_dtype(self.heads.lm_head.weight)
        return tuple(part.to(dtype).expand(shape) for part in (self.initial_y, self.initial_z))

    def read(
        self, y: Tensor, z: Tensor, net_calls: Tensor, diagnostics: dict[str, Tensor]
    ) -> SegmentOutput:
        """Decode y, detach the carry."""
        logits, q = self.heads(y)
        return SegmentOutput((y.detach(), z.detach()), logits, q, net_calls, diagnostics)


def parameter_count(model: nn.Module) -> int:
    """Trainable numbers, puzzle embedding and initial states apart, as the papers count them."""
    apart = ("embedding.puzzles.", "initial_y", "initial_z")
    return sum(p.numel() for name, p in model.named_parameters() if not name.startswith(apart))
