"""HRM: Hierarchical Reasoning Model (Wang et al. 2025, arXiv 2506.21734).

Two nets of equal size: the low one updates z with y + x injected, the high one updates y with z
injected. One segment is N high cycles of T low steps each,

    N times { T times z <- low(z, y + x);  y <- high(y, z) },

of which only the very last low and high step carry a gradient (the paper's one-step approximation).

Details, with their source
* N 2, T 2; 4 layers a net; one puzzle token; norms without scale, no biases (released code).
* Halting is Q-learning: a slot halts when q_halt > q_continue, and q_continue is trained towards
  the score of the next segment of the same puzzle, run once more without a gradient:
  sigmoid(q_halt') at the last segment, else sigmoid(max(q_halt', q_continue')) (released code;
  `supervision.halting: q-learning`). The extra segment counts in the net calls. Where one segment
  is allowed there is none, and q_continue is not trained.
* Batch 384, learning rate 7e-5, of the puzzle embedding too (released code, its run of one GPU on
  sudoku; the one of eight has 768 and 1e-4 for both sets).

Deviations: none in the forward pass. The data stream, exploration draws and evaluation are
loopbench's, shared by all models; so is the average of the weights that is evaluated (EMA 0.999,
which TRM introduced: HRM's release evaluates the last weights), and mazes take sudoku's rate, batch
and steps.
"""

import torch
from torch import Tensor, nn

from baselines.configs import HRMConfig
from reasoning.nn.grid import GridShape, Net
from reasoning.nn.reasoner import Reasoner
from reasoning.supervision import Depth, SegmentOutput, State


class HRM(Reasoner):
    Config = HRMConfig
    config: HRMConfig

    def __init__(self, config: HRMConfig, shape: GridShape):
        super().__init__(config, shape)
        self.high = Net(config, self.embedding.mixed, shape.families, shape.symbols)

    def nets(self) -> list[nn.Module]:
        return [self.net, self.high]

    def segment(
        self,
        state: State,
        inputs: Tensor,
        puzzle_ids: Tensor,
        depth: Depth,
        seeds: Tensor | None = None,
    ) -> SegmentOutput:
        """One segment; see `SegmentOutput` for shapes."""
        cycles = self.config.cycles if depth.cycles is None else depth.cycles
        steps = self.config.inner_steps if depth.inner_steps is None else depth.inner_steps
        x = self.embedding(inputs, puzzle_ids)
        y, z = state
        graph = torch.is_grad_enabled()
        for cycle in range(cycles):
            first, last = cycle * (steps + 1), cycle == cycles - 1
            for i in range(steps):
                with torch.set_grad_enabled(graph and last and i == steps - 1):
                    z = self.update(self.net, z, y + x, seeds, first + i)
            with torch.set_grad_enabled(graph and last):
                y = self.update(self.high, y, z, seeds, first + steps)
        calls = torch.full((inputs.shape[0],), cycles * (steps + 1), device=inputs.device)
        return self.read((y, z), calls, {})
