#!/usr/bin/env bash
# came-pytorch: resumed with weights in bfloat16, CAME's second moments stand still for good.
#
# Guess: weights and optimizer saved by state_dict and loaded into fresh ones go on as the unbroken run does, in
# bfloat16 as in float32.
# Seen with came-pytorch 0.1.3, torch 2.13.0, on a CPU, default settings but for the learning rate, gradients
# given: for weights in bfloat16 CAME keeps its state in float32, and load_state_dict (torch's, which CAME inherits)
# makes it bfloat16, the weights' type. There 0.999 of a number is rounded back to the number, and a thousandth of a
# smaller square is rounded away. Where half of the rows get a tenth of their former gradients from step 100 on, when
# the run is resumed, their second moments (exp_avg_sq_row) have not changed in a single bit 2,000 steps later; in the
# unbroken run they went down to less than a quarter. The steps of the other rows are 1.4 times as large as there.
# Resumed in float32 the run is the unbroken one to the bit.
# No warning is raised.
# Matters for training in bfloat16 that is ever resumed: from there on it runs with the scales of that moment.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" came-pytorch==0.1.3 torch==2.13.0 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import io
import sys
from importlib.metadata import version

import torch
from came_pytorch import CAME

print("came-pytorch", version("came-pytorch"), "torch", torch.__version__)
torch.set_num_threads(1)
RATE, SAVED, STEPS = 1e-3, 100, 2100
MOMENT = "exp_avg_sq_row"


def trained(kind, resumed):
    """The weight, the small rows' second moments right after step SAVED and in the end, and what each half moves."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(8, 8, dtype=kind))
    optimizer, sizes, first = CAME([weight], lr=RATE), [], None
    for step in range(STEPS):
        if step == SAVED and resumed:
            file = io.BytesIO()
            torch.save((weight.detach(), optimizer.state_dict()), file)
            file.seek(0)
            values, state = torch.load(file)
            weight = torch.nn.Parameter(values)
            optimizer = CAME([weight], lr=RATE)
            optimizer.load_state_dict(state)
        gradient = torch.randn(8, 8, generator=generator)
        gradient[:4] *= 1.0 if step < SAVED else 0.1
        weight.grad = gradient.to(kind)
        if step >= STEPS - 100:
            weight.data.zero_()  # so that the step itself is not rounded
        optimizer.step()
        if step >= STEPS - 100:
            sizes.append(weight.detach().float().unflatten(0, (2, 4)).square().mean(dim=(1, 2)).sqrt() / RATE)
        if step == SAVED:
            first = optimizer.state[weight][MOMENT][:4].clone()
    return weight.detach(), first, optimizer.state[weight][MOMENT][:4], torch.stack(sizes).mean(dim=0)


there = True
for kind in (torch.float32, torch.bfloat16):
    found = {}
    for resumed in (False, True):
        weight, first, last, (small, large) = trained(kind, resumed)
        found[resumed] = weight, large.item()
        print(f"{kind}, {'resumed' if resumed else 'unbroken'}: second moments in {last.dtype}, of the small rows at "
              f"step {SAVED}", *(f"{value:.4f}" for value in first.tolist()), "and in the end",
              *(f"{value:.4f}" for value in last.tolist()), f"; steps of {small:.3f} and {large:.3f} rates")
        frozen = resumed and kind is torch.bfloat16
        there &= torch.equal(first, last) if frozen else bool((last < 0.5 * first).all())
    equal = torch.equal(found[False][0], found[True][0])
    print(f"{kind}: the resumed run is the unbroken one to the bit: {equal}; the other rows' steps are "
          f"{found[True][1] / found[False][1]:.2f} times as large")
    there &= equal if kind is torch.float32 else found[True][1] > 1.25 * found[False][1]
sys.exit(0 if there else 1)
PY
