#!/usr/bin/env bash
# coconut-pytorch: generate does not see what it has generated, and the padding of unequal prompts is attended to.
#
# Guess: greedy generate gives the tokens that full forward passes of the model give, and so what it was trained to
# answer; a prompt in a list beside a longer one is answered as it is alone.
# Seen with coconut-pytorch 0.0.32, torch 2.13.0, on a CPU, with the transformer's default 4 residual streams:
# - generate uses the keys and values of the prompt and the first thoughts for every token and adds none to them:
#   a token is chosen by these and the one token before it. The last thought, the end-of-thought token, the place in
#   the answer and all earlier tokens are lost. A small model trained to answer a digit d with
#   d d d+1 d+1 d+2 d+2 ... (modulo 10) has every answer right by full forward passes and none by generate (3 with
#   3 4 5 5 5 5 5 5 5 5 5 5; 22 % of all tokens right).
# - forward pads a list of prompts of unequal length and makes a mask, which only sets the positions; the attention
#   never gets it. The answer's logits of a prompt of 2 tokens beside one of 8 are off by up to 2.8 times their
#   own standard deviation; beside one of its length they are the same to rounding.
# No warning is raised.
# Matters for every answer that generate writes, and for batches of prompts of unequal length, trained or not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" coconut-pytorch==0.0.32 einops==0.8.2 hyper-connections==0.4.11 \
    rotary-embedding-torch==0.9.1 x-transformers==2.31.10 torch==2.13.0 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import random
import sys
from importlib.metadata import version

import torch
from coconut_pytorch import Coconut

print("coconut-pytorch", version("coconut-pytorch"), "torch", torch.__version__)
random.seed(0)  # hyper-connections draws from it
torch.manual_seed(0)
torch.set_num_threads(1)
LENGTH = 12
model = Coconut(num_reasoning_steps=2, transformer=dict(num_tokens=10, dim=32, depth=2, dim_head=16, heads=2))
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)


def examples(digits):
    """Prompts of two equal digits and their answers, each digit from there on twice."""
    return digits[:, None].expand(-1, 2), (digits[:, None] + torch.arange(LENGTH) // 2) % 10


for step in range(STEPS := 200):
    prompt, answer = examples(torch.randint(0, 10, (16,)))
    loss = model(prompt, answer)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
model.eval()


@torch.no_grad()
def by_forward(prompt):
    """Greedy answers, a full forward pass for each token."""
    made = torch.zeros(len(prompt), 0, dtype=torch.long)
    for _ in range(LENGTH):
        # forward drops an answer's last token from its input, so one is put behind what was made
        *_, logits, _ = model(prompt, torch.nn.functional.pad(made, (0, 1)), return_loss=False)
        made = torch.cat((made, logits[:, -1:].argmax(dim=-1)), dim=1)
    return made


prompt, answer = examples(torch.arange(10))
with torch.no_grad():
    forced = model(prompt, answer, return_loss=False)[2].argmax(dim=-1)
generated = model.generate(prompt, max_length=LENGTH, temperature=0.0)
full = by_forward(prompt)
accuracy = (forced == answer).float().mean()
print(f"loss {loss.item():.3f} after {STEPS} steps; teacher-forced {accuracy:.0%} of tokens right")
shares = {}
for name, made in (("full forward passes", full), ("generate", generated)):
    shares[name] = (made == answer).float().mean().item(), (made == answer).all(dim=1).float().mean().item()
    print(f"{name}: {shares[name][0]:.0%} of tokens and {shares[name][1]:.0%} of answers right,", *made[3].tolist())
follows = {}
for row in generated:
    for first, second in zip(row[1:-1].tolist(), row[2:].tolist()):
        follows.setdefault((row[0].item(), first), set()).add(second)
print(f"in generate's answers {max(map(len, follows.values()))} token(s) follow each token in an answer's rest")
there = shares["full forward passes"][1] >= 0.8 and shares["generate"][1] <= 0.2
there &= all(len(found) == 1 for found in follows.values())

short, same, longer = torch.tensor([3, 3]), torch.tensor([5, 5]), torch.tensor([5, 5, 5, 5, 5, 5, 5, 5])
with torch.no_grad():
    alone = model([short], answer[3:4], return_loss=False)[2][0]
    for mate in (same, longer):
        both = model([short, mate], answer[[3, 5]], return_loss=False)[2][0]
        error = (both - alone).abs().max().item()
        right = (both.argmax(dim=-1) == answer[3]).float().mean().item()
        print(f"a prompt of 2 beside one of {len(mate)}: logits off by {error:.2g} at a standard deviation of "
              f"{alone.std():.2g}, {right:.0%} of tokens right")
        there &= error < 1e-3 if mate is same else error > alone.std().item() / 2
sys.exit(0 if there else 1)
PY
