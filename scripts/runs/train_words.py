"""The words of `loopbench train`, read without torch: a mistake in them is told at once."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from reasoning.training.config import seconds_of
from reasoning.training.runs import refuse_begun
from scripts.models.presets import RunConfig, preset
from scripts.runs.data import read_data
from scripts.runs.training_words import OF_LANGUAGE, TrainingWords, preset_or_file
from scripts.terminal.config_files import configured, read_config_file
from scripts.terminal.folders import keep_apart
from scripts.usage import UsageError, option_value, parse, resumes


@dataclass(frozen=True)
class Train(TrainingWords):
    """Train a preset on a data folder, or go on with an interrupted run.

    loopbench train --preset trm-cpu --data DIR --out RUN [options]

    loopbench train --resume RUN
    """

    config: Annotated[RunConfig, tyro.conf.arg(name="")]
    start: Path | None = None
    """Begin from the averaged weights of this run, of any size of grid that they fit: say of a run
    on smaller mazes; or from a .safetensors file that `package` wrote, as those that ship in
    reasoning/weights. What was begun from stands in RUN/config.json."""
    for_: Annotated[str | None, tyro.conf.arg(name="for")] = None
    """Train for so long, such as 2h or 8.5m: steps are measured first, and as many planned as end
    then, instead of --steps; the record of that is in RUN/config.json."""

    @property
    def seconds(self) -> float | None:
        return None if self.for_ is None else seconds_of(self.for_)


def read_words(words: Sequence[str]) -> Train:
    """Parse the command. The preset, and the data's kind, decide what the other words override."""
    program = "loopbench train"
    if resumes(words):
        return parse(Train, words, program, Train(preset("attractor-mini")))
    name, file = preset_or_file(words, "attractor-cpu")
    data = None if {"-h", "--help"} & set(words) else option_value(words, "--data")
    if file is not None:
        data = data or read_config_file(file).get("data") or None
    grid = ("sudoku",)
    if data is not None:
        train, _ = read_data(data)
        grid = train.kind, train.seq_len

    def named(name: str) -> RunConfig:
        return preset(name, *grid)

    config = named(name) if file is None else configured(file, words, named, RunConfig, OF_LANGUAGE)
    given = parse(Train, words, program, Train(config))
    if not given.config.data or given.out is None:
        raise UsageError("give --data DIR and --out RUN")
    if given.seconds is not None and option_value(words, "--steps") is not None:
        raise UsageError("--for and --steps both say how long to train: give one of them")
    _refuse_unread(given.config, words)
    keep_apart(given.out, "puzzle run")
    refuse_begun(given.out)
    return given


def _refuse_unread(config: RunConfig, words: Sequence[str]) -> None:
    """UsageError for a depth asked of the curriculum that the model does not read."""
    known = config.model.depths
    for place, stage in enumerate(config.supervision.curriculum):
        for name in asdict(stage.depth):
            field = f"--supervision.curriculum.{place}.{name}"
            asked = option_value(words, field.replace("_", "-")) or option_value(words, field)
            if asked is not None and known is not None and name not in known:
                raise UsageError(f"{field}: {config.model.kind} has no {name}; leave it out")
