#!/usr/bin/env bash
# tiny-recursive-model: the Trainer divides the learning rate by the batch size times the recurrent steps.
#
# Guess: after the warm-up the optimizer runs at the learning_rate that Trainer is given, as one passed by optim
# runs at its own; the paper's numbers (a rate of 1e-4, batches of 768) can be put in as they are.
# Seen with tiny-recursive-model 0.0.15, torch 2.13.0: the rate is learning_rate / (batch_size *
# max_recurrent_steps), and AdamW's decay goes with it. The loss is a sum over the batch, but AdamW does not care
# how large a loss is, so nothing makes up for it. 1e-3 with batches of 64 becomes 1.3e-6: after three epochs of an
# easy task the loss is about where it began (2.4), where AdamW(lr=1e-3) passed as optim comes to 0.2. The paper's
# numbers make 1.1e-8: in 26 steps no weight moves by 1e-6, and the weights of the norms, 1 at the start, do not
# move at all, the steps being lost in float32's rounding.
# Besides, a fresh model says 0.5, which is the threshold, so that its first batch halts after one step: the
# README's example, which has one batch, trains for one step of 2.6e-10. ema_decay_rate is applied at every tenth
# step only. Neither the README nor a message tells of these.
# Matters for whoever trains a TRM with this package: pass optim, or multiply the rate beforehand.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.2.6 tiny-recursive-model==0.0.15 accelerate==1.15.0 \
    adam-atan2-pytorch==0.4.1 ema-pytorch==0.8.3 x-transformers==2.31.10 einops==0.8.2 einx==0.4.3 \
    torch-einops-utils==0.2.0
"$folder/venv/bin/python" -W ignore - <<'PY'
import contextlib
import io
import re
import sys
from importlib.metadata import version

import torch
from tiny_recursive_model import MLPMixer1D, TinyRecursiveModel, Trainer

print("tiny-recursive-model", version("tiny-recursive-model"), "torch", torch.__version__)


class Shifts(torch.utils.data.Dataset):
    """16 digits; the answer to each is the next digit"""

    def __init__(self, size):
        self.digits = torch.randint(0, 8, (size, 16), generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return len(self.digits)

    def __getitem__(self, index):
        return self.digits[index], (self.digits[index] + 1) % 8


def train(name, size, epochs, optim=None, **options):
    torch.manual_seed(0)
    model = TinyRecursiveModel(dim=32, num_tokens=8, network=MLPMixer1D(dim=32, depth=2, seq_len=16))
    start = [p.detach().clone() for p in model.parameters()]
    if optim:
        options["optim"] = optim(model.parameters())
    text = io.StringIO()
    trainer = Trainer(model, Shifts(size), epochs=epochs, cpu=True, **options)
    rate = trainer.optim.param_groups[0]["lr"]
    with contextlib.redirect_stdout(text):
        trainer()
    losses = [float(loss) for loss in re.findall(r"\] loss: ([\d.]+)", text.getvalue())]
    pairs = [(a, b.detach()) for a, b in zip(start, model.parameters()) if a.numel()]
    moved = max((a - b).abs().max().item() for a, b in pairs)
    norms = max((a - b).abs().max().item() for a, b in pairs if (a == 1).all())
    print(f"{name}: first rate {rate:.2g}, {len(losses)} steps, loss {losses[0]:.2f} to {losses[-1]:.2f}, "
          f"weights moved by up to {moved:.1e}, those of norms by {norms:.1e}")
    return rate, losses, moved, norms, trainer.ema_model.update_every


divided = train("learning_rate=1e-3, batches of 64", 512, 3, learning_rate=1e-3, weight_decay=0.0, batch_size=64,
                warmup_steps=1)
passed = train("optim=AdamW(lr=1e-3), batches of 64", 512, 3, warmup_steps=1, batch_size=64,
               optim=lambda weights: torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.0))
paper = train("learning_rate=1e-4, batches of 768", 1536, 2, learning_rate=1e-4, weight_decay=1.0, batch_size=768,
              warmup_steps=1)
readme = train("README's example: all defaults, 16 samples", 16, 1)

there = abs(divided[0] * 64 * 12 / 1e-3 - 1) < 1e-6 and passed[0] == 1e-3
there &= divided[1][-1] > 2 and passed[1][-1] < 1
there &= paper[0] < 1.2e-8 and len(paper[1]) > 20 and paper[2] < 1e-6 and paper[3] == 0
there &= len(readme[1]) == 1 and readme[4] == 10
sys.exit(0 if there else 1)
PY
