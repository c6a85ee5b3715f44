"""`loopbench compare`; see `scripts.studies.compare`."""

from collections.abc import Sequence
from typing import Annotated

import tyro

from scripts.studies.compare import Compare, report
from scripts.usage import parse


def compare(asked: Annotated[Compare, tyro.conf.arg(name="")]) -> None:
    """Compare finished runs, or train presets x seeds on the same data order and compare those."""
    report(asked)


def main(words: Sequence[str]) -> int:
    parse(compare, words, "loopbench compare")()
    return 0
