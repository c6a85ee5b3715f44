#!/usr/bin/env bash
# lm_eval: a task of output_type loglikelihood leaves its target_delimiter out of what is scored.
#
# Guess: target_delimiter, a space by default, stands between context and target in every request, as
# it does in the examples before it.
# Seen with lm_eval 0.4.13: multiple_choice scores " Paris" after "... France is", loglikelihood scores
# "Paris", though its own few-shot example reads "... Spain is Madrid". Nothing is said.
# Matters for perplexity and accuracy by exact tokens: "Paris" glued to "is" is not what was trained.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" lm_eval==0.4.13 datasets==5.2.0
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/home" PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import json
import sys

import lm_eval
from lm_eval.api.task import ConfigurableTask

rows = [
    {"text": "The capital of Spain is", "answer": "Madrid", "label": 1},
    {"text": "The capital of France is", "answer": "Paris", "label": 0},
]
for name, row in zip(("train", "test"), rows):
    with open(f"{name}.jsonl", "w") as file:
        file.write(json.dumps(row) + "\n")
common = {
    "task": "capitals",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"train": "train.jsonl", "test": "test.jsonl"}},
    "test_split": "test",
    "fewshot_split": "train",
    "doc_to_text": "{{text}}",
    "target_delimiter": " ",
    "num_fewshot": 1,
}
kinds = {
    "loglikelihood": {"doc_to_target": "{{answer}}"},
    "multiple_choice": {"doc_to_choice": ["Paris", "Madrid"], "doc_to_target": "label"},
}
print("lm_eval", lm_eval.__version__)
seen = {}
for kind, options in kinds.items():
    task = ConfigurableTask(config=common | options | {"output_type": kind})
    task.build_all_requests(limit=1)
    seen[kind] = task.instances[0].args
    print(f"{kind}: context {seen[kind][0]!r}, scored {seen[kind][1]!r}")
example = "Spain is Madrid" in seen["loglikelihood"][0]
scored = seen["loglikelihood"][1] == "Paris" and seen["multiple_choice"][1] == " Paris"
sys.exit(0 if example and scored else 1)
PY
