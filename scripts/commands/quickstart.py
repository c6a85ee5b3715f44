"""`loopbench quickstart`; see `scripts.studies.quickstart`."""

from collections.abc import Sequence

from scripts.usage import parse


def main(words: Sequence[str]) -> int:
    from scripts.studies.quickstart import quickstart

    parse(quickstart, words, "loopbench quickstart")()
    return 0
