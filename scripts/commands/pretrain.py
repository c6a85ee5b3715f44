"""`loopbench pretrain`; see `scripts.pretrain`."""

from collections.abc import Sequence

from scripts.commands.early import check_places


def main(words: Sequence[str]) -> int:
    check_places(words, "language run", "--corpus", "corpus")

    from scripts import pretrain

    return pretrain.main(words)
