#!/usr/bin/env bash
# pytorch-adaptive-computation-time: cells halt one step early, and what they learn of halting is another gradient.
#
# Guess: AdaptiveRNNCell and its likes compute "adaptive computation time for RNNs from Graves 2016": they step until
# "the halting values sum to more than 1 - ponder_epsilon", weigh the states by these values and the remainder, and
# autograd gives the gradient of that; the ponder cost, whatever its value, has "equal gradient to the true cost".
# Seen with pytorch-adaptive-computation-time 0.1.3, torch 2.13.0, in float64, on a CPU:
# - each step's halting value is counted twice in the comparison. With a constant value of 0.5, 0.3, 0.1 a cell stops
#   after 1, 3, 9 steps, their sum being 0.5, 0.9, 0.9; the paper's and the docstring's rule takes 2, 4, 10.
# - the remainder is detached: the gradient of an output by the halting unit's bias differs from the one by differences
#   by 3.5 times its size in the median of 20 random cells, and has the other sign in 10 of them.
# - the ponder cost's gradient counts the last step, which the true cost, and the comment beside it, leave out: 0.63
#   for 0.42 with 3 steps, and 0.25 for 0 with one.
# - time_limit=10 allows 9 steps and reports 10.
# The weights do sum to one, and each sample's steps do not depend on the others'.
# Matters for what it is for: how long to think is learned from that gradient.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --no-compile --target "$folder" --no-deps pytorch-adaptive-computation-time==0.1.3
python3 -m pip install --quiet --no-compile --target "$folder" torch==2.13.0 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import math
import statistics
import sys
from importlib.metadata import version

import torch
from pytorch_adaptive_computation_time.models import AdaptiveCellWrapper

print("pytorch-adaptive-computation-time", version("pytorch-adaptive-computation-time"), "torch", torch.__version__)
torch.set_default_dtype(torch.float64)
EPSILON, PENALTY, INPUTS, HIDDEN = 0.01, 1.0, 3, 8


class Counting(torch.nn.RNNCell):
    """A cell that keeps the states it returns."""

    def forward(self, inputs, hidden=None):
        hidden = super().forward(inputs, hidden)
        self.states.append(hidden)
        return hidden


def created(seed, limit=100):
    torch.manual_seed(seed)
    cell = Counting(INPUTS + 1, HIDDEN)
    return AdaptiveCellWrapper(cell, PENALTY, ponder_epsilon=EPSILON, time_limit=limit), cell


def run(adaptive, cell, inputs):
    cell.states = []
    output, cost, steps = adaptive(inputs)
    return output, cost, steps


there = True
for value in (0.5, 0.3, 0.1):
    adaptive, cell = created(0)
    unit = adaptive._halting_unit[0]
    torch.nn.init.zeros_(unit.weight)
    torch.nn.init.constant_(unit.bias, math.log(value / (1 - value)))
    _, cost, steps = run(adaptive, cell, torch.randn(1, INPUTS))
    made, paper = len(cell.states), math.ceil((1 - EPSILON) / value)
    gradient, = torch.autograd.grad(cost, unit.bias)
    true = -PENALTY * (made - 1) * value * (1 - value)  # of steps + 1 - the values of all steps but the last
    print(f"halting value {value}: {made} steps, reported {steps.item():.0f}, by the paper {paper}; ponder cost's "
          f"gradient {gradient.item():.3f}, of steps + remainder {true:.3f}")
    there &= made == steps.item() == paper - 1 and abs(gradient.item() / made - -PENALTY * value * (1 - value)) < 1e-9

off, signs = [], 0
for seed in range(20):
    adaptive, cell = created(seed)
    unit, inputs, weights = adaptive._halting_unit[0], torch.randn(1, INPUTS), torch.randn(HIDDEN)
    output, _, _ = run(adaptive, cell, inputs)
    made = len(cell.states)
    gradient = torch.autograd.grad(output[0] @ weights, unit.bias)[0].item()
    seen = []
    with torch.no_grad():
        for change in (1e-5, -1e-5):
            unit.bias += change
            seen.append((run(adaptive, cell, inputs)[0][0] @ weights).item())
            unit.bias -= change
            assert len(cell.states) == made
    difference = (seen[0] - seen[1]) / 2e-5
    off.append(abs(gradient - difference) / abs(difference))
    signs += gradient * difference < 0
print(f"gradient of the output by the halting bias, 20 cells: off by {statistics.median(off):.1f} of its size in the "
      f"median, {min(off):.2f} to {max(off):.1f}; other sign in {signs}")
there &= statistics.median(off) > 1 and signs > 0

adaptive, cell = created(0, limit=10)
torch.nn.init.constant_(adaptive._halting_unit[0].bias, -6)
_, _, steps = run(adaptive, cell, torch.randn(1, INPUTS))
print(f"time_limit 10: {len(cell.states)} steps, reported {steps.item():.0f}")
there &= len(cell.states) == 9 and steps.item() == 10

adaptive, cell = created(1)
batch = torch.randn(5, INPUTS)
with torch.no_grad():
    together = run(adaptive, cell, batch)[0]
    apart = torch.cat([run(adaptive, cell, row[None])[0] for row in batch])
print(f"samples alone and in a batch: apart by {(together - apart).abs().max().item():.0e}")
sys.exit(0 if there and (together - apart).abs().max() < 1e-12 else 1)
PY
