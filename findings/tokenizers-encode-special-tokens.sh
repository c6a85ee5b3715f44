#!/usr/bin/env bash
# tokenizers: a tokenizer told to encode special tokens as plain text forgets it when it is copied.
#
# Guess: `encode_special_tokens` is part of a tokenizer, so a tokenizer that was saved and loaded,
# pickled or deep-copied encodes a text as before.
# Seen with tokenizers 0.23.3, Python 3.11: all three are back at False; the text "a<s>b" becomes 3
# ids, one of them the special token's, where the original gives 5.
# Matters because text from outside can then place special tokens in a prompt.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" tokenizers==0.23.3
PYTHONPATH="$folder" python3 - <<'PY'
import copy
import pickle
import sys

import tokenizers
from tokenizers import Tokenizer, models

vocabulary = {"a": 0, "b": 1, "<": 2, "s": 3, ">": 4}
original = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
original.add_special_tokens(["<s>"])
original.encode_special_tokens = True
copies = {
    "original": original,
    "saved and loaded": Tokenizer.from_str(original.to_str()),
    "pickled": pickle.loads(pickle.dumps(original)),
    "deep-copied": copy.deepcopy(original),
}
print("tokenizers", tokenizers.__version__)
seen = {}
for name, tokenizer in copies.items():
    seen[name] = tokenizer.encode("a<s>b").ids
    print(f"{name:17} encode_special_tokens={tokenizer.encode_special_tokens} ids={seen[name]}")
lost = [seen[name] == [0, 5, 1] for name in list(copies)[1:]]
sys.exit(0 if seen["original"] == [0, 2, 3, 4, 1] and all(lost) else 1)
PY
