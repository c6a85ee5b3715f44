"""`loopbench train`; see `scripts.runs.train`."""

from collections.abc import Sequence

from scripts.commands.early import check_places
from scripts.terminal.folders import expect_weights_of


def main(words: Sequence[str]) -> int:
    check_places(words, "puzzle run", "--data", "data")

    from scripts.runs.train_words import read_words

    given = read_words(words)
    if given.start is not None:
        expect_weights_of(given.start)

    from scripts.runs import train  # torch with it

    return train.run(words, given)
