"""What `train` and `pretrain` share: the course of the command."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

from reasoning.pretraining.config import PretrainingConfig
from reasoning.training.config import TrainingConfig
from reasoning.training.distribution import World, join_world
from reasoning.training.runs import refuse_begun
from reasoning.training.steps import Progress
from scripts.runs.beginning import Followers
from scripts.runs.live import LiveProgress, events_folder
from scripts.runs.training_words import TrainingWords
from scripts.terminal.console import Console
from scripts.terminal.extras import need
from scripts.terminal.folders import Kind, keep_apart
from scripts.terminal.locks import held, is_held
from scripts.usage import UsageError, option_value

Config = TypeVar("Config", bound=TrainingConfig | PretrainingConfig)
Asked = TypeVar("Asked", bound=TrainingConfig | PretrainingConfig, contravariant=True)


def with_steps(config: Config, steps: int) -> Config:
    """The configuration with another end."""
    return type(config).model_validate(config.model_dump() | {"steps": steps})


@contextmanager
def alone(run: Path, world: World, busy: Callable[[], None]) -> Iterator[None]:
    """Hold a run's lock; while another command has it, wait.

    run: its folder; world: the processes, of which the first asks; busy: called before waiting.
    """
    if world.is_main:
        with held(run, busy):
            world.barrier()
            yield
    else:
        world.barrier()
        yield


def waiting(run: Path) -> str:
    """The line that says why nothing happens."""
    return f"{run}: another command trains this run; waiting until it is done"


class Training(Protocol[Asked]):
    """`train_run` or `pretrain_run`: to its end, None, or to an interrupt, the step of it."""

    def __call__(
        self, config: Asked, out: Path, world: World, resume: bool, followers: Followers
    ) -> int | None: ...


@dataclass(frozen=True)
class TrainingCommand(Generic[Config]):
    """`loopbench train` or `loopbench pretrain`."""

    name: Literal["train", "pretrain"]
    kind: Kind
    """of run."""
    load: Callable[[Path], Config]
    """the configuration of a run to resume."""
    newest: Callable[[Progress], dict[str, str]]
    """see `LiveProgress`."""
    train: Training[Config]

    def run(self, words: Sequence[str], given: TrainingWords) -> int:
        """The command, its words read as `given`. 0 when trained to the end, 130 when interrupted,
        which --resume goes on from."""
        resume = given.resume is not None
        out = given.resume if resume else given.out
        config = self.load(out) if resume else given.config
        if resume and option_value(words, "--steps") is not None:
            config = with_steps(config, given.config.steps)
        if not resume:
            keep_apart(out, self.kind)
            refuse_begun(out)
        if given.tensorboard:
            need("--tensorboard", "tensorboard", "tensorboard")
        world = join_world(config.device)
        if world.any(world.is_main and is_held(out)):  # told to all: none waits for the others
            raise UsageError(f"{out}: another command trains this run; wait until it is done")
        console = Console(stderr=True, quiet=not world.is_main)
        say = partial(console.print, soft_wrap=True)
        if resume and not given.tensorboard and events_folder(out).is_dir():
            events = events_folder(out)
            say(f"warning: {events} gets no events from here on; --tensorboard goes on with it")
        with LiveProgress(f"{config.preset} seed {config.seed}", console, self.newest) as live:
            # The first process alone reports.
            wandb = given.wandb if world.is_main else "off"
            followers = Followers(live, say, wandb, given.tensorboard and world.is_main)
            with alone(out, world, partial(say, waiting(out))):
                stopped = self.train(config, out, world, resume, followers)
        if stopped is None:
            return 0
        follow = f" --wandb {given.wandb}" if given.wandb != "off" else ""
        follow += " --tensorboard" if given.tensorboard else ""
        again = f"loopbench {self.name} --resume {out}{follow}"
        say(f"stopped at step {stopped}; go on with: {again}")
        return 130
