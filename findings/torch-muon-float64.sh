#!/usr/bin/env bash
# torch.optim.Muon: the update of a float64 (or float32) weight is computed in bfloat16.
#
# Guess: on a float64 weight the update is the published Newton-Schulz iteration to about 1e-14, so that
# it can be checked against a few lines of float64.
# Seen with torch 2.13.0 on a CPU: it is 1.5 % off in norm, whatever the weight's type: the gradient
# is cast to bfloat16 before the iteration, and no option changes that.
# Matters for tests against a reference, and where small runs in float32 are to be repeated on
# another machine: bfloat16 products differ more between machines than float32's.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" torch==2.13.0 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys

import torch


def published(matrix, steps=5, a=3.4445, b=-4.7750, c=2.0315):
    x = matrix / matrix.norm()
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x


print("torch", torch.__version__)
torch.manual_seed(0)
gradient = torch.randn(16, 32, dtype=torch.float64)
off = {}
for dtype in (torch.float64, torch.float32):
    reference = published(gradient.to(dtype))
    weight = torch.nn.Parameter(torch.zeros(16, 32, dtype=dtype))
    weight.grad = gradient.to(dtype)
    optimizer = torch.optim.Muon([weight], lr=1.0, weight_decay=0.0, momentum=0.0, nesterov=False)
    optimizer.step()
    off[dtype] = ((weight + reference).norm() / reference.norm()).item()
    print(f"{dtype}: {off[dtype]:.1e} off the published iteration in that type")
sys.exit(0 if min(off.values()) > 1e-3 else 1)
PY
