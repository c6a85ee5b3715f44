#!/usr/bin/env bash
# thop, ptflops, calflops: a layer that several blocks share is counted once too often for each sharer.
#
# Guess: n blocks that use one linear layer in turn cost n of its products, the same as n blocks with
# a layer each: sharing weights saves parameters, not work.
# Seen with thop 0.1.1.post2209072238, ptflops 0.7.5, calflops 0.3.2, torch 2.13.0, on a CPU: with a
# layer each all are right. With one for all, what its calls add up to is added for each block that
# holds it: ptflops (its default engine) and calflops say n times too many. thop hooks the layer once
# for each holder as well: n * n times too many, 16 times for four blocks. fvcore, and ptflops with
# backend="aten", are right, and all are where one parent calls the layer n times. Only ptflops says
# something: that it "can affect your code".
# Matters where costs of weight-shared and unshared nets are compared (one core between norms or gates
# that each pass has of its own): the shared net seems dearer than it is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" thop==0.1.1.post2209072238 ptflops==0.7.5 \
    calflops==0.3.2 transformers==5.24.0 fvcore==0.1.5.post20221221 torch==2.13.0 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import logging
import sys
from importlib.metadata import version

import torch
from torch import nn

logging.disable(logging.CRITICAL)
import thop
from calflops import calculate_flops
from fvcore.nn import FlopCountAnalysis
from ptflops import get_model_complexity_info

WIDTH, LENGTH = 32, 16


class Block(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.gain = layer, nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        return torch.tanh(self.gain * self.layer(x))


def net(blocks, shared):
    one = nn.Linear(WIDTH, WIDTH, bias=False)
    each = (one if shared else nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(blocks))
    return nn.Sequential(*map(Block, each))


def by_ptflops(model, **options):
    return get_model_complexity_info(
        model, (LENGTH, WIDTH), as_strings=False, print_per_layer_stat=False, **options)[0]


def by_calflops(model):
    return calculate_flops(model, input_shape=(1, LENGTH, WIDTH), output_as_string=False,
                           print_results=False, print_detailed=False)[1]


x = torch.randn(1, LENGTH, WIDTH)
counters = {
    "fvcore": lambda model: FlopCountAnalysis(model, x).by_operator()["linear"],
    "thop": lambda model: thop.profile(model, (x,), verbose=False)[0],
    "ptflops": by_ptflops,
    "ptflops, aten": lambda model: by_ptflops(model, backend="aten"),
    "calflops": by_calflops,
}
for name in ("thop", "ptflops", "calflops", "fvcore", "torch"):
    print(name, version(name), end="  ")
print("\nmultiply-adds of the linear layers, in those of one call:")
one_call, ratios = LENGTH * WIDTH**2, {}
for name, count in counters.items():
    ratios[name] = [
        [count(net(n, shared)) / one_call for n in (1, 2, 3, 4)] for shared in (False, True)]
    apart, shared = ([round(ratio, 2) for ratio in row] for row in ratios[name])
    print(f"  {name}: 1 to 4 blocks, a layer each {apart}, one for all {shared}")
wrong = ("thop", "ptflops", "calflops")
sane = all(abs(row[0][3] - 4) < 0.5 for row in ratios.values())  # the same work, weights apart
sys.exit(0 if sane and all(ratios[name][1][3] > 8 for name in wrong) else 1)
PY
