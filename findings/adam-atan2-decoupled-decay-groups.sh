#!/usr/bin/env bash
# adam-atan2-pytorch: decoupled weight decay is divided by the default learning rate, not the group's.
#
# Guess: with decoupled_wd=True a step shrinks every weight by weight_decay, "independent of lr",
# whatever the learning rate of its group.
# Seen with adam-atan2-pytorch 0.4.1, torch 2.13.0: with a default of 1e-3 and a group of 1e-2, the
# group's weights shrink by ten times weight_decay a step; the default group's by weight_decay.
# Matters where embeddings or heads have learning rates of their own, as in HRM and TRM: they decay
# in proportion to them after all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" torch==2.13.0 adam-atan2-pytorch==0.4.1 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys
from importlib.metadata import version

import torch
from adam_atan2_pytorch import AdamAtan2

DECAY = 1e-3
print("adam-atan2-pytorch", version("adam-atan2-pytorch"), "torch", torch.__version__)
plain, fast = (torch.nn.Parameter(torch.ones(3, dtype=torch.float64)) for _ in range(2))
optimizer = AdamAtan2(
    [{"params": [plain]}, {"params": [fast], "lr": 1e-2}],
    lr=1e-3,
    weight_decay=DECAY,
    decoupled_wd=True,
)
for weight in (plain, fast):
    weight.grad = torch.zeros_like(weight)  # the decay alone moves them
optimizer.step()
shrunk = [1 - weight[0].item() for weight in (plain, fast)]
print(f"weight_decay {DECAY}: learning rate 1e-3 shrinks by {shrunk[0]:.4g}, 1e-2 by {shrunk[1]:.4g}")
sys.exit(0 if abs(shrunk[0] - DECAY) < 1e-9 and abs(shrunk[1] - 10 * DECAY) < 1e-9 else 1)
PY
