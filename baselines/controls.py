"""Controls: models that differ from the Attractor in one thing, to say what that thing is worth.

* `TwoStep` is f(f(0)): what the code released with the paper trained. Its solver mixed a history of
  zeros, so every solve returned 0, and the two phantom steps after it were all that remained of
  "z solved with y held fixed": z <- net(net(0, y + x), y + x); y <- net(y, z), three sweeps a
  segment, the last of which carries the gradient. The z of the carry is never read.
* `AttractorReset` is the Attractor whose solve starts from the initial (y, z) in every segment: the
  fixed point without the carry of deep supervision. Every segment then repeats the same solve (a
  random start is drawn anew for each).

Two more need no code, and `scripts.models.presets` names them.

* z alone solved by three sweeps, which the released code meant to do, is
  `AttractorConfig(solve_for="z")`. It keeps the Attractor's phantom steps, so that only what is
  solved differs; the released code took K = 2 undamped ones.
* Plain iteration with as many calls of the net as the solver may make (its whole budget: fewer are
  made once puzzles converge), and a gradient through as many cycles as there are phantom steps,
  is `TRMConfig(cycles=E + K, gradient_cycles=K)` with the Attractor's n.
"""

import torch
from torch import Tensor

from baselines.configs import AttractorResetConfig, TwoStepConfig
from baselines.trm import TRM
from reasoning.attractor import Attractor
from reasoning.supervision import Depth, SegmentOutput, State


class TwoStep(TRM):
    Config = TwoStepConfig
    config: TwoStepConfig

    def begin_cycle(self, state: State) -> State:
        """With a latent of zero: the one carried so far is not read."""
        y, z = state
        return y, torch.zeros_like(z)


class AttractorReset(Attractor):
    Config = AttractorResetConfig
    config: AttractorResetConfig

    def segment(
        self,
        state: State,
        inputs: Tensor,
        puzzle_ids: Tensor,
        depth: Depth,
        seeds: Tensor | None = None,
    ) -> SegmentOutput:
        """The Attractor's segment from the initial state; the carry is not read."""
        start = self.restart(inputs.shape[0], seeds)
        return super().segment(start, inputs, puzzle_ids, depth, seeds)
