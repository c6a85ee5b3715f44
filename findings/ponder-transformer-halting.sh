#!/usr/bin/env bash
# ponder-transformer: its loss falls to zero by never halting, whatever is predicted.
#
# Guess: as in PonderNet, whose Transformer this is, the loss is the sum over the steps of the probability to halt
# there times the loss of that step, and in eval mode a step halts with its own probability lambda.
# Seen with ponder-transformer 0.0.8, torch 2.13.0: the losses of all steps are averaged to one number before they are
# multiplied by the probabilities, which are averaged as well. So no step is told from another (a model that surely
# halts at its first step is scored by all 13), the loss is a 13th of a cross entropy, and the way down is to halt
# nowhere: nothing is left over for the last step. Trained on labels drawn at random, the loss falls within 50 steps
# of Adam from 0.2 to 0.001, the halting probabilities' sum from 1 to below 0.01, while the cross entropies stay at or
# above that of guessing (2.2). With labels equal to the tokens the loss does the same, the cross entropies having come
# to about 2. The gradients vanish with the probabilities; for the random labels the loss is nan by step 100.
# In eval mode a step halts with the probability of halting there and not before, instead of lambda: with a lambda of
# 0.2 at each step 37 % of the samples run to the end (7 % would) and the mean is 6.9 steps (4.7).
# No warning is raised.
# Matters for every training with it: a falling loss shows nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" ponder-transformer==0.0.8 einops==0.8.2 torch==2.13.0 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import math
import sys
from importlib.metadata import version

import torch
import torch.nn.functional as F
from ponder_transformer import PonderTransformer

print("ponder-transformer", version("ponder-transformer"), "torch", torch.__version__)
VOCAB, LENGTH = 10, 16


def fresh(**options):
    torch.manual_seed(0)
    return PonderTransformer(num_tokens=VOCAB, dim=32, max_seq_len=LENGTH, heads=2, dim_head=16, causal=False,
                             **options)


def draw(rows):
    return torch.randint(1, VOCAB, (rows, LENGTH))


@torch.no_grad()
def by_hand(model, tokens, labels):
    """Halting probabilities and cross entropies, both (samples, steps); what is left halts at the last step."""
    hidden, entropies, lambdas = model.token_emb(tokens) + model.pos_emb(torch.arange(LENGTH)), [], []
    for _ in range(model.train_max_steps):
        hidden, logits = model.block(hidden)
        lambdas.append(logits.sigmoid())
        scores = model.to_logits(hidden).transpose(1, 2)
        entropies.append(F.cross_entropy(scores, labels, reduction="none").mean(1))
    left, chances = torch.ones(len(tokens)), []
    for value in lambdas:
        chances.append(left * value)
        left = left * (1 - value)
    return torch.stack(chances, 1), torch.stack(entropies, 1), left


there = True
model = fresh(ponder_kl_div_loss_weight=0.0)
steps, bias = model.train_max_steps, model.block.to_halt_logits[0].bias
tokens, labels = draw(32), draw(32)
for value, name in ((8.0, "halts at once"), (math.log(0.25), "lambda about 0.2"), (-8.0, "hardly ever halts")):
    with torch.no_grad():
        bias.fill_(value)
    chances, entropies, left = by_hand(model, tokens, labels)
    loss = model(tokens, labels=labels).item()
    paper = ((chances * entropies).sum(1) + left * entropies[:, -1]).mean().item()
    means = (entropies.mean() * chances.mean()).item()
    print(f"{name}: loss {loss:.5f}, PonderNet's {paper:.3f}; mean entropy times mean probability {means:.5f}")
    there &= abs(loss - means) < 1e-4 * means and loss < 0.1 * paper

for task in ("random labels", "labels equal to the tokens"):
    model = fresh()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(151):
        tokens = draw(16)
        labels = draw(16) if task == "random labels" else tokens
        loss = model(tokens, labels=labels)
        if step in (0, 50):
            chances, entropies, _ = by_hand(model, tokens, labels)
            halted = chances.sum(1).mean().item()
            print(f"{task}, step {step}: loss {loss.item():.4f}, halting probabilities' sum {halted:.4f},",
                  f"cross entropies of the steps {entropies.mean(0).min():.2f} to {entropies.mean(0).max():.2f}",
                  f"(guessing: {math.log(VOCAB - 1):.2f})")
            there &= step == 0 or loss.item() < 0.01 and halted < 0.1 and entropies.min().item() > 1
            there &= task != "random labels" or entropies.mean().item() > math.log(VOCAB - 1) - 0.1
        if not math.isfinite(loss.item()):
            print(f"{task}, step {step}: loss {loss.item()}")
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

model = fresh().eval()
with torch.no_grad():
    model.block.to_halt_logits[0].weight.zero_()
    model.block.to_halt_logits[0].bias.fill_(math.log(0.25))
    taken = model(draw(4000))[1] + 1
wanted = [0.2 * 0.8**step for step in range(steps - 1)]
wanted.append(1 - sum(wanted))
mean = sum(step * share for step, share in enumerate(wanted, 1))
last = (taken == steps).float().mean().item()
print(f"eval with lambda 0.2: {last:.1%} take all {steps} steps, mean {taken.float().mean():.2f} steps;",
      f"by lambda {wanted[-1]:.1%} and {mean:.2f}")
there &= last > 0.3 and taken.float().mean().item() > mean + 1
sys.exit(0 if there else 1)
PY
