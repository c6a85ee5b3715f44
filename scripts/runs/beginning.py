"""How a run begins and goes on, and who follows its training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

from reasoning.pretraining.loop import Pretrainer
from reasoning.training.checkpoints import was_saved
from reasoning.training.loop import Trainer
from reasoning.training.runs import create_run, extend_run, finished, restart_run
from reasoning.training.steps import Progress
from scripts.runs.live import Reporter
from scripts.runs.training_words import WandbMode


class Beginning(Enum):
    """Of a run: new; once more, as it was stopped before its first checkpoint; or from its newest
    checkpoint."""

    NEW = auto()
    AGAIN = auto()
    SAVED = auto()

    @classmethod
    def of(cls, out: Path, resume: bool) -> "Beginning":
        """Of the run in a folder, as it is asked for."""
        if not resume:
            return cls.NEW
        return cls.SAVED if was_saved(out) else cls.AGAIN


@dataclass(frozen=True)
class Followers:
    """Of a training. None of them changes it."""

    listen: Callable[[Progress], None] = lambda progress: None
    """told after every step."""
    say: Callable[[str], None] = lambda line: None
    """told, in a line, what the user should know of before the first one."""
    wandb: WandbMode = "off"
    """how Weights & Biases is told."""
    tensorboard: bool = False
    """whether RUN/tensorboard is written."""


def open_records(
    trainer: Trainer | Pretrainer,
    out: Path,
    record: Mapping[str, Any],
    beginning: Beginning,
    followers: Followers,
) -> Reporter:
    """Make a new run's folder, or record in it that the run goes on.

    trainer: ready for its next step; its `listen` is set here; out: the run's folder; record: what
    config.json holds beside what every run's does; beginning: how it begins; followers: who is
    told.
    """
    world, config = trainer.world, trainer.config
    settings = config.model_dump(mode="json")
    # Before a folder is made: wandb may refuse.
    reporter = Reporter(followers.wandb, out, settings, followers.tensorboard)

    def tell(progress: Progress) -> None:
        reporter(progress)
        followers.listen(progress)

    trainer.listen = tell
    if beginning is Beginning.NEW:
        if world.is_main:
            made_on = {"device": str(world.device), "processes": world.size}
            made_on |= {"runs_beside": world.beside}
            create_run(out, {"config": settings} | record | made_on)
        return reporter
    if beginning is Beginning.AGAIN and world.is_main:
        followers.say(restart_run(out))
    planned = extend_run(out, trainer.done, config.steps, write=world.is_main)
    if planned or trainer.done == config.steps:
        followers.say(planned or finished(out, config.steps))
    return reporter


def train_to_end(trainer: Trainer | Pretrainer, reporter: Reporter) -> int | None:
    """The step at which an interrupt stopped a run, None if it came to its end."""
    trainer.world.barrier()
    trainer.train()
    reporter.finish()
    return None if trainer.done == trainer.config.steps else trainer.done
