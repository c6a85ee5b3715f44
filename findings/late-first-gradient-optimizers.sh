#!/usr/bin/env bash
# schedulefree, pytorch_optimizer: a parameter whose first gradient comes late is moved too far.
#
# Guess: an optimizer's bias correction makes a parameter's first updates about the learning rate, as
# in torch.optim.AdamW, whenever its first gradient comes.
# Seen with schedulefree 1.4.1, pytorch_optimizer 4.1.0, torch 2.13.0, default settings, on a CPU, the
# gradient of the late parameter constant: they count steps by group, and a parameter that had no
# gradient for 500 steps is taken for one whose moments are 500 steps old. AdamWScheduleFree's z moves
# 20 rates at once, where an early one moves 1, and the trained point 2. AdamP, AdamS, Grams, Yogi,
# AdEMAMix, AdamC and SWATS begin at 2 and have grown to 3.6 by the fifth step, AdaBelief to 4.9, AdaBound
# to 9, Ano begins at 10, LaProp at 20; DiffGrad moves 1.3 to 1.8 for 0.5. Adan begins with a fifth of
# what it moves an early one, StableAdamW with a tenth. torch.optim.AdamW and pytorch_optimizer's AdamW
# and NAdam move both alike.
# Matters for a part that is switched on during training: a halting head, a deeper step, an unfrozen
# layer; it begins many rates away, in the direction of its first gradients. Add such a part as a
# group of its own when it begins.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" \
    schedulefree==1.4.1 pytorch_optimizer==4.1.0 torch==2.13.0 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys
from importlib.metadata import version

import pytorch_optimizer
import schedulefree
import torch

print(*(f"{name} {version(name)}" for name in ("schedulefree", "pytorch_optimizer", "torch")))
RATE = 1e-3


def moves(optimizer_of, wait, of_z, own_group=False):
    """By how many rates each of the first five updates moves a parameter that comes late."""
    torch.manual_seed(0)
    early, late = (torch.nn.Parameter(torch.randn(8, 8)) for _ in range(2))
    optimizer = optimizer_of([early] if own_group else [early, late], lr=RATE)
    gradient, made = torch.randn(8, 8), []
    for step in range(wait + 5):
        if own_group and step == wait:
            optimizer.add_param_group({"params": [late]})
        if isinstance(optimizer, schedulefree.AdamWScheduleFree):
            optimizer.train()
        early.grad, late.grad = torch.randn(8, 8), gradient.clone() if step >= wait else None
        weight, z = late.detach(), optimizer.state.get(late, {}).get("z", late.detach())
        weight, z = weight.clone(), z.clone()
        optimizer.step()
        if step >= wait:
            change = optimizer.state[late]["z"] - z if of_z else late.detach() - weight
            made.append(round((change.abs().mean() / RATE).item(), 2))
    return made


def shown(name, optimizer_of, of_z=False):
    early, late = moves(optimizer_of, 0, of_z), moves(optimizer_of, 500, of_z)
    print(f"{name}: from the start {early}, 500 steps late {late}")
    return early, late


def alike(pair):
    return all(abs(a - b) < 0.05 for a, b in zip(*pair, strict=True))


right = [shown("torch's AdamW", torch.optim.AdamW)]
right += [shown(name, getattr(pytorch_optimizer, name)) for name in ("AdamW", "NAdam")]
z = shown("AdamWScheduleFree, z", schedulefree.AdamWScheduleFree, True)
shown("AdamWScheduleFree, trained point", schedulefree.AdamWScheduleFree)
own = moves(schedulefree.AdamWScheduleFree, 500, True, own_group=True)
print(f"AdamWScheduleFree, z, 500 steps late in a group of its own: {own}")
names = "AdamP AdamS Grams Yogi AdEMAMix AdamC SWATS AdaBelief AdaBound Ano LaProp DiffGrad".split()
far = [shown(name, getattr(pytorch_optimizer, name)) for name in names]
near = [shown(name, getattr(pytorch_optimizer, name)) for name in ("Adan", "StableAdamW")]
there = z[1][0] > 10 * z[0][0] and all(max(late) > 2.5 * max(early) for early, late in far)
there = there and all(3 * late[0] < early[0] for early, late in near)
sys.exit(0 if there and all(map(alike, [*right, (z[0], own)])) else 1)
PY
