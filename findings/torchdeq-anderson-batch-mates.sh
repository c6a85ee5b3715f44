#!/usr/bin/env bash
# torchdeq: what Anderson returns for a sample depends on the samples beside it.
#
# Guess: mixing weights are computed per sample, so a sample ends at the same state, after as many
# steps, whoever shares its batch.
# Seen with torchdeq 0.1.0, torch 2.13.0, float64, tolerance 1e-3: alone the sample stops after 9
# steps; beside a slower one both are run to the slower one's end, nstep says so for both, and the
# first sample's state is another by more than 1e-5.
# Matters for evaluation: accuracy and cost of a puzzle change with the batch size.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" torch==2.13.0 torchdeq==0.1.0 numpy==2.2.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys

import torch
import torchdeq

torch.manual_seed(0)
weight = 0.9 * torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0]
x = torch.randn(2, 8, dtype=torch.float64)
x[1] *= 0.01


def solve(x):
    deq = torchdeq.get_deq(f_solver="anderson", f_max_iter=60, f_tol=1e-3, f_stop_mode="rel")
    with torch.no_grad():
        z, info = deq.eval()(lambda z: torch.tanh(z @ weight + x), torch.zeros_like(x))
    return z[-1], info["nstep"].tolist()


alone, steps_alone = solve(x[:1])
both, steps_both = solve(x)
change = (alone[0] - both[0]).abs().max().item()
print("torch", torch.__version__, "torchdeq 0.1.0")
print(f"first sample alone: nstep {steps_alone}; with a mate: nstep {steps_both}")
print(f"largest change of its state: {change:.1e}")
sys.exit(0 if change > 1e-5 and steps_both[0] > steps_alone[0] else 1)
PY
