"""What `train` and `pretrain` share: how a run begins, goes on and ends."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from reasoning.pretraining.config import PretrainingConfig
from reasoning.pretraining.loop import Pretrainer
from reasoning.training.config import TrainingConfig
from reasoning.training.distribution import join_world
from reasoning.training.loop import Trainer
from reasoning.training.runs import create_run, extend_run, finished, refuse_begun, restart_run
from reasoning.training.steps import Progress
from scripts.runs.live import LiveProgress, Reporter, events_folder
from scripts.runs.training_words import TrainingWords, WandbMode
from scripts.terminal.console import Console
from scripts.terminal.extras import need
from scripts.terminal.folders import Kind, keep_apart
from scripts.usage import option_value

Config = TypeVar("Config", bound=TrainingConfig | PretrainingConfig)


def with_steps(config: Config, steps: int) -> Config:
    """The configuration with another end."""
    return type(config).model_validate(config.model_dump() | {"steps": steps})


def run_command(
    command: Literal["train", "pretrain"],
    kind: Kind,
    words: Sequence[str],
    given: TrainingWords,
    load: Callable[[Path], Any],
    newest: Callable[[Progress], dict[str, str]],
    train: Callable[..., int | None],
) -> int:
    """The course of either command; its exit code: 0 when trained to the end, 130 when interrupted.

    kind: of run; words: of the command line; given: what they were read as; load: the configuration
    of a run to resume; newest: see `LiveProgress`; train: `train_run` or `pretrain_run`.
    """
    resume = given.resume is not None
    out = given.resume if resume else given.out
    config = load(out) if resume else given.config
    if resume and option_value(words, "--steps") is not None:
        config = with_steps(config, given.config.steps)
    if not resume:
        keep_apart(out, kind)
        refuse_begun(out)
    if given.tensorboard:
        need("--tensorboard", "tensorboard", "tensorboard")
    world = join_world(config.device)
    console = Console(stderr=True, quiet=not world.is_main)
    if resume and not given.tensorboard and events_folder(out).is_dir():
        told = f"{events_folder(out)} gets no events from here on; --tensorboard goes on with it"
        console.print(f"warning: {told}", soft_wrap=True)
    with LiveProgress(f"{config.preset} seed {config.seed}", console, newest) as live:
        stopped = train(
            *(config, out, world, resume),
            wandb=given.wandb if world.is_main else "off",
            tensorboard=given.tensorboard and world.is_main,
            listen=live,
            say=partial(console.print, soft_wrap=True),
        )
    if stopped is not None:
        follow = f" --wandb {given.wandb}" if given.wandb != "off" else ""
        follow += " --tensorboard" if given.tensorboard else ""
        again = f"loopbench {command} --resume {out}{follow}"
        console.print(f"stopped at step {stopped}; go on with: {again}", soft_wrap=True)
        return 130
    return 0


def open_records(
    trainer: Trainer | Pretrainer,
    out: Path,
    record: Mapping[str, Any],
    resume: bool,
    saved: bool,
    wandb: WandbMode,
    tensorboard: bool,
    listen: Callable[[Progress], None],
    say: Callable[[str], None],
) -> Reporter:
    """Make a new run's folder, or record in it that the run goes on, and who follows its training.

    trainer: ready for its next step; its `listen` is set here; out: the run's folder; record: what
    config.json holds beside what every run's does; resume: whether the run goes on; saved: whether
    the run that goes on has a checkpoint; wandb, tensorboard: what the reporter sends to; listen:
    told after every step, as the reporter is; say: told, in a line, what becomes of a run that goes
    on.
    """
    world, config = trainer.world, trainer.config
    settings = config.model_dump(mode="json")
    reporter = Reporter(wandb, out, settings, tensorboard)  # before a folder: wandb may refuse

    def tell(progress: Progress) -> None:
        reporter(progress)
        listen(progress)

    trainer.listen = tell
    if not resume and world.is_main:
        made_on = {"device": str(world.device), "processes": world.size}
        create_run(out, {"config": settings} | record | made_on | {"runs_beside": world.beside})
    elif resume and not saved and world.is_main:
        say(restart_run(out))
    if resume:
        planned = extend_run(out, trainer.done, config.steps, write=world.is_main)
        if planned or trainer.done == config.steps:
            say(planned or finished(out, config.steps))
    return reporter


def train_to_end(trainer: Trainer | Pretrainer, reporter: Reporter) -> int | None:
    """The step at which an interrupt stopped a run, None if it came to its end."""
    trainer.world.barrier()
    trainer.train()
    reporter.finish()
    return None if trainer.done == trainer.config.steps else trainer.done
