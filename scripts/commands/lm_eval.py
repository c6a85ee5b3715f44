"""`loopbench lm-eval`: the lm-evaluation-harness's own command, with the model `loopbench` in it.

The harness (0.4) finds models among its own alone, so that plain `lm_eval` does not know this one;
in Python, importing scripts.exchange.harness_model is enough for
`simple_evaluate(model="loopbench")`.
"""

import sys
from collections.abc import Sequence

from scripts.terminal.extras import need

_HELP = """\
loopbench lm-eval --model_args run=RUN[,evaluations=N,tolerance=X,batch_tokens=N] --tasks NAMES
RUN is the folder of a pretraining run; the rest is the harness's own:
"""
_COMMANDS = ("run", "ls", "validate")  # of the harness; without one it takes `run`


def main(words: Sequence[str]) -> int:
    """Hand the words to the harness; it asks for the model `loopbench` where they name none."""
    need("lm-eval", "lm-eval", "lm_eval")
    from lm_eval.__main__ import cli_evaluate

    if {"-h", "--help"} & set(words):  # needs no torch
        print(_HELP)
    else:
        import scripts.exchange.harness_model  # noqa: F401 - registers the model

    given = list(words)
    if not given or given[0] not in _COMMANDS:
        given.insert(0, "run")
    named = any(word.partition("=")[0] in ("--model", "-M") for word in given)
    asks = {"-h", "--help", "--config", "-C"} & {word.partition("=")[0] for word in given}
    if given[0] == "run" and not named and not asks:
        given[1:1] = ["--model", "loopbench"]
    before, sys.argv = sys.argv, ["loopbench lm-eval", *given]
    try:
        cli_evaluate()
    finally:
        sys.argv = before
    return 0
