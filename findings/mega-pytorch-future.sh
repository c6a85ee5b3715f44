#!/usr/bin/env bash
# Mega-pytorch: with norm_mhesa_heads, a causal model sees what follows; with laplacian attention, how much follows.
#
# Guess: a causal Mega's logits at a place depend on the tokens up to it alone, whatever is switched on, and its moving
# average forgets by 1 - alpha * delta a step, as the paper that it names has it.
# Seen with Mega-pytorch 0.1.0, torch 2.13.0, on a CPU, two layers of width 32, 40 tokens:
# - norm_mhesa_heads=True, "retnet used sub-ln with some success as groupnorm", normalizes over the whole sequence
#   too, the future included: a changed token changes all 40 logits, those before it by up to 0.12 at a deviation of
#   0.57, and the logits of a text's first half are off by 0.22 when the half is fed alone, as in generating.
# - laplacian_attn_fn=True divides by the length of the sequence fed, not by the number of places that may be seen. As
#   made, queries and keys are too small to tell; at their scales of 1 the first half's logits are off by 0.007.
# - an average's memory is (1 - alpha) * delta a step: for alpha 0.1, delta 0.5 0.45 where the paper has 0.95.
# Without both options logits are causal to 3e-6.
# Matters for a loss that looks good in training, and texts that do not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --no-compile --target "$folder" Mega-pytorch==0.1.0 torch==2.13.0 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import math
import sys
from importlib.metadata import version

import torch
from mega_pytorch import Mega
from mega_pytorch.mega_pytorch import MultiHeadedEMA, OffsetScale

print("Mega-pytorch", version("Mega-pytorch"), "torch", torch.__version__)
TOKENS, LENGTH = 64, 40


@torch.no_grad()
def seen(scale, **options):
    """How far logits are changed by a later token and by the absence of the second half, and their deviation."""
    torch.manual_seed(0)
    model = Mega(num_tokens=TOKENS, dim=32, depth=2, ema_heads=4, attn_dim_qk=16, attn_dim_value=32, causal=True,
                 **options).eval()
    if scale:
        for module in model.modules():
            if isinstance(module, OffsetScale):
                module.gamma.fill_(scale)
    text = torch.randint(TOKENS, (1, LENGTH))
    logits = model(text)
    later = 0.0
    for place in range(1, LENGTH):
        other = text.clone()
        other[0, place] = (other[0, place] + 1) % TOKENS
        later = max(later, (model(other) - logits)[0, :place].abs().max().item())
    half = (model(text[:, : LENGTH // 2]) - logits[:, : LENGTH // 2]).abs().max().item()
    return later, half, logits.std().item()


apart = {}
for name, scale, options in (
    ("plain", None, {}),
    ("norm_mhesa_heads", None, {"norm_mhesa_heads": True}),
    ("laplacian_attn_fn, as made", None, {"laplacian_attn_fn": True}),
    ("laplacian_attn_fn, scales of 1", 1.0, {"laplacian_attn_fn": True}),
    ("softmax attention, scales of 1", 1.0, {}),
):
    later, half, deviation = apart[name] = seen(scale, **options)
    print(f"{name}: by a later token {later:.1e}, by the half alone {half:.1e}, deviation {deviation:.2f}")

average = MultiHeadedEMA(dim=1, heads=1)
with torch.no_grad():
    for parameter, value in ((average.expansion, 1.0), (average.reduction, 1.0),
                             (average.alphas, math.log(0.1 / 0.9)), (average.dampen_factors, 0.0)):
        parameter.fill_(value)
    pulse = torch.zeros(1, 8, 1)
    pulse[0, 0] = 1
    answer = average(pulse)[0, :, 0]
memory = (answer[1] / answer[0]).item()
print(f"average with alpha 0.1, delta 0.5: memory of a step {memory:.2f}, in the paper 0.95")

there = apart["norm_mhesa_heads"][0] > 0.1 and apart["norm_mhesa_heads"][1] > 0.1 and abs(memory - 0.45) < 0.01
there &= apart["laplacian_attn_fn, scales of 1"][1] > 1e-3
there &= all(max(apart[name][:2]) < 1e-4 for name in ("plain", "softmax attention, scales of 1"))
sys.exit(0 if there else 1)
PY
