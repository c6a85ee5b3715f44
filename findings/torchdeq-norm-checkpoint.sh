#!/usr/bin/env bash
# torchdeq: a checkpoint loaded into a normed model is not used until reset_norm is called.
#
# Guess: after apply_norm the layers are normed, and after load_state_dict, which finds all keys, the
# model answers as the saved one.
# Seen with torchdeq 0.1.0, torch 2.13.0, float32: a spectrally normed layer keeps the weight that it had
# (norm 3.41) until reset_norm, which makes it 1.48 in its first call and 1.00 after 20. A model loaded
# from a trained one's state_dict says that all keys matched, and answers with the weights that it
# was made with: 88 % off for spectral_norm, 153 % for weight_norm. After one reset_norm both agree. The
# layers' weight is a plain attribute beside the parameters, which loading does not touch. Its examples
# call reset_norm in every forward pass, where nothing of this shows.
# Matters where reset_norm stands in the training loop: evaluated from a checkpoint, the model is an
# untrained one, and nothing is said. Call it after every load_state_dict, or in forward.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" torch==2.13.0 torchdeq==0.1.0 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys
from importlib.metadata import version

import torch
from torch import nn
from torchdeq.norm import apply_norm, reset_norm

torch.manual_seed(0)
print("torchdeq", version("torchdeq"), "torch", torch.__version__)
layer = nn.Sequential(nn.Linear(64, 64))
with torch.no_grad():
    layer[0].weight *= 3
apply_norm(layer, "spectral_norm")
sigmas = []
for _ in range(22):
    sigmas.append(torch.linalg.matrix_norm(layer[0].weight.detach(), 2).item())
    reset_norm(layer)
print(f"spectral norm after apply_norm {sigmas[0]:.2f}, after one reset_norm {sigmas[1]:.2f}, "
      f"after 20 more {sigmas[-1]:.2f}")


def made(norm):
    net = nn.Sequential(nn.Linear(64, 64))
    apply_norm(net, norm)
    return net


def distances(norm):
    """How far a loaded model is from the saved one: as loaded, and after reset_norm."""
    net, x = made(norm), torch.randn(8, 64)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(100):
        reset_norm(net)
        batch = torch.randn(16, 64)
        optimizer.zero_grad()
        (net(batch) - batch).square().mean().backward()
        optimizer.step()
    net.eval()
    reset_norm(net)
    loaded = made(norm).eval()
    said = loaded.load_state_dict(net.state_dict())
    with torch.no_grad():
        before = ((loaded(x) - net(x)).norm() / net(x).norm()).item()
        reset_norm(loaded)
        after = ((loaded(x) - net(x)).norm() / net(x).norm()).item()
    print(f"{norm}: {said}; off by {100 * before:.0f} %, after reset_norm by {100 * after:.4f} %")
    return before, after


pairs = [distances("spectral_norm"), distances("weight_norm")]
there = sigmas[0] > 3 and 0.99 < sigmas[-1] < 1.01
sys.exit(0 if there and all(before > 0.3 and after < 1e-4 for before, after in pairs) else 1)
PY
