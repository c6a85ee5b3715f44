"""`loopbench bench`: how fast things are on this machine; see `scripts.timing.bench`."""

from collections.abc import Sequence
from typing import Annotated

import tyro

from scripts.timing.asked import BenchAsked
from scripts.usage import parse


def bench(asked: Annotated[BenchAsked, tyro.conf.arg(name="")]) -> None:
    """Time training, the solver, a step's parts, evaluation and language models; memory; scaling.

    Medians after a warm-up, rivals by turns, beside the matrix product rate of the same run. A
    curriculum is left out: every step is at full depth.

    Args:
        asked: what to time, and how.
    """
    asked.check()

    from scripts.timing.bench import measure

    measure(asked)


def main(words: Sequence[str]) -> int:
    parse(bench, words, "loopbench bench")()
    return 0
