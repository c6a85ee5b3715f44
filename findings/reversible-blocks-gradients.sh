#!/usr/bin/env bash
# memcnn and revtorch: reversible blocks whose gradients are not those of the same network without them.
#
# Guess: a reversible block saves memory and changes no gradient; with dropout inside where the option for it is
# on (preserve_rng_state of memcnn, fix_random_seed of revtorch), also for blocks that a loop calls again.
# Seen with memcnn 1.5.2, revtorch 0.2.4, torch 2.13.0:
# - memcnn, dropout inside: gradients are as far from the right ones as these are from zero, with
#   preserve_rng_state and with keep_input too. The option covers the way back to the input; the gradients
#   are taken after it, with another mask. Without dropout they are right.
# - memcnn: the gradient of an input that is a leaf (a learned start state, an adversarial input) is doubled:
#   it is put there by hand, and then autograd adds it.
# - revtorch, fix_random_seed: right for blocks called once; for one block called three times, wrong by about
#   their own size: a block remembers only the seeds of its last call.
# - revtorch: where the input needs no gradient (data), no block gets any, untold; only what follows trains.
# No error is raised, and the forward pass is right.
# Matters for looped and reversible networks.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" torch==2.13.0 numpy==2.2.6 tqdm==4.70.1
python3 -m pip install --quiet --no-deps --target "$folder" memcnn==1.5.2 revtorch==0.2.4
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import random
import sys
from importlib.metadata import version

import memcnn
import revtorch
import torch
from torch import nn

torch.manual_seed(0)
random.seed(0)
print("memcnn", version("memcnn"), "revtorch", version("revtorch"), "torch", torch.__version__)
start = torch.randn(8, 32)


def part(drop):
    return nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Dropout(drop))


def gradients(model, call):
    model.zero_grad()
    out = call()
    out.square().sum().backward()
    return out.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])


def off(name, got, right):
    out, error = (got[0] - right[0]).abs().max(), (got[1] - right[1]).norm() / right[1].norm()
    print(f"{name}: outputs differ by {out:.0e}, gradients by {error:.0%} of their norm")
    return error.item() if out < 1e-6 else float("nan")


def memcnn_off(drop, **options):
    fns = [memcnn.AdditiveCoupling(part(drop), part(drop)) for _ in range(4)]
    results = []
    for kind in (options, {"disable": True}):
        model = nn.Sequential(*[memcnn.InvertibleModuleWrapper(fn, **kind) for fn in fns])
        torch.manual_seed(1)
        results.append(gradients(model, lambda: model(start.clone().requires_grad_() * 1)))
    return off(f"memcnn, dropout {drop}, {options}", *results)


class Seeds(dict):
    log = []

    def __setitem__(self, key, value):
        self.log.append(value)
        super().__setitem__(key, value)


def revtorch_off(distinct, calls):
    blocks = [revtorch.ReversibleBlock(part(0.5), part(0.5), fix_random_seed=True) for _ in range(distinct)]
    Seeds.log.clear()
    for block in blocks:
        block.random_seeds = Seeds()
    model = revtorch.ReversibleSequence(nn.ModuleList(blocks * calls))
    got = gradients(model, lambda: model(start.clone().requires_grad_()))
    seeds = iter(list(Seeds.log))

    def plain():
        first, second = start.chunk(2, dim=1)
        for block in blocks * calls:
            torch.manual_seed(next(seeds))
            first = first + block.f_block(second)
            torch.manual_seed(next(seeds))
            second = second + block.g_block(first)
        return torch.cat([first, second], dim=1)

    return off(f"revtorch, dropout 0.5, {distinct} block(s) called {calls} time(s)",
               got, gradients(model, plain))


right = memcnn_off(0.0, preserve_rng_state=True), revtorch_off(3, 1)
wrong = (memcnn_off(0.5, preserve_rng_state=True), memcnn_off(0.5, keep_input=True), revtorch_off(1, 3))

fn = memcnn.AdditiveCoupling(part(0.0), part(0.0))
leaf, plain = start.clone().requires_grad_(), start.clone().requires_grad_()
memcnn.InvertibleModuleWrapper(fn, keep_input=True)(leaf).square().sum().backward()
fn(plain).square().sum().backward()
ratio = leaf.grad / plain.grad
print(f"memcnn, gradient of a leaf input over the right one: {ratio.min():.4f} to {ratio.max():.4f}")

model = nn.Sequential(
    revtorch.ReversibleSequence(nn.ModuleList([revtorch.ReversibleBlock(part(0.0), part(0.0))])),
    nn.Linear(32, 1))
model(start).sum().backward()
untrained = [name for name, p in model.named_parameters() if p.grad is None]
print(f"revtorch on data: {len(untrained)} parameters of {len(list(model.parameters()))} have no gradient")

there = max(right) < 1e-4 and min(wrong) > 0.3
there &= (ratio - 2).abs().max().item() < 0.01 and len(untrained) == 4
sys.exit(0 if there else 1)
PY
