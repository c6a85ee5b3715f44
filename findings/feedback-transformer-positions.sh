#!/usr/bin/env bash
# feedback-transformer-pytorch: memories have no place, and the last token of an odd length does not see itself.
#
# Guess: the relative position bias, of 32 buckets up to a distance of 128, tells near memories from far ones; in a
# causal model a token's logits do not depend on what follows; a prompt may be of one token.
# Seen with feedback-transformer-pytorch 0.0.11, torch 2.13.0, the README's seq_len 2, 40 tokens, on a CPU, no training:
# - distances are counted as if a query stood at the start of the memories, so that nearly all are negative, which is
#   the bucket of distance 0. 2 of the 32 buckets get a gradient; memories but the oldest may be permuted without
#   a change of the logits (2e-7), and the oldest has the bucket of distance 1. With seq_len 1 there is one bucket.
# - a piece of one token is not attended to by itself: the logits of position 3 of 3 differ from those of position 3
#   of 4 by 0.3, at a deviation of 0.6, likewise for 5 of 6; for even lengths they are equal. So while generating, every
#   second token is drawn from another function than the trained one.
# - a prompt of one token raises einops' error on None.
# The rest is as guessed: batch-mates change nothing, and memories handed on at even lengths continue exactly.
# Matters for tests of recurrence in depth and time: order can only be told from the contents of memories.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" \
    feedback-transformer-pytorch==0.0.11 torch==2.13.0 einops==0.8.2 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys
from importlib.metadata import version

import torch
from feedback_transformer_pytorch import FeedbackTransformer
from feedback_transformer_pytorch.feedback_transformer_pytorch import Memory
from torch.nn.functional import cross_entropy

torch.manual_seed(0)
print("feedback-transformer-pytorch", version("feedback-transformer-pytorch"), "torch", torch.__version__)
sizes = dict(num_tokens=64, dim=32, depth=2, mem_len=64, heads=4, dim_head=16)
tokens = torch.randint(64, (2, 40))


def buckets_with_gradient(model):
    cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
    return (model.pos_emb.relative_attention_bias.weight.grad.abs().sum(dim=1) > 0).sum().item()


model = FeedbackTransformer(**sizes, seq_len=2).eval()
used = buckets_with_gradient(model)
used_alone = buckets_with_gradient(FeedbackTransformer(**sizes, seq_len=1).eval())
print(f"buckets of distance with a gradient: {used} of 32, with seq_len 1 {used_alone}")

with torch.no_grad():
    logits, memory = model(tokens, return_memory=True)
    order = torch.cat([torch.tensor([0]), 1 + torch.randperm(39)])
    permuted = Memory(memory.keys[:, order], memory.values[:, order])
    oldest = torch.cat([torch.tensor([20]), torch.arange(1, 20), torch.tensor([0]), torch.arange(21, 40)])
    swapped = Memory(memory.keys[:, oldest], memory.values[:, oldest])
    more = torch.randint(64, (2, 2))
    following = model(more, memory=memory)
    moved = (following - model(more, memory=permuted)).abs().max().item()
    moved_oldest = (following - model(more, memory=swapped)).abs().max().item()
    print(f"39 of 40 memories permuted: logits move by {moved:.1e}; two swapped, one the oldest: {moved_oldest:.1e}")
    last = {n: (model(tokens[:, :n]) - logits[:, :n])[:, -1].abs().max().item() for n in range(2, 8)}
    print(f"deviation of the logits {logits.std():.2f}; those of the last token, apart from ones with more behind it:",
          ", ".join(f"{n} tokens {apart:.3f}" for n, apart in last.items()))
    alone = (model(tokens[:1]) - logits[:1]).abs().max().item()
    first, memory = model(tokens[:, :20], return_memory=True)
    continued = (torch.cat([first, model(tokens[:, 20:], memory=memory)], dim=1) - logits).abs().max().item()
    print(f"without its batch-mate: {alone:.1e}, continued from memories after 20 tokens: {continued:.1e}")
    try:
        model(tokens[:, :1])
        refused = "none"
    except RuntimeError as error:
        refused = str(error)
    print(f"error for a prompt of one token: {refused}")

there = used == 2 and used_alone == 1 and moved < 1e-5 and moved_oldest > 1e-5 and "NoneType" in refused
there &= all(apart > 0.05 if n % 2 else apart < 1e-5 for n, apart in last.items())
sys.exit(0 if there and alone < 1e-5 and continued < 1e-5 else 1)
PY
