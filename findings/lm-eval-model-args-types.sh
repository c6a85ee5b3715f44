#!/usr/bin/env bash
# lm_eval: the values of --model_args are turned into numbers, run names and commits among them.
#
# Guess: a model of one's own gets run=2024_01 and revision=12e4567 as the texts that were typed; on a
# machine without CUDA it gets no device, as none was asked for.
# Seen with lm_eval 0.4.13: run is the float 202401.0, for float() reads over underscores, and the
# short commit 12e4567 is infinity; quotes inside the value keep a text on the command line as in an
# argument string ('run="2024_01"'). Without --device a model is handed "cuda:0" everywhere: the
# built-in hf model falls back to the CPU, others have to.
# Matters where runs and revisions are named by dates or commits: the model is looked for elsewhere.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# What the parser and the base class of models import, and no more.
python3 -m pip install --quiet --target "$folder" --no-deps lm_eval==0.4.13
python3 -m pip install --quiet --target "$folder" \
    numpy==2.4.6 requests==2.34.2 pyyaml==6.0.4 jinja2==3.1.6 tqdm==4.70.1
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import sys

import lm_eval
from lm_eval._cli.harness import HarnessCLI
from lm_eval.api.model import LM
from lm_eval.config.evaluate_config import EvaluatorConfig


class Mine(LM):
    """A model that shows what it is given."""

    def __init__(self, run, revision, quoted, **others):
        self.given = run, revision, quoted

    def loglikelihood(self, requests):
        return []

    loglikelihood_rolling = generate_until = loglikelihood


words = "run=2024_01,revision=12e4567,quoted='2024_01'"
print("lm_eval", lm_eval.__version__)
from_text = Mine.create_from_arg_string(words).given
print("argument string:", from_text)
sys.argv = ["lm-eval", "run", "--model", "mine", "--tasks", "any", "--model_args", words]
namespace = HarnessCLI().parse_args()
from_words = tuple(namespace.model_args[name] for name in ("run", "revision", "quoted"))
device = EvaluatorConfig().device
print("command line:", from_words, "- device where none is given:", repr(device))
as_seen = (202401.0, float("inf"), "2024_01")
sys.exit(0 if from_text == from_words == as_seen and device == "cuda:0" else 1)
PY
