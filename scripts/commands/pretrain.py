"""`loopbench pretrain`: a folder or a file of settings that is not there is told at
once; see `scripts.pretrain`.

The options are fields of the chosen model's configuration, which lies beside its net: every other
word is read with torch loaded.
"""

from collections.abc import Sequence
from pathlib import Path

from scripts.config_files import read_config_file
from scripts.folders import expect
from scripts.usage import option_value, resumes


def main(words: Sequence[str]) -> int:
    run = option_value(words, "--resume") if resumes(words) else None
    file = option_value(words, "--config")
    corpus = option_value(words, "--corpus") if file or option_value(words, "--preset") else None
    if run:
        expect(run, "language run")
    elif not {"-h", "--help"} & set(words):
        if file:
            read_config_file(Path(file))
        if corpus and not Path(corpus).is_dir():
            expect(corpus, "corpus")

    from scripts import pretrain

    return pretrain.main(words)
