#!/usr/bin/env bash
# HRM-pytorch: the high network never sees its own state, and with three networks the middle one is never trained.
#
# Guess: network i of the hierarchy reads the states from i upwards (as a hidden_combiner's number of norms and its
# hiddens[hierarchy_index:] say): of two networks the high one reads the low one's state and its own, as in the
# paper; with any number of networks all are trained.
# Seen with HRM-pytorch 0.1.6 (x-transformers 2.31.10, torch 2.13.0): that slice is only counted; what is combined
# are the first states of the list, which starts with the tokens. So the high one of two networks reads the tokens
# and the low state. Behind a low network that is constant, its output is the same after 1, 2 and 10 reasoning
# steps, and with random hiddens passed in. Of three networks the highest reads the tokens and the lowest's state:
# with the default one_step_grad the middle one has no gradient at all, nor has its combiner, whose weights stay as
# they were drawn. With one_step_grad=False it has one. No error is raised.
# Matters for what is compared as HRM: its slow state holds nothing over from step to step.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" HRM-pytorch==0.1.6 x-transformers==2.31.10 \
    adam-atan2-pytorch==0.4.1 einops==0.8.2 torch==2.13.0 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys
from importlib.metadata import version

import torch
from HRM import HRM
from torch import nn

print("HRM-pytorch", version("HRM-pytorch"), "x-transformers", version("x-transformers"), "torch", torch.__version__)
DIM = 16
seq = torch.randint(0, 8, (2, 6), generator=torch.Generator().manual_seed(0))


def trained(networks, **options):
    """For each network, the share of its parameters that one loss gives a gradient other than 0."""
    torch.manual_seed(1)
    blocks = [dict(dim=DIM, depth=1, heads=2, attn_dim_head=8) for _ in range(networks)]
    model = HRM(networks=blocks, num_tokens=8, dim=DIM, reasoning_steps=4)
    loss, hiddens, _ = model(seq, labels=seq)
    model.zero_grad()
    model(seq, hiddens=tuple(hiddens), labels=seq, **options)[0].backward()
    pairs = zip(model.networks, model.hidden_combiners)
    parts = [[*network.parameters(), *combiner.parameters()] for network, combiner in pairs]
    return [sum(p.grad is not None and p.grad.count_nonzero().item() > 0 for p in part) / len(part) for part in parts]


two, three, through = trained(2), trained(3), trained(3, one_step_grad=False)
print("parameters with a gradient, from the lowest network up: of two", two, "of three", three)
print("of three with one_step_grad=False", through)


class Constant(nn.Module):
    def forward(self, x):
        return torch.ones_like(x)


torch.manual_seed(2)
high = nn.Sequential(nn.Linear(DIM, DIM), nn.Tanh())
model = HRM(networks=[Constant(), high], num_tokens=8, dim=DIM)
with torch.no_grad():
    steps = [model(seq, reasoning_steps=number)[0] for number in (1, 2, 10)]
    other = model(seq, hiddens=torch.randn(2, *seq.shape, DIM), reasoning_steps=1)[0]
    combiner, embedded = model.hidden_combiners[1], model.to_input_embed(seq)
    first, second = combiner.norms
    read = torch.cat((first(embedded), second(torch.ones_like(embedded))), dim=-1)
    by_hand = model.to_pred(high(combiner.to_combined(read)))
same = all(torch.equal(steps[0], step) for step in (*steps, other))
print("behind a constant low network, equal for 1, 2 and 10 steps and with random hiddens passed in:", same)
right = torch.allclose(steps[0], by_hand, atol=1e-6)
print("the high network of the tokens and the low state by hand is this output:", right)
there = two == [1, 1] and three == [1, 0, 1] and all(through) and same and right
sys.exit(0 if there else 1)
PY
