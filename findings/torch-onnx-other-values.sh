#!/usr/bin/env bash
# torch.onnx: logsigmoid, log1p, a scattered mean and others are exported as something else, unsaid.
#
# Guess: what torch.onnx.export exports gives torch's values, to float32's rounding, and it refuses what
# ONNX cannot say.
# Seen with torch 2.13.0, onnxscript 0.7.2, onnxruntime 1.32.0, on a CPU: logsigmoid is exported as the log
# of a sigmoid, which is -inf for a logit of -18 or less (-18 to -100 in torch), and
# binary_cross_entropy_with_logits with it: inf. log1p and expm1 become log(1 + x) and exp(x) - 1: 0 for
# 1e-8. scatter_reduce's "mean", which ONNX does not have, becomes a scatter that keeps one of the
# values: 5 for the mean of 1 and 5; its "sum" is right. cross_entropy's label_smoothing is left out. The
# export succeeds each time, without a warning.
# Matters for models whose graph holds a log-probability (of halting, of being right), a log1p of small
# residuals, a mean over neighbours or a smoothed loss. Compare an exported model on large logits too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" \
    torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
PYTHONPATH="$folder" python3 - <<'PY'
import logging
import sys
import warnings
from importlib.metadata import version

import onnxruntime
import torch
from torch.nn import functional

names = ("torch", "onnxscript", "onnxruntime")
print(*(f"{name} {version(name)}" for name in names))
told = []


class Kept(logging.Handler):
    """What the exporter says, but for hints of an absent torchvision."""

    def emit(self, record):
        if record.levelno >= logging.WARNING and "torchvision" not in record.getMessage():
            told.append(record.getMessage())


for logger in ("torch", "torch.onnx", "onnxscript"):
    logging.getLogger(logger).handlers = [Kept()]


class Called(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def both(name, function, *inputs):
    """What torch gives, and what the exported model gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        program = torch.onnx.export(Called(function).eval(), inputs, dynamo=True, verbose=False)
    told.extend(str(warning.message) for warning in caught
                if not issubclass(warning.category, (DeprecationWarning, FutureWarning)))
    model = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    fed = {put.name: value.numpy() for put, value in zip(model.get_inputs(), inputs, strict=True)}
    ours, theirs = function(*inputs), torch.from_numpy(model.run(None, fed)[0])
    show = [[float(f"{value:.4g}") for value in got.flatten().tolist()] for got in (ours, theirs)]
    print(f"{name}: torch {show[0]}, exported {show[1]}")
    return ours, theirs


logits, small = torch.tensor([-5.0, -17, -18, -30, -100]), torch.tensor([1e-8, 1e-5])
places, values = torch.tensor([0, 1, 0, 2]), torch.tensor([1.0, 2, 5, 4])
scores, labels = torch.tensor([[0.0, 1, 3], [2, 0, 1]]), torch.tensor([2, 0])


def reduced(how):
    return lambda put: torch.zeros(3).scatter_reduce(0, places, put, how, include_self=False)


def loss_of(logits):
    return functional.binary_cross_entropy_with_logits(
        logits, torch.ones_like(logits), reduction="none")


def smoothed(by):
    return lambda scores, labels: functional.cross_entropy(scores, labels, label_smoothing=by)


log_sigmoid = both("logsigmoid", functional.logsigmoid, logits)
loss = both("binary_cross_entropy_with_logits", loss_of, logits)
exact = [both("log1p", torch.log1p, small), both("expm1", torch.expm1, small)]
mean = both("scatter_reduce, mean", reduced("mean"), values)
smooth = both("cross_entropy, label_smoothing 0.2", smoothed(0.2), scores, labels)
right = [
    both("scatter_reduce, sum", reduced("sum"), values),
    both("cross_entropy", smoothed(0.0), scores, labels),
    both("softplus", functional.softplus, logits),
]
print("warnings:", *told or ["none"])
there = log_sigmoid[1][2:].isneginf().all() and loss[1][2:].isposinf().all() and not told
there = there and all(theirs[0] == 0 < ours[0] for ours, theirs in exact)
there = there and not mean[0].allclose(mean[1]) and (smooth[0] - smooth[1]).abs() > 0.05
sys.exit(0 if there and all(ours.allclose(theirs) for ours, theirs in right) else 1)
PY
