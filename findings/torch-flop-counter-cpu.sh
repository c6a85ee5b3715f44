#!/usr/bin/env bash
# torch: FlopCounterMode counts nothing of attention and LSTMs on a CPU.
#
# Guess: what an operator costs does not depend on where it runs; scaled_dot_product_attention is in the
# counter's list, and on a CPU it is counted by the same formula as on a GPU, forward and backward.
# Seen with torch 2.13.0 on a CPU: it counts 0, for the operator that runs there
# (_scaled_dot_product_flash_attention_for_cpu) has no formula, and nothing is said. The same attention
# written as two matrix products is counted in full. An nn.LSTM counts 0 too (mkldnn_rnn_layer), where
# an nn.GRU is counted, and so does an nn.TransformerEncoderLayer in eval mode without gradients, whose
# fast path is one operator, where in training mode its linear layers are counted.
# Matters where FLOPs of models are compared on a CPU: who attends through torch's own function, or
# evaluates torch's own layers, seems to spend less or nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" torch==2.13.0 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

print("torch", torch.__version__)


def counted(run):
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@torch.no_grad()
def without_gradients(net, x):
    net(x)


q, k, v = torch.randn(3, 2, 4, 16, 8, requires_grad=True).unbind(0)
layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
x = torch.randn(2, 16, 32)
counts = {
    "attention by torch's function": counted(lambda: scaled_dot_product_attention(q, k, v)),
    "the same and its backward pass": counted(
        lambda: scaled_dot_product_attention(q, k, v).sum().backward()),
    "the same as two products": counted(lambda: (q @ k.mT / 8**0.5).softmax(-1) @ v),
    "LSTM": counted(lambda: nn.LSTM(32, 32)(x)),
    "GRU": counted(lambda: nn.GRU(32, 32)(x)),
    "encoder layer, training mode": counted(lambda: without_gradients(layer.train(), x)),
    "encoder layer, eval mode": counted(lambda: without_gradients(layer.eval(), x)),
}
for name, count in counts.items():
    print(f"{name}: {count:,}")
print(f"attention by hand: {4 * 2 * 4 * 16 * 16 * 8:,}")
fused, both, products, lstm, gru, train, fast = counts.values()
there = fused == both == lstm == fast == 0 and products == 4 * 2 * 4 * 16 * 16 * 8
sys.exit(0 if there and gru > 0 and train > 0 else 1)
PY
