#!/usr/bin/env bash
# rotary-embedding-torch: queries in bfloat16 are rotated by positions rounded to bfloat16.
#
# Guess: the angles are had in float32, as the frequencies are and as the module switches autocast off
# for, so that bfloat16 queries come back right to bfloat16's rounding (0.2 to 0.3 % in norm) at any
# position.
# Seen with rotary-embedding-torch 0.9.1, torch 2.13.0, on a CPU: so it is up to position 256. Beyond, the
# positions themselves are an arange in the queries' type, in which 257 is 256 and from 512 on four
# neighbours are one: from 256 to 511 the result is 21 % off, from 512 to 1,023 33 %, and neighbours
# are rotated alike, so that their order is lost.
# Matters where activations are bfloat16 (weights cast, or autocast before the attention) and a context
# or a grid has more than 256 places: cast queries and keys to float32 before, and back after.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" \
    rotary-embedding-torch==0.9.1 torch==2.13.0 einops==0.8.1 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys
from importlib.metadata import version

import torch
from rotary_embedding_torch import RotaryEmbedding

print("rotary-embedding-torch", version("rotary-embedding-torch"), "torch", torch.__version__)
torch.manual_seed(0)
query = torch.randn(1, 1, 1, 32).bfloat16().expand(1, 1, 1024, 32)  # the same at every position
exact = RotaryEmbedding(dim=32).rotate_queries_or_keys(query.float())
rotated = RotaryEmbedding(dim=32).rotate_queries_or_keys(query).float()
off = {}
for first, end in ((0, 256), (256, 512), (512, 1024)):
    part = slice(first, end)
    off[first] = ((rotated - exact)[:, :, part].norm() / exact[:, :, part].norm()).item()
    print(f"positions {first} to {end - 1}: {100 * off[first]:.1f} % off float32")
alike = sum(torch.equal(rotated[:, :, i], rotated[:, :, i + 1]) for i in range(256, 1023))
print(f"{alike} of the 767 neighbours from 256 on are rotated alike; "
      f"in float32 {sum(torch.equal(exact[:, :, i], exact[:, :, i + 1]) for i in range(256, 1023))}")
sys.exit(0 if off[0] < 0.01 and min(off[256], off[512]) > 0.05 and alike > 400 else 1)
PY
