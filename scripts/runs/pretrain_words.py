"""The words of `loopbench pretrain`, read without torch: a mistake in them is told at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from reasoning.training.runs import refuse_begun
from scripts.models.lm_presets import LanguageRunConfig, language_preset
from scripts.runs.training_words import OF_PUZZLES, TrainingWords, preset_or_file
from scripts.terminal.config_files import configured
from scripts.terminal.folders import keep_apart
from scripts.usage import UsageError, parse, resumes


@dataclass(frozen=True)
class Pretrain(TrainingWords):
    """Pretrain a language preset on a corpus, or go on with an interrupted run.

    loopbench pretrain --preset attractor-mini --corpus DIR --out RUN [options]

    loopbench pretrain --resume RUN
    """

    config: Annotated[LanguageRunConfig, tyro.conf.arg(name="")]


def read_words(words: Sequence[str]) -> Pretrain:
    """Parse the command. The preset decides what the other words override."""
    program = "loopbench pretrain"
    if resumes(words):
        return parse(Pretrain, words, program, Pretrain(language_preset("attractor-mini")))
    name, file = preset_or_file(words, "attractor-mini")
    if file is None:
        config = language_preset(name)
    else:
        config = configured(file, words, language_preset, LanguageRunConfig, OF_PUZZLES)
    given = parse(Pretrain, words, program, Pretrain(config))
    if not given.config.corpus or given.out is None:
        raise UsageError("give --corpus DIR and --out RUN")
    keep_apart(given.out, "language run")
    refuse_begun(given.out)
    return given
