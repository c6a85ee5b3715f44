#!/usr/bin/env bash
# torchdeq: the spectral radius that it reports is none where the leading eigenvalues are complex.
#
# Guess: power_method and info["sradius"] give the largest modulus of an eigenvalue of the Jacobian,
# 0.9 for any map that turns the plane and shrinks it by 0.9.
# Seen with torchdeq 0.1.0, torch 2.13.0, float64: 0.9 only where it does not turn. Turned by 60 degrees
# it says 0.45, by 90 degrees 0.00, for a map that grows by 1.2 just as well; for 0.9 times an
# orthogonal 32 x 32 matrix, samples say 0.05 to 0.36. It ends with a Rayleigh quotient, which is the
# eigenvalue for a real one, and otherwise a mean of cosines.
# Matters where sradius is read as stability of a DEQ, logged or penalised: below 1 says nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" torch==2.13.0 torchdeq==0.1.0 numpy==2.2.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import math
import sys

import torch
import torchdeq
from torchdeq.loss import power_method

torch.manual_seed(0)
print("torch", torch.__version__, "torchdeq 0.1.0")


def reported(scale, degrees):
    turn = math.radians(degrees)
    turn = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    matrix, bias = scale * turn.double(), torch.randn(4, 2).double()
    deq = torchdeq.get_deq(f_solver="fixed_point_iter", f_max_iter=100, f_tol=1e-9).eval()
    _, info = deq(lambda z: z @ matrix.T + bias, torch.zeros_like(bias), sradius_mode=True)
    radius = info["sradius"].flatten().tolist()
    print(f"{scale} times a turn by {degrees} degrees: sradius {[round(r, 3) for r in radius]}")
    return max(radius)


straight, sixty, right, growing = (
    reported(*map_) for map_ in ((0.9, 0), (0.9, 60), (0.9, 90), (1.2, 90)))
matrix = 0.9 * torch.linalg.qr(torch.randn(32, 32).double())[0]
z = torch.randn(6, 32).double().requires_grad_()
_, radius = power_method(z @ matrix.T, z, n_iters=200)
print(f"0.9 times an orthogonal 32 x 32 matrix: {[round(r, 3) for r in radius.flatten().tolist()]}")
sane = abs(straight - 0.9) < 0.01
sys.exit(0 if sane and sixty < 0.8 and right < 0.8 and growing < 1 else 1)
PY
