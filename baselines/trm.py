"""TRM: Tiny Recursive Model (Jolicoeur-Martineau 2025, arXiv 2510.04871).

One segment repeats T cycles of { n times z <- net(z, y + x); y <- net(y, z) }; the first T - 1
cycles run without a graph, the last with one, so the gradient is that of one whole cycle.
(`gradient_cycles` above 1 lets it through more of them: a control, not TRM.)

Details, with their source
* net(h, c): h + c through post-norm blocks, norms without scale, no biases (released code).
* T 3; n 6 for Sudoku and 4 for mazes (paper).
* "mlp" mixes tokens by a SwiGLU over the sequence, Sudoku only (paper, sec. 4.5); the norm after it
  runs over the tokens (released code).
* Initial (y, z) are constant buffers, one vector each (released code; the paper says learned).
* Logits from the cells of y, halting score from position 0 of y, bias -5 (released code).

Deviations: none in the forward pass. The data stream, exploration draws and evaluation are
loopbench's, shared by all models.
"""

import torch
from torch import Tensor

from baselines.configs import TRMConfig
from reasoning.nn.reasoner import Reasoner
from reasoning.supervision import Depth, SegmentOutput, State


class TRM(Reasoner):
    Config = TRMConfig
    config: TRMConfig

    def begin_cycle(self, state: State) -> State:
        """What a cycle goes on from; a control drops the latent (`baselines.controls`)."""
        return state

    def segment(
        self,
        state: State,
        inputs: Tensor,
        puzzle_ids: Tensor,
        depth: Depth,
        seeds: Tensor | None = None,
    ) -> SegmentOutput:
        """One segment of T cycles; see `SegmentOutput` for shapes."""
        cycles = self.config.cycles if depth.cycles is None else depth.cycles
        steps = self.config.inner_steps if depth.inner_steps is None else depth.inner_steps
        x = self.embedding(inputs, puzzle_ids)
        graph, answers = torch.is_grad_enabled(), []
        for cycle in range(cycles):
            attached = graph and cycle >= cycles - self.config.gradient_cycles
            with torch.set_grad_enabled(attached):
                first = cycle * (steps + 1)
                state = self.cycle(self.begin_cycle(state), x, steps, seeds, first)
            if attached:
                answers.append(state[0])
        calls = torch.full((inputs.shape[0],), cycles * (steps + 1), device=inputs.device)
        return self.read(state, calls, {}, tuple(answers[:-1]))
