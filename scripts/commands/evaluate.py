"""`loopbench evaluate`: score a run on held-out puzzles; see `scripts.runs.scoring`."""

from collections.abc import Sequence
from typing import Annotated

import tyro

from scripts.runs.evaluate_words import Evaluate
from scripts.usage import parse


def evaluate(asked: Annotated[Evaluate, tyro.conf.arg(name="")]) -> None:
    """Score a run's averaged weights; prints tables and writes RUN/evaluation-<data>.json (or, with
    --out, OUT/evaluation-<weights>-<data>.json), with pictures beside it; what --puzzles asks for
    goes to a file of its own, and an evaluation of other settings stays beside it as -earlier-1.
    """
    asked.check()

    from scripts.runs.scoring import Scoring  # torch with it

    Scoring(asked).run()


def main(words: Sequence[str]) -> int:
    parse(evaluate, words, "loopbench evaluate")()
    return 0
