"""`loopbench compare`; see `scripts.studies.compare`."""

from collections.abc import Sequence

from scripts.usage import parse


def main(words: Sequence[str]) -> int:
    from scripts.studies.compare import compare

    parse(compare, words, "loopbench compare")()
    return 0
