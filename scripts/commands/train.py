"""`loopbench train`: a folder that is not there is told at once; see `scripts.train`.

The options are fields of the chosen model's configuration, which lies beside its net: every other
word is read with torch loaded.
"""

from collections.abc import Sequence
from pathlib import Path

from scripts.folders import expect
from scripts.usage import option_value, resumes


def main(words: Sequence[str]) -> int:
    run = option_value(words, "--resume") if resumes(words) else None
    data = option_value(words, "--data") if option_value(words, "--preset") else None
    if run:
        expect(run, "puzzle run")
    elif data and not Path(data).is_dir() and not {"-h", "--help"} & set(words):
        expect(data, "data")

    from scripts import train

    return train.main(words)
