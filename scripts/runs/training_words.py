"""Options that `train` and `pretrain` share; read without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from scripts.models.lm_presets import LanguageRunConfig
from scripts.models.presets import RunConfig
from scripts.terminal.config_files import Elsewhere
from scripts.usage import UsageError, option_value

WandbMode = Literal["off", "online", "offline"]
OF_PUZZLES = Elsewhere(RunConfig, "describes a run on puzzles; `loopbench train --config` takes it")
OF_LANGUAGE = Elsewhere(
    LanguageRunConfig, "describes a run on text; `loopbench pretrain --config` takes it"
)


@dataclass(frozen=True)
class TrainingWords:
    """Options of either command; a subclass gives `config` its class."""

    config: Any
    config_file: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """A YAML file, or a run's config.json, of settings that differ from the preset's; options given
    beside it count more."""
    out: Path | None = None
    """Folder to write the run to; it must not hold one already."""
    resume: Path | None = None
    """Folder of a run to go on with, bit for bit, under its own configuration; with --steps to
    another end, its schedule planned anew."""
    wandb: WandbMode = "off"
    """Report to Weights & Biases too; offline needs no account."""
    tensorboard: bool = False
    """Write RUN/tensorboard too (extra tensorboard)."""


def preset_or_file(words: Sequence[str], shown: str) -> tuple[str | None, Path | None]:
    """What --preset and --config give, either of which is enough.

    shown: the preset whose options `--help` lists where none is given. UsageError for neither.
    """
    name, file = option_value(words, "--preset"), option_value(words, "--config")
    if name is None and {"-h", "--help"} & set(words):
        name = shown
    if name is None and file is None:
        raise UsageError(f"give --preset, say {shown}; `loopbench presets` lists all")
    return name, None if file is None else Path(file)
