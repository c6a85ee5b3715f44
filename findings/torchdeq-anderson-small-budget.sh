#!/usr/bin/env bash
# torchdeq: an Anderson solve with a budget of one or two evaluations returns its start.
#
# Guess: with f_max_iter 1 or 2 the solver returns the best of one or two iterates and its residual.
# Seen with torchdeq 0.1.0, torch 2.13.0: the map is called twice either way, the state returned is
# the start (zeros), nstep is 0 and the residual reported 1e8. From 3 on it solves. fixed_point_iter
# and broyden return iterates at any budget.
# Matters where the budget is small or grows with training: 1 and 2 train on the start alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" torch==2.13.0 torchdeq==0.1.0 numpy==2.2.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys

import torch
import torchdeq

torch.manual_seed(0)
weight = 0.9 * torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0]
x = torch.randn(4, 8, dtype=torch.float64)
print("torch", torch.__version__, "torchdeq 0.1.0")
seen = {}
for solver in ("anderson", "broyden", "fixed_point_iter"):
    for budget in (1, 2, 3):
        calls = 0

        def f(z):
            global calls
            calls += 1
            return torch.tanh(z @ weight + x)

        deq = torchdeq.get_deq(f_solver=solver, f_max_iter=budget, f_tol=1e-3).eval()
        with torch.no_grad():
            z, info = deq(f, torch.zeros(4, 8, dtype=torch.float64))
        still = bool((z[-1] == 0).all())
        seen[solver, budget] = still
        steps, residual = info["nstep"].max().item(), info["rel_lowest"].max().item()
        print(f"{solver:16} budget {budget}: {calls} calls, nstep {steps:.0f}, "
              f"residual {residual:.2e}, returns its start: {still}")
as_seen = {key for key, still in seen.items() if still} == {("anderson", 1), ("anderson", 2)}
sys.exit(0 if as_seen else 1)
PY
