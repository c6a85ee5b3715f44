#!/usr/bin/env bash
# torchao: where gradients differ within a block, AdamW4bit leaves the small ones' weights, and AdamWFp8 throws them.
#
# Guess: AdamW8bit, AdamW4bit and AdamWFp8 store their state in fewer bits and take AdamW's steps, up to rounding:
# about one learning rate an element in each step, however large its gradients are, as long as they have one sign.
# Seen with torchao 0.18.0, torch 2.13.0, on a CPU (without compiling its step), defaults but for weight_decay=0,
# a (64, 128) weight whose columns have gradients of 1, 1/100 or 1/1000, with a tenth of noise. The state is scaled by
# the largest of each block (256 elements, 4 bits: 128); what is small beside it becomes 0, a second moment in 4 bits
# no less than a 16th of it. After 300 steps
# - AdamW4bit moves elements of 1/100 by 0.02 rates a step and those of 1/1000 by 0.00 (their first step was 1).
# - AdamWFp8 moves those of 1/1000 by 16 rates a step and more with each, as their second moment is lost and the
#   first is not; of 1/100 by 1.
# - AdamW8bit is up to 1.11, torch's AdamW 1.00.
# In a linear fit with inputs in units of 1 and 0.01, 600 steps of AdamW halve the error of the small inputs'
# weights, of AdamW4bit take 1 % off it. No warning is raised; the loss goes down by the other half.
# Matters for layers after features of several scales, and embedding rows of rare beside frequent tokens.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" torchao==0.18.0 torch==2.13.0 numpy==2.4.6
TORCHDYNAMO_DISABLE=1 PYTHONPATH="$folder" python3 -W ignore - 2>/dev/null <<'PY'
import sys
from importlib.metadata import version

import torch
from torchao.optim import AdamW4bit, AdamW8bit, AdamWFp8

print("torchao", version("torchao"), "torch", torch.__version__)
torch.set_num_threads(1)
RATE, SHAPE = 1e-3, (64, 128)
scales = torch.tensor([1e-3, 1e-2, 1e-3, 1.0]).repeat(SHAPE[1] // 4)


def moves(kind):
    """The mean size, in learning rates, of the first and the 300th step of elements of each gradient scale."""
    generator, weight = torch.Generator().manual_seed(0), torch.nn.Parameter(torch.zeros(SHAPE))
    optimizer, sizes = kind([weight], lr=RATE, weight_decay=0.0), []
    for step in range(300):
        weight.grad = scales * (1 + 0.1 * torch.randn(SHAPE, generator=generator))
        before = weight.detach().clone()
        optimizer.step()
        if step in (0, 299):
            moved = (weight.detach() - before).abs() / RATE
            sizes.append([round(moved[:, scales == scale].mean().item(), 2) for scale in (1.0, 1e-2, 1e-3)])
    return sizes


def fit(kind):
    """The error of a linear fit's weights, over their size, for inputs in units of 1 and of 0.01."""
    generator = torch.Generator().manual_seed(1)
    units = torch.tensor([1.0, 0.01]).repeat(SHAPE[1] // 2)
    target = torch.randn(SHAPE, generator=generator) / units * 0.1
    weight = torch.nn.Parameter(torch.zeros(SHAPE))
    optimizer = kind([weight], lr=0.02, weight_decay=0.0)
    for _ in range(600):
        x = torch.randn(64, SHAPE[1], generator=generator) * units
        loss = (x @ (weight - target).T).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    wrong = (weight.detach() - target).square()
    return [round((wrong[:, units == unit].sum() / target[:, units == unit].square().sum()).sqrt().item(), 3)
            for unit in (1.0, units.min().item())]


step, error = {}, {}
for kind in (torch.optim.AdamW, AdamW8bit, AdamW4bit, AdamWFp8):
    step[kind.__name__], error[kind.__name__] = moves(kind), fit(kind)
    first, last = step[kind.__name__]
    print(f"{kind.__name__}: gradients of 1, 1/100, 1/1000: first step {first} rates, 300th {last};",
          f"error of a fit's weights for inputs in units of 1 and 0.01: {error[kind.__name__]}")
there = all(abs(size - 1) < 0.05 for size in step["AdamW"][1]) and all(sizes[0] == [1, 1, 1] for sizes in step.values())
there &= max(step["AdamW4bit"][1][1:]) < 0.1 and step["AdamWFp8"][1][2] > 8
there &= error["AdamW"][1] < 0.6 and error["AdamW4bit"][1] > 0.95
sys.exit(0 if there else 1)
PY
