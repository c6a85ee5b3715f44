#!/usr/bin/env bash
# nngeometry, asdfghjkl, opacus: per-sample gradients of a layer that a loop applies several times.
#
# Guess: each sums a layer's gradients over its uses, or refuses such a net.
# Seen with nngeometry 0.4, asdfghjkl 0.1a5, opacus 1.6.0, torch 2.13.0, Python 3.11, on a CPU:
# - applied once, a layer has the right per-sample gradients (asdfghjkl) and Jacobian (nngeometry), to 1e-6.
# - applied two, three and eight times, they are off by 44, 29 and 6 % of their norm (asdfghjkl's batch_gradient) and by
#   55, 31 and 5 % (nngeometry's Jacobian), without a warning. nngeometry pairs the gradient at every use's output with
#   what the layer read at its last use: that gives its numbers to 1e-7. Its Fisher matrix is off too, in the layer's
#   block by 21, 7 and 1 %.
# - opacus sums over the uses: right to 1e-6 for all of them.
# BackPACK (backpack-for-pytorch 1.7.1) raises an AttributeError in the backward pass of such a net; not run here.
# Matters for Fisher matrices, natural gradients and influence functions of nets that iterate.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --no-compile --target "$folder" \
    nngeometry==0.4 asdfghjkl==0.1a5 opacus==1.6.0 torch==2.13.0 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys
from importlib.metadata import version

import torch
from asdl import batch_gradient
from nngeometry.jacobian import Jacobian
from nngeometry.metrics import FIM
from nngeometry.object import PMatDense
from opacus import GradSampleModule
from torch.func import functional_call, grad, jacrev, vmap
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

packages = "nngeometry", "asdfghjkl", "opacus", "torch"
print(", ".join(f"{package} {version(package)}" for package in packages))
SAMPLES, WIDTH, CLASSES = 5, 4, 3


class Loop(torch.nn.Module):
    def __init__(self, uses):
        super().__init__()
        self.uses, self.layer, self.act = uses, torch.nn.Linear(WIDTH, WIDTH), torch.nn.Tanh()
        self.head = torch.nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        for _ in range(self.uses):
            x = self.act(self.layer(x))
        return self.head(x)


def shifted(shifts, net, x):
    """The net's answer to one sample where every use's output is shifted by its own row."""
    for shift in shifts:
        x = torch.tanh(net.layer.weight.detach() @ x + net.layer.bias.detach() + shift)
    return net.head.weight.detach() @ x + net.head.bias.detach()


def last_input(net, x):
    """What the layer reads at its last use."""
    for _ in range(net.uses - 1):
        x = torch.tanh(net.layer(x))
    return x.detach()


def off(a, b):
    return ((a - b).norm() / b.norm()).item()


torch.manual_seed(0)
x, labels = torch.randn(SAMPLES, WIDTH), torch.randint(0, CLASSES, (SAMPLES,))
loader = DataLoader(TensorDataset(x, labels), batch_size=SAMPLES)
size, there = WIDTH * WIDTH, True
for uses in (1, 2, 3, 8):
    torch.manual_seed(1)
    net = Loop(uses)
    known = {name: value.detach().clone() for name, value in net.named_parameters()}

    def loss(weights, x, label):
        return cross_entropy(functional_call(net, weights, (x[None],)), label[None])

    def logits(weights, x):
        return functional_call(net, weights, (x[None],))[0]

    gradients = vmap(grad(loss), (None, 0, 0))(known, x, labels)["layer.weight"].flatten(1)
    jacobians = vmap(jacrev(logits), (None, 0))(known, x)
    jacobian = jacobians["layer.weight"].flatten(2)
    outputs = vmap(jacrev(lambda shifts, x: shifted(shifts, net, x)), (None, 0))(
        torch.zeros(uses, WIDTH), x
    )
    guessed = torch.einsum("ncud,ni->ncdi", outputs, last_input(net, x)).flatten(2)

    whole = torch.cat([jacobians[name].flatten(2) for name in known], 2)
    chances = net(x).softmax(1).detach()
    curvature = torch.diag_embed(chances) - chances[:, :, None] * chances[:, None, :]
    fisher = torch.einsum("nci,ncd,ndj->ij", whole, curvature, whole) / SAMPLES

    seen = Jacobian(net, loader, function=lambda x, _: net(x)).to_torch()[..., :size].transpose(0, 1)
    matrix = FIM(net, loader, PMatDense, function=lambda x, _: net(x)).to_torch()
    block = slice(0, size + WIDTH)
    asdl = batch_gradient(net, lambda: cross_entropy(net(x), labels, reduction="sum").backward())
    sampled = GradSampleModule(Loop(uses))
    sampled._module.load_state_dict(known)
    cross_entropy(sampled(x), labels).backward()
    opacus = sampled._module.layer.weight.grad_sample.flatten(1)

    errors = {
        "nngeometry": off(seen, jacobian),
        "its Fisher block": off(matrix[block, block], fisher[block, block]),
        "asdfghjkl": off(asdl[:, :size], gradients),
        "opacus": off(opacus, gradients),
    }
    print(
        f"applied {uses} times, off by "
        + ", ".join(f"{name} {value:.2g}" for name, value in errors.items())
        + f"; every use with the last one's input is nngeometry's to {off(seen, guessed):.1g}"
    )
    there &= errors["opacus"] < 1e-5 and off(seen, guessed) < 1e-5
    wrong = [errors[name] for name in ("nngeometry", "its Fisher block", "asdfghjkl")]
    there &= max(wrong) < 1e-5 if uses == 1 else (uses > 3 or min(wrong) > 0.05)
sys.exit(0 if there else 1)
PY
