"""`loopbench compare`; see `scripts.studies.compare`."""

from collections.abc import Sequence

from scripts.studies.compare import compare
from scripts.usage import parse


def main(words: Sequence[str]) -> int:
    parse(compare, words, "loopbench compare")()
    return 0
