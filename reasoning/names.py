"""Names and numbers that are asked for before there is work: a command reads its words, and tells
what a folder is, without the libraries that the work takes."""

from typing import Literal

TOKENIZER_FILE = "tokenizer.json"  # of a tokenizer, and beside a corpus that it made
MANIFEST_FILE = "corpus.json"  # of a whole corpus
PLAN_FILE = "building.json"  # of one that is being built
Device = Literal["auto", "cpu", "cuda"]  # auto: the best there is
Activations = Literal["auto", "fp32", "bf16"]  # their precision; auto: bf16 on cuda
CacheKind = Literal["trajectory", "solution"]
FEW_SHOT_SEED = 1234  # the published draw of examples; 2345 and 3456 give its spread
BATCH_TOKENS = 16_384  # tokens of one forward pass of an evaluation, padding included
LARGEST_SEED = 2**63 - 1  # what torch's generators and an int64 both hold
