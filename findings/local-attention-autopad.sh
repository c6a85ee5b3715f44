#!/usr/bin/env bash
# local-attention: without causality, the last windows attend to the padding that autopad adds.
#
# Guess: autopad pads a sequence to whole windows and cuts the result; its tokens attend to each other only,
# so that the output is that of attention over the given tokens of the window and its neighbours.
# Seen with local-attention 1.11.2, torch 2.13.0: so for causal=True, and for lengths of whole windows. Else
# the padding's keys, all zero, are not masked: they take part in the softmax with a logit of 0. With windows
# of 8, tokens of the last two windows are off by up to 0.07 for a length of 23, 0.5 for 17 and 0.8 for 9
# (their standard deviation is about 0.35); a token's output depends on how many are missing to a window. A mask
# passed by the caller, though it is True throughout, makes it right: it is padded with False.
# LocalMHA, which pads always and is not causal unless told, does the same.
# Matters for bidirectional models on puzzles and other sequences of odd lengths: pass a mask.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" torch==2.13.0 numpy==2.2.6 \
    local-attention==1.11.2 hyper-connections==0.4.11 einops==0.8.2
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys
from importlib.metadata import version

import torch
from local_attention import LocalAttention, LocalMHA

torch.manual_seed(0)
print("local-attention", version("local-attention"), "torch", torch.__version__)


def by_hand(q, k, v, causal):
    at = torch.arange(q.shape[2])
    apart = at[None] // 8 - at[:, None] // 8
    seen = (apart.abs() <= 1) & ((at[None] <= at[:, None]) | (not causal))
    scores = q @ k.transpose(-1, -2) / 16**0.5
    return scores.masked_fill(~seen, float("-inf")).softmax(-1) @ v


def error(length, causal, masked):
    layer = LocalAttention(
        dim=16, window_size=8, causal=causal, look_backward=1, look_forward=0 if causal else 1,
        autopad=True, use_rotary_pos_emb=False).eval()
    q, k, v = torch.randn(3, 4, 2, length, 16)
    mask = torch.ones(4, length, dtype=torch.bool) if masked else None
    return (layer(q, k, v, mask=mask) - by_hand(q, k, v, causal)).abs().max().item()


there = True
for length in (24, 23, 17, 9):
    causal, masked, plain = error(length, True, False), error(length, False, True), error(length, False, False)
    print(f"length {length}, windows of 8, largest error: causal {causal:.0e}, "
          f"not causal with a mask {masked:.0e}, not causal {plain:.0e}")
    there &= causal < 1e-5 and masked < 1e-5 and (plain < 1e-5 if length == 24 else plain > 0.02)

layer = LocalMHA(dim=32, window_size=8, heads=2, dim_head=16).eval()
x = torch.randn(2, 17, 32)
with torch.no_grad():
    plain, masked = layer(x), layer(x, mask=torch.ones(2, 17, dtype=torch.bool))
change = (plain - masked).abs().mean(dim=(0, 2))
print(f"LocalMHA, length 17: a mask of True changes tokens {change.gt(1e-6).nonzero().flatten().tolist()}, "
      f"the last by {change[-1]:.3f} on average, outputs by hand being {masked[:, -1].abs().mean():.3f}")
there &= change[-1].item() > 0.01
sys.exit(0 if there else 1)
PY
