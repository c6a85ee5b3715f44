"""`loopbench train`; see `scripts.runs.train`."""

from collections.abc import Sequence

from scripts.commands.early import check_places


def main(words: Sequence[str]) -> int:
    check_places(words, "puzzle run", "--data", "data")

    from scripts.runs import train

    return train.main(words)
