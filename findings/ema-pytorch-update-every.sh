#!/usr/bin/env bash
# ema-pytorch: with update_every above 1, as by default, its averages are not the ones that are documented.
#
# Guess: EMA(power=1) "implements a simple average", as its docstring says; PostHocEMA(sigma_rels=...) and
# synthesize_ema_model(sigma_rel=s) average with a deviation of s times the steps made, as in the paper that the README
# names; update_every only saves compute ("how often to actually update"); forward_eval, "handy function for invoking
# ema model with no grad + eval", runs the average in eval mode.
# Seen with ema-pytorch 0.8.3, torch 2.13.0, 2,000 steps, on a CPU. The weight of each step in the average is read off
# a parameter that is one at that step's place and zero elsewhere:
# - the decay is computed from the steps, but applied once in update_every of them, uncorrected. EMA(power=1) is the
#   mean of all steps with update_every=1; with 10, the default, its first copy alone has weight 0.56, and the mean
#   step is 182 instead of 1,000. At the default power 2/3 the mean step falls from 1,850 to 1,036.
# - sigma_rel 0.05, 0.1, 0.2 are 0.050, 0.100, 0.200 with update_every=1; with 10, the README's, 0.246, 0.348, 0.278
#   around ever older steps; with 100, the default, the first weights of training have 53 to 92 %.
# - forward_eval does not call eval(): dropout acts, and batch norm counts the batches.
# No warning is raised.
# Matters for models reported by their average: it is an old one, and a search over sigma_rel searches elsewhere.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" ema-pytorch==0.8.3 torch==2.13.0 numpy==2.4.6
cd "$folder"
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys
import tempfile
from importlib.metadata import version

import torch
from ema_pytorch import EMA, PostHocEMA

torch.manual_seed(0)
print("ema-pytorch", version("ema-pytorch"), "torch", torch.__version__)
STEPS = 2000


class Marker(torch.nn.Module):
    """A parameter that tells when it was copied."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(STEPS + 1, dtype=torch.float64))
        self.mark(0)

    @torch.no_grad()
    def mark(self, step):
        self.weight.zero_()
        self.weight[step] = 1


def train(marker, average):
    for step in range(1, STEPS + 1):
        marker.mark(step)
        average.update()


def described(average):
    """The weight of the first two steps, the mean step and the deviation, this by the steps made."""
    weights = average.ema_model.weight.detach()
    steps = torch.arange(STEPS + 1, dtype=torch.float64)
    mean = weights @ steps
    deviation = (weights @ (steps - mean) ** 2).sqrt() / STEPS
    return weights[:2].sum().item(), mean.item(), deviation.item()


simple = {}
for power in (1.0, 2 / 3):
    for every in (1, 10):
        marker = Marker()
        average = EMA(marker, update_after_step=0, update_every=every, power=power)
        train(marker, average)
        first, mean, _ = simple[power, every] = described(average)
        print(f"EMA, power {power:.2f}, update_every {every}: first copy {first:.3f}, mean step {mean:.0f}")

post_hoc = {}
for every in (1, 10, 100):
    with tempfile.TemporaryDirectory() as checkpoints:
        marker = Marker()
        averages = PostHocEMA(
            marker, sigma_rels=(0.05, 0.28), update_every=every, checkpoint_every_num_steps=100,
            checkpoint_folder=checkpoints, checkpoint_dtype=torch.float64)
        train(marker, averages)
        for sigma in (0.05, 0.1, 0.2):
            first, mean, deviation = post_hoc[every, sigma] = described(averages.synthesize_ema_model(sigma_rel=sigma))
            print(f"PostHocEMA, sigma_rel {sigma}, update_every {every}: deviation {deviation:.3f}, "
                  f"mean step {mean:.0f}, first copy {first:.3f}")

average = EMA(torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5)))
batch = torch.randn(64, 8)
apart = (average.forward_eval(batch) - average.forward_eval(batch)).abs().max().item()
counted = average.ema_model[1].num_batches_tracked.item()
print(f"forward_eval twice on one batch: apart by {apart:.2f}, batch norm counts {counted}")

there = abs(simple[1.0, 1][1] - 1000) < 2 and simple[1.0, 10][0] > 0.5 and simple[2 / 3, 10][1] < 1200
there &= all(abs(post_hoc[1, sigma][2] - sigma) < 0.002 for sigma in (0.05, 0.1, 0.2))
there &= post_hoc[10, 0.05][2] > 0.2 and post_hoc[10, 0.2][1] < 500 and post_hoc[100, 0.05][0] > 0.5
sys.exit(0 if there and apart > 0.1 and counted == 2 else 1)
PY
