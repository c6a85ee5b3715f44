"""`loopbench pretrain`; see `scripts.runs.pretrain`."""

from collections.abc import Sequence

from scripts.commands.early import check_places


def main(words: Sequence[str]) -> int:
    check_places(words, "language run", "--corpus", "corpus")

    from scripts.runs.pretrain_words import read_words

    given = read_words(words)

    from scripts.runs import pretrain  # torch with it

    return pretrain.run(words, given)
