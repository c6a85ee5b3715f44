"""The one-pass Transformer of Table 2: the same blocks, applied once, no recursion.

Details, with their source
* The common post-norm block, full attention, rotary positions (HRM's "direct prediction" control:
  the same input, heads and sizes, 8 layers at 27M).
* One segment per puzzle: nothing is carried, every step takes a new puzzle.

Deviations: the paper does not say how its Transformer is normalised or sized beyond 27M; the block
here is the one every other row uses, so that only the recursion differs.
"""

import torch
from torch import Tensor

from baselines.configs import TransformerConfig
from reasoning.nn.reasoner import Reasoner
from reasoning.supervision import Depth, SegmentOutput, State


class Transformer(Reasoner):
    Config = TransformerConfig
    config: TransformerConfig

    def segment(
        self,
        state: State,
        inputs: Tensor,
        puzzle_ids: Tensor,
        depth: Depth,
        seeds: Tensor | None = None,
    ) -> SegmentOutput:
        """y <- net(initial y, x): no state is read, so more segments change nothing."""
        x = self.embedding(inputs, puzzle_ids)
        y, z = self.restart(inputs.shape[0], seeds)
        calls = torch.ones(inputs.shape[0], dtype=torch.int64, device=inputs.device)
        return self.read((self.update(self.net, y, x, seeds, 0), z), calls, {})
