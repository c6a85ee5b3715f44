"""`loopbench train`; see `scripts.train`."""

from collections.abc import Sequence

from scripts.commands.early import check_places


def main(words: Sequence[str]) -> int:
    check_places(words, "puzzle run", "--data", "data")

    from scripts import train

    return train.main(words)
