"""The way through a run's steps, the same for puzzles and for language."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reasoning.training.distribution import World
from reasoning.training.interrupts import interrupts
from reasoning.training.logs import Logs
from reasoning.training.memory import restart_peak


@dataclass(frozen=True)
class Progress:
    """What a listener is told: the step just done and the newest records, if any were written."""

    step: int
    total: int
    training: dict[str, Any] | None = None
    evaluation: dict[str, Any] | None = None


class StepLoop(ABC):
    """Steps, a line of metrics every `log_every` of them, held-out scores, checkpoints, and an
    interrupt that waits for the step in hand. What a step is and what is measured, a class derived
    from it says.

    config: with steps, seed, log_every and checkpoint_every. run: None writes nothing. listen:
    called after every step. done: steps taken.
    """

    def __init__(
        self, config: Any, world: World, run: Path | None, listen: Callable[[Progress], None]
    ):
        self.config, self.world, self.run, self.listen = config, world, run, listen
        self.done = 0
        self._pending: list[Any] = []  # of the steps since the last line
        self._clock = time.perf_counter()  # when the first of them began, without what paused them

    @property
    @abstractmethod
    def evaluates_every(self) -> int:
        """Steps between held-out scores, which the last step has too; 0: none are made."""

    @abstractmethod
    def _take_step(self) -> None:
        """One step, whose measurements are then pending."""

    @abstractmethod
    def _log_training(self, logs: Logs) -> dict[str, Any]:
        """Write the line of what is pending, and return it."""

    @abstractmethod
    def _log_evaluation(self, logs: Logs) -> dict[str, Any]:
        """Score, write the lines, and return what a listener is shown."""

    @abstractmethod
    def _refuse_unless_finite(self) -> None:
        """TrainingError if a number of the state is not finite."""

    @abstractmethod
    def save(self) -> None:
        """Write a checkpoint; every process takes part."""

    def _run_steps(self) -> None:
        config = self.config
        if not self.done:  # else each process begins its global generator with another seed
            torch.manual_seed(config.seed)
        logs = Logs(self.run if self.world.is_main else None, self.done or None)
        restart_peak(self.world.device)
        if not self._pending:  # else a resume between two lines
            self._clock = time.perf_counter()
        with interrupts(quiet=not self.world.tells_interrupts) as interrupted:
            stopping = False
            while self.done < config.steps and not stopping:
                self._take_step()
                last = self.done == config.steps
                record = shown = None
                if self.done % config.log_every == 0 or last:
                    record = self._log_training(logs)
                    self._pending.clear()
                    restart_peak(self.world.device)
                    self._clock = time.perf_counter()
                every = self.evaluates_every
                if every and (self.done % every == 0 or last):
                    with self._paused():
                        self._refuse_unless_finite()
                        shown = self._log_evaluation(logs)
                    restart_peak(self.world.device)
                # Agreed on, for a signal may reach the processes on different steps.
                stopping = self.world.any(bool(interrupted))
                if self.run and (self.done % config.checkpoint_every == 0 or last or stopping):
                    with self._paused():
                        self.save()
                self.listen(Progress(self.done, config.steps, record, shown))
        logs.close()

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """What is done inside is no time of the pending steps."""
        started = time.perf_counter()
        yield
        self._clock += time.perf_counter() - started
