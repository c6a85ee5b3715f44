#!/usr/bin/env bash
# bpeasy: a vocabulary is not filled to a multiple of eight, and its len() leaves out the special tokens.
#
# Guess: fill_to_nearest_multiple_of_eight=True ("pad vocab to multiple of 8") makes the number of tokens one; every id
# is below len(tokenizer); max_token_length is the largest length of a token ("max length of tokens"); a tokenizer with
# special tokens is exported to Hugging Face's format.
# Seen with bpeasy 0.1.6, tiktoken 0.14.0, tokenizers 0.23.3:
# - the filling is lost: 803 tokens and 3 special ones are 806 ids with the option and without, not 808.
# - len(tokenizer) is 803, while the special tokens' ids are 803 to 805: an embedding with len(tokenizer) rows has none
#   for them.
# - max_token_length=3, 4, 5 makes tokens of up to 2, 3, 4 bytes.
# - with a special token of several words, "end of text", the export raises an AssertionError without a message.
# The rest is as guessed: training does not depend on the order of the texts, the merges are those of tokenizers, texts
# are decoded to themselves, and what is exported encodes the same.
# Matters for the size of an embedding, the more where a GPU wants a multiple of eight.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet bpeasy==0.1.6 tiktoken==0.14.0 tokenizers==0.23.3
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import random
import sys
from importlib.metadata import version

import bpeasy
from bpeasy.tokenizer import BPEasyTokenizer
from tokenizers import Tokenizer

print(*(f"{name} {version(name)}" for name in ("bpeasy", "tiktoken", "tokenizers")))
draw = random.Random(0)
words = ["".join(draw.choices("abcdefgh", k=draw.randint(1, 6))) for _ in range(300)]
texts = [" ".join(draw.choices(words, k=50)) for _ in range(200)]
special = ["<s>", "<pad>", "</s>"]
there = True

sizes = {}
for fill in (False, True):
    tokenizer = BPEasyTokenizer.train(
        iter(texts), vocab_size=1000, special_tokens=special, fill_to_nearest_multiple_of_eight=fill)
    ids = [tokenizer.encode(token, allowed_special="all")[0] for token in special]
    sizes[fill] = tokenizer._encoder.n_vocab
    print(f"filled {fill}: {sizes[fill]} ids, modulo 8 {sizes[fill] % 8}; len() {len(tokenizer)}, special tokens", *ids)
    there &= min(ids) >= len(tokenizer)
there &= sizes[False] == sizes[True] and sizes[True] % 8 != 0

for longest in (3, 4, 5):
    vocabulary = bpeasy.train_bpe(iter(texts), tokenizer.regex_pattern, longest, 1000)
    seen = max(len(token) for token in vocabulary)
    print(f"max_token_length={longest}: tokens of up to {seen} bytes, {len(vocabulary)} of them")
    there &= seen == longest - 1

turned = BPEasyTokenizer.train(iter(texts[::-1]), vocab_size=1000)
other = "  h\u00e9llo\tworld 12345 \U0001f642\n\n x"
same = turned.vocab == tokenizer.vocab and tokenizer.decode(tokenizer.encode(other)) == other
tokenizer.export_to_huggingface_format("exported.json")
exported = Tokenizer.from_file("exported.json")
same &= all(exported.encode(text).ids == tokenizer.encode(text) for text in (*texts, other))
print(f"independent of order, decoded to itself, exported alike: {same}")
try:
    BPEasyTokenizer(vocab=tokenizer.vocab, special_tokens=["end of text"]).export_to_huggingface_format("words.json")
    error = "none"
except AssertionError as raised:
    error = repr(raised)
print(f"export with the special token 'end of text': {error}")
sys.exit(0 if there and same and error.startswith("AssertionError") else 1)
PY
