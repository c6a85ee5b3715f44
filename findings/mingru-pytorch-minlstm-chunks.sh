#!/usr/bin/env bash
# minGRU-pytorch: a minLSTM fed in pieces is not the minLSTM fed at once.
#
# Guess: prev_hidden continues a sequence, however it is cut: in one piece, in halves or token by token minLSTM
# gives the same, as minGRU does.
# Seen with minGRU-pytorch 0.2.1, torch 2.13.0 (float64): a piece of two or more tokens passes prev_hidden, which is
# a state already, through the activation g once more, and g adds a half to what is positive: the state before the
# seam counts as itself plus 0.5. In two halves the outputs behind the seam are off by up to 0.35, at a standard
# deviation of 0.23; in pieces of 8 the error is on average a quarter of that deviation, in pieces of 2 all of it.
# Token by token, where g is left out, it is right, and so is minGRU in any pieces.
# No warning is raised.
# Matters for training by truncated backpropagation with carried states, and for prompts that are fed in pieces.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" minGRU-pytorch==0.2.1 einops==0.8.2 torch==2.13.0 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys
from importlib.metadata import version

import torch
from minGRU_pytorch.minGRU import minGRU
from minGRU_pytorch.minLSTM import minLSTM

print("minGRU-pytorch", version("minGRU-pytorch"), "torch", torch.__version__)
LENGTH = 64


def pieces(model, x, size):
    """The outputs for x fed in pieces of that many tokens, each with the state that the one before returned."""
    outputs, hidden = [], None
    for piece in x.split(size, dim=1):
        output, hidden = model(piece, prev_hidden=hidden, return_next_prev_hidden=True)
        outputs.append(output)
    return torch.cat(outputs, dim=1)


there = True
for kind in (minGRU, minLSTM):
    torch.manual_seed(0)
    model, x = kind(16).double(), torch.randn(8, LENGTH, 16, dtype=torch.float64)
    with torch.no_grad():
        whole = model(x)
        plus = kind is minLSTM and model(x[:, 32:], prev_hidden=(whole[:, 31:32] - 0.5).clamp(min=1e-9))
        print(f"{kind.__name__}: outputs' standard deviation {whole.std():.3f}")
        for size in (64, 32, 8, 2, 1):
            error = (pieces(model, x, size) - whole).abs()
            mean = error.mean() / whole.std()
            print(f"  in pieces of {size}: off by {error.max():.2g} at most, {mean:.2g} of it on average")
            there &= error.max().item() > 0.1 if kind is minLSTM and 1 < size < LENGTH else error.max().item() < 1e-9
        if kind is minLSTM:
            shown = whole[:, 31] > 0.5
            error = (plus[:, 0] - whole[:, 32]).abs()[shown].max().item()
            print(f"  halves, with 0.5 taken off the {shown.sum()} states over 0.5 first: off by {error:.2g} there")
            there &= error < 1e-9
sys.exit(0 if there else 1)
PY
