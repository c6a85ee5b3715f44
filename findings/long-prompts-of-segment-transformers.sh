#!/usr/bin/env bash
# infini-transformer-pytorch, titans-pytorch: prompts longer than a segment are cut or garbled when generating.
#
# Guess: a model that reads long texts segment by segment and carries a memory on goes on with a long prompt by what
# it computes for that prompt in training: greedily chosen tokens are the largest logits of its forward.
# Seen with infini-transformer-pytorch 0.2.1, titans-pytorch 0.5.5, torch 2.13.0, untrained models in float64:
# InfiniTransformerWrapper.generate starts with the prompt's last segment and an empty memory. All before it has no
# influence on what comes: other tokens there, the same continuation to the token. With the gates half open, as heads
# are that read the memory, a quarter to a half of the tokens are not those of the same model fed segment by segment,
# as training does. A prompt within one segment is continued right, also past the segment's end.
# MemoryAsContextTransformer.sample with use_cache=True keeps the last window of the prompt's keys and values where
# only those of the unfinished segment are to stay. For prompts within a segment it gives the tokens that it gives
# without the cache; for longer ones nearly half of them differ, of an untrained model.
# No warning is raised.
# Matters for what these models are for: going on with texts longer than their attention reaches.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" infini-transformer-pytorch==0.2.1 titans-pytorch==0.5.5 \
    axial-positional-embedding==0.3.12 hyper-connections==0.4.11 rotary-embedding-torch==0.9.1 assoc-scan==0.0.6 \
    x-transformers==2.31.10 tensordict==0.15.3 einops==0.8.2 einx==0.4.3 torch==2.13.0 numpy==2.4.6
TQDM_DISABLE=1 PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys
from importlib.metadata import version

import torch
from infini_transformer_pytorch import InfiniTransformer, InfiniTransformerWrapper
from titans_pytorch import MemoryAsContextTransformer

print(*(f"{name} {version(name)}" for name in ("infini-transformer-pytorch", "titans-pytorch", "torch")))
SEGMENT, VOCAB, MORE = 8, 40, 16


def share(one, other):
    return (one != other).double().mean().item()


torch.manual_seed(0)
model = InfiniTransformer(num_tokens=VOCAB, dim=32, depth=2, heads=2, dim_head=16).double().eval()
with torch.no_grad():
    for name, weight in model.named_parameters():
        if name.endswith("head_gates"):
            weight.zero_()
wrapper = InfiniTransformerWrapper(model, segment_length=SEGMENT)


@torch.no_grad()
def by_segments(tokens):
    """The greedy continuation where each segment gets the memories of those before it, as in the wrapper's loss."""
    tokens, start = tokens.clone(), tokens.shape[1]
    for _ in range(MORE):
        memories = None
        for segment in tokens.split(SEGMENT, dim=1):
            logits, _, memories = model(segment, past_memories=memories, return_new_memories=True)
        tokens = torch.cat((tokens, logits[:, -1:].argmax(-1)), dim=1)
    return tokens[:, start:]


there = True
for length in (4, 8, 12, 24, 28):
    prompt = torch.randint(0, VOCAB, (32, length))
    last = (length - 1) // SEGMENT * SEGMENT
    changed = torch.cat((torch.randint(0, VOCAB, (32, last)), prompt[:, last:]), dim=1)
    made, again = (wrapper.generate(prompt=tokens, seq_len=length + MORE, temperature=0.0)
                   for tokens in (prompt, changed))
    wrong = share(made, by_segments(prompt))
    print(f"infini-transformer, segments of {SEGMENT}, prompt of {length}: {wrong:.0%} of the tokens are not those by",
          f"segments; with other tokens in the prompt's first {last}: {share(made, again):.0%} change")
    there &= share(made, again) == 0 and (wrong == 0 if length <= SEGMENT else wrong > 0.2)

torch.manual_seed(0)
model = MemoryAsContextTransformer(
    num_tokens=VOCAB, dim=32, depth=2, heads=2, dim_head=16, segment_len=SEGMENT, num_persist_mem_tokens=2,
    num_longterm_mem_tokens=2, neural_memory_layers=(1,)).double().eval()
for length in (4, 8, 12, 20):
    prompt = torch.randint(0, VOCAB, (16, length))
    plain, cached = (model.sample(prompt, length + MORE, temperature=0.0, show_progress=False, use_cache=cache)
                     for cache in (False, True))
    print(f"titans, segments of {SEGMENT}, prompt of {length}: {share(plain, cached):.1%} of the tokens with use_cache",
          "are not those without")
    there &= share(plain, cached) == 0 if length <= SEGMENT else share(plain, cached) > 0
sys.exit(0 if there else 1)
PY
