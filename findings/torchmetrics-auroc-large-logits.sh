#!/usr/bin/env bash
# torchmetrics: BinaryAUROC of logits is the sigmoid's, rounded, and depends on how they are batched.
#
# Guess: AUROC asks for an order only, so logits, which the documentation admits (values outside
# [0, 1] get a sigmoid), have the AUROC of their own order, and updates in parts the one of the whole.
# Seen with torchmetrics 1.9.0, torch 2.13.0, on a CPU: float32 logits from 18 to 40, every positive
# above every negative: 0.5, for the sigmoid of each is exactly 1; their negatives and the same in
# float64: 1. Of bfloat16 logits it is so from 7 to 20. Of noisy ones around 20, 0.63 for 0.92. Whether
# there is a sigmoid is decided anew in every update: logits of both signs, one at a time, mix
# probabilities with logits that happen to lie in [0, 1], and 0.758 becomes 0.748.
# Known to its issue tracker (1989, 2195, 2819).
# Matters for scores of nets that are sure, as halting and confidence heads are: the best head is
# reported as chance. Rank the logits, or apply a sigmoid to them in float64 first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys
from importlib.metadata import version

import numpy as np
import torch
from torchmetrics.classification import BinaryAUROC

torch.manual_seed(0)
print("torchmetrics", version("torchmetrics"), "torch", torch.__version__)


def by_ranks(logits, labels):
    """The share of pairs that are ordered rightly, ties by half."""
    logits, labels = logits.double().numpy(), labels.numpy()
    pairs = logits[labels == 1][:, None] - logits[labels == 0]
    return np.mean((pairs > 0) + 0.5 * (pairs == 0)).item()


def shown(name, logits, labels, batch=2000):
    auroc = BinaryAUROC()
    for part in torch.arange(len(logits)).split(batch):
        auroc.update(logits[part], labels[part])
    seen, exact = auroc.compute().item(), by_ranks(logits, labels)
    print(f"{name}: {seen:.4f}, by ranks {exact:.4f}")
    return seen, exact


labels = (torch.arange(200) >= 100).long()
sure = torch.linspace(18, 40, 200)
noisy = 20 + 3 * torch.randn(2000)
drawn = (torch.rand(2000) < (noisy - 20).sigmoid()).long()
mixed = 2 * torch.randn(200) + 2 * labels
large = shown("float32 logits from 18 to 40", sure, labels)
half = shown("bfloat16 logits from 7 to 20", torch.linspace(7, 20, 200).bfloat16(), labels)
around = shown("float32 logits around 20", noisy, drawn)
single = shown("float32 logits of both signs, one by one", mixed, labels, 1)
sane = [
    shown("the same in one batch", mixed, labels),
    shown("the first ones in float64", sure.double(), labels),
    shown("the first ones negated", -sure, 1 - labels),
]
there = large == (0.5, 1) and half[0] == 0.5 and half[1] > 0.99
there = there and around[1] - around[0] > 0.1 and abs(single[0] - single[1]) > 0.001
sys.exit(0 if there and all(abs(seen - exact) < 1e-6 for seen, exact in sane) else 1)
PY
