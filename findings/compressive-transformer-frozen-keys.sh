#!/usr/bin/env bash
# compressive-transformer-pytorch: the first training segments freeze the key and value projections for good.
#
# Guess: every weight is trained in every step; that the auxiliary loss of the compressed memory leaves the attention's
# weights alone is done within that loss.
# Seen with compressive-transformer-pytorch 0.4.0, torch 2.13.0: for that loss it detaches the projection's weight
# itself, in place. The first time a memory is compressed in training mode, in the second segment with the default
# mem_len, to_kv.weight of each memory layer has requires_grad False ever after. It gets a gradient in that first step
# and then none: after 30 steps of Adam these matrices, half of the attention's weights, are to the bit those after
# the first step, while all others of these layers have moved. With requires_grad set again behind each segment they
# are trained. Layers without memory, and models whose sequences fit in one segment, are not touched.
# No warning is raised; the loss falls all the same, and a state dict does not show it.
# Matters for every model trained with it, most where one is fine-tuned or the projections should learn what to keep.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" \
    compressive-transformer-pytorch==0.4.0 mogrifier==0.0.5 torch==2.13.0 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys
from importlib.metadata import version

import torch
from compressive_transformer_pytorch import AutoregressiveWrapper, CompressiveTransformer

print("compressive-transformer-pytorch", version("compressive-transformer-pytorch"), "torch", torch.__version__)
SEGMENT, STEPS = 16, 30


def train(segments, again=False):
    """Which weights stood still after the first step; with requires_grad set again behind each segment if so asked."""
    torch.manual_seed(0)
    model = AutoregressiveWrapper(CompressiveTransformer(
        num_tokens=20, dim=32, depth=3, heads=2, seq_len=SEGMENT, mem_len=SEGMENT, cmem_len=8, memory_layers=[2, 3]))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(STEPS):
        tokens = torch.randint(0, 20, (4, SEGMENT * segments + 1))
        for number, (loss, auxiliary, _) in enumerate(model(tokens, return_loss=True), 1):
            (loss + auxiliary).backward()
            if step == 0:
                frozen = [name for name, weight in model.named_parameters() if not weight.requires_grad]
                print(f"  step 1, segment {number}: {len(frozen)} weights without requires_grad")
            if again:
                model.requires_grad_(True)
        optimizer.step()
        optimizer.zero_grad()
        if step == 0:
            first = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    still = [name for name, weight in model.named_parameters() if torch.equal(weight, first[name])]
    print(f"  as after step 1 in step {STEPS}:", *(still or ["none"]))
    return {name for name in still if "to_kv" in name}


layers = {f"net.attn_layers.{number}.fn.fn.to_kv.weight" for number in (1, 2)}
print("three segments:")
there = train(3) == layers
print("three segments, requires_grad_(True) behind each:")
there &= not train(3, again=True)
print("one segment:")
there &= not train(1)
sys.exit(0 if there else 1)
PY
