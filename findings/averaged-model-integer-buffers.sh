#!/usr/bin/env bash
# torch, ema-pytorch: a model's integer buffers lag behind, or stand still, in its averaged copy.
#
# Guess: a copy made to be evaluated on averaged weights has the model's integer buffers (a counter of
# steps): nobody wants a mean of those.
# Seen with torch 2.13.0, ema-pytorch 0.8.3, on a CPU: torch's AveragedModel copies them by default.
# With use_buffers=True, which its documentation shows for moving averages, it averages them like
# weights and cuts off the fraction each time: after 500 steps the counter is 401 with a decay of 0.99
# and 1 with 0.999 or the default average, where the same counter in float32 is 401.7, 107.4 and 250.5;
# get_swa_multi_avg_fn given by hand raises. ema-pytorch averages floating buffers and leaves integer
# ones as they were when it was made: 0 after 500 steps, and after 2,000, and even when the buffer is
# named in param_or_buffer_names_no_ema: of those it copies the floating ones only.
# Matters for nets that hold a counter (steps done, the place in a warm-up or curriculum): evaluated on
# averaged weights they are at another place. Copy integer buffers by hand.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" torch==2.13.0 ema-pytorch==0.8.3 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys
from importlib.metadata import version

import torch
from ema_pytorch import EMA
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

print("torch", torch.__version__, "ema-pytorch", version("ema-pytorch"))


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("floating", torch.tensor(0.0))

    def forward(self):
        self.steps += 1
        self.floating += 1


def counted(name, averaged, steps=500):
    net = Counting()
    wrapped = averaged(net)
    for _ in range(steps):
        net()
        wrapped.update() if isinstance(wrapped, EMA) else wrapped.update_parameters(net)
    copy = wrapped.ema_model if isinstance(wrapped, EMA) else wrapped.module
    print(f"{name}, after {net.steps} steps: {copy.steps}, in float32 {copy.floating:.1f}")
    return copy.steps.item(), round(copy.floating.item(), 1)


def torchs(average=None, use_buffers=True):
    return lambda net: AveragedModel(net, multi_avg_fn=average, use_buffers=use_buffers)


def emas(**options):
    return lambda net: EMA(net, beta=0.99, **options)


copied = counted("AveragedModel", torchs(use_buffers=False))
fast = counted("AveragedModel, use_buffers, decay 0.99", torchs(get_ema_multi_avg_fn(0.99)))
slow = counted("AveragedModel, use_buffers, decay 0.999", torchs(get_ema_multi_avg_fn(0.999)))
mean = counted("AveragedModel, use_buffers, its default average", torchs())
try:
    counted("", torchs(get_swa_multi_avg_fn()))
    raised = False
except RuntimeError as error:
    print("AveragedModel, use_buffers, get_swa_multi_avg_fn:", str(error).split(",")[0])
    raised = True
ema = [
    counted("ema-pytorch", emas()),
    counted("ema-pytorch", emas(), 2000),
    counted("ema-pytorch, both not to be averaged",
            emas(param_or_buffer_names_no_ema={"steps", "floating"})),
]
sane = copied == (500, 500) and mean[1] == 250.5 and all(floating > 100 for _, floating in ema)
there = fast[0] < 450 and slow[0] == mean[0] == 1 and raised and all(steps == 0 for steps, _ in ema)
sys.exit(0 if sane and there else 1)
PY
