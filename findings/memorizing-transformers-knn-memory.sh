#!/usr/bin/env bash
# memorizing-transformers-pytorch: memories are never cleared at a start or end token, and looked up wrongly once full.
#
# Guess: clear_memories_on_sos_token_id and clear_memories_on_eos_token_id forget a row's memories where its text starts
# or ends; a memory searched with one of the keys that it was just given returns that key and its value; beyond
# max_memories the oldest make room ("taking care of expiring old keys automagically", as its source says);
# at_batch_indices gives the rows that it names their own memories.
# Seen with memorizing-transformers-pytorch 0.4.1, faiss-cpu 1.15.1, torch 2.13.0, on a CPU:
# - the token is looked for among the embeddings, not the tokens: with either option the logits are those without it to
#   the bit, and moved by all memories of the text before by up to 0.8, at a deviation of 0.6.
# - two pieces of 40 keys in a memory of 100 are all found. The third empties the index: nothing is found until the next
#   is added, not even the third itself, and from then on each key is answered with another one's key and value, for
#   the index counts from 0 again and the store goes on.
# - after at_batch_indices([0]) and at_batch_indices([1]) with 40 keys each, row 1 returns zeros for its keys: both rows
#   move the place where either writes.
# No warning is raised. (The package asks for faiss-gpu, which pip does not find here; faiss-cpu has what it needs.)
# Matters for texts and puzzles one after the other: each is answered with memories of others, or with random ones.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" \
    torch==2.13.0 faiss-cpu==1.15.1 einops==0.8.2 joblib==1.6.0 filelock==4.3.1 numpy==2.4.6
python3 -m pip install --quiet --target "$folder" --no-deps \
    memorizing-transformers-pytorch==0.4.1 einops-exts==0.0.4
cd "$folder"
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys
from importlib.metadata import version

import torch
from memorizing_transformers_pytorch import KNNMemory, MemorizingTransformer

print(*(f"{name} {version(name)}" for name in ("memorizing-transformers-pytorch", "faiss-cpu", "torch")))


def logits(**options):
    """Those of a text that follows another one, with its memories and without."""
    torch.manual_seed(0)
    model = MemorizingTransformer(
        num_tokens=32, dim=32, depth=2, heads=2, dim_head=8, memorizing_layers=(1,), max_knn_memories=1000,
        num_retrieved_memories=4, knn_memories_directory="./memories", **options).eval()
    texts = torch.randint(3, 32, (2, 2, 16))
    texts[:, :, 0], texts[:, :, -1] = 1, 2
    memories = model.create_knn_memories(batch_size=2)
    with torch.no_grad():
        model(texts[0], knn_memories=memories)
        following = model(texts[1], knn_memories=memories, add_knn_memory=False)
        memories.clear_memory()
        return following, model(texts[1], knn_memories=memories, add_knn_memory=False)


plain, cleared = logits()
moved = (plain - cleared).abs().max().item()
print(f"logits of a second text, deviation {cleared.std():.2f}: moved by the memories of the first {moved:.2f}")
there = moved > 0.1
for option in ({"clear_memories_on_sos_token_id": 1}, {"clear_memories_on_eos_token_id": 2}):
    kept = torch.equal(logits(**option)[0], plain)
    print(f"  with {option} equal to the ones without: {kept}")
    there &= kept


def pieces(number):
    """Keys and values of 40 tokens each, the keys of length 1."""
    pairs = torch.randn(number, 1, 40, 2, 8)
    return pairs / pairs.norm(dim=-1, keepdim=True)


def looked_up(memory, pairs):
    """The shares of keys that find anything, and that find themselves and their value."""
    found, any_found = memory.search(pairs[:, :, 0], 1)
    return any_found.float().mean().item(), (found[:, :, 0] == pairs).all(dim=(2, 3)).float().mean().item()


torch.manual_seed(0)
memory = KNNMemory(dim=8, max_memories=100, memmap_filename="./full.memmap", multiprocessing=False)
seen = []
for number, pairs in enumerate(pieces(5), start=1):
    memory.add(pairs)
    seen.append(looked_up(memory, pairs))
    print(f"{40 * number} keys in a memory of 100: of the last 40, {seen[-1][0]:.0%} find a memory, "
          f"{seen[-1][1]:.0%} themselves")
there &= seen == [(1, 1), (1, 1), (0, 0), (1, 0), (1, 0)]

memory = KNNMemory(dim=8, max_memories=1000, num_indices=2, memmap_filename="./rows.memmap", multiprocessing=False)
for row, pairs in enumerate(pieces(2)):
    with memory.at_batch_indices([row]):
        memory.add(pairs)
        share = looked_up(memory, pairs)[1]
        found = memory.search(pairs[:, :, 0], 1)[0]
    print(f"40 keys given to row {row} alone: {share:.0%} find themselves, {(found == 0).float().mean():.0%} zeros")
    there &= share == (row == 0)
sys.exit(0 if there else 1)
PY
