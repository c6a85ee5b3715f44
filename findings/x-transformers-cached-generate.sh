#!/usr/bin/env bash
# x-transformers: generate() answers otherwise than the model it runs, for two options of the decoder.
#
# Guess: AutoregressiveWrapper.generate at temperature 0 gives the most likely token after each prefix:
# its cache, on unless told otherwise, saves time only, and where a model cannot be cached
# (can_cache_kv) it is not used.
# Seen with x-transformers 2.31.10, torch 2.13.0, float32, on a CPU: so with rotary positions. With
# shift_tokens=1 the step sees one token and shifts in zeros for the one before it; with
# attn_data_dependent_alibi its forget gates are those of that token only. can_cache_kv is True, no
# word is said, and of 192 greedy tokens from 8 prompts about nine in ten and a third are others than
# full forward passes choose. With cache_kv=False all are right.
# Matters for whoever samples from, or scores by generating with, a model trained with either (token
# shift, forgetting attention): the loss is that of another model. Pass cache_kv=False.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" \
    x-transformers==2.31.10 torch==2.13.0 einops==0.8.2 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys
from importlib.metadata import version

import torch
from loguru import logger

logger.remove()
from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

print("x-transformers", version("x-transformers"), "torch", torch.__version__)
PROMPTS, NEW = 8, 24


@torch.no_grad()
def others(**options):
    """Shares of the generated tokens that full forwards do not choose: as by default, uncached."""
    torch.manual_seed(0)
    layers = Decoder(dim=64, depth=3, heads=2, attn_dim_head=32, **options)
    model = TransformerWrapper(num_tokens=50, max_seq_len=64, attn_layers=layers).eval()
    for weight in model.parameters():
        if weight.ndim > 1:  # as far from each other as those of a trained model
            torch.nn.init.normal_(weight, std=0.2)
    tokens = prompts = torch.randint(0, 50, (PROMPTS, 8))
    for _ in range(NEW):
        tokens = torch.cat([tokens, model(tokens)[:, -1:].argmax(-1)], 1)
    greedy, wrapped = tokens[:, 8:], AutoregressiveWrapper(model)
    default = wrapped.generate(prompts, NEW, temperature=0.0)
    uncached = wrapped.generate(prompts, NEW, temperature=0.0, cache_kv=False)
    shares = [(made != greedy).float().mean().item() for made in (default, uncached)]
    print(f"{options}: can_cache_kv {model.can_cache_kv}; others than full forwards choose: "
          f"{100 * shares[0]:.0f} % by default, {100 * shares[1]:.0f} % with cache_kv=False")
    return shares


plain = others(rotary_pos_emb=True)
odd = [others(rotary_pos_emb=True, shift_tokens=1), others(attn_data_dependent_alibi=True)]
sane = max(plain) < 0.02 and all(uncached < 0.02 for _, uncached in odd)
sys.exit(0 if sane and all(default > 0.1 for default, _ in odd) else 1)
PY
