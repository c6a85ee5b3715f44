"""The runs of a study: one after the other, or side by side in a process of one thread each.

Processes are forked from a server that has loaded the code of the runs and computed nothing, for
OpenMP, autograd and numba do not survive a fork once they have been used. It takes what one start
of Python takes; a run's process is then there at once.
"""

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection, forkserver
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import torch

from reasoning.pretraining.evaluation.likelihood import DivergedError
from reasoning.training.checkpoints import last_words
from reasoning.training.distribution import World
from reasoning.training.interrupts import interrupts
from reasoning.training.memory import out_of_memory
from reasoning.training.runs import TrainingError
from reasoning.training.steps import Progress
from scripts.runs.beginning import Followers
from scripts.studies.lanes import Lanes
from scripts.terminal.console import Console
from scripts.terminal.guard import is_ours
from scripts.terminal.memory import keep_freed_memory
from scripts.terminal.progress import stage_progress
from scripts.terminal.python_path import safe_path

_EVERY = 0.2  # seconds between two looks at an interrupt, and between two reports of a run
_BESIDE = multiprocessing.get_context("forkserver")

Newest = Callable[[Progress], Mapping[str, str]]
Message = tuple[Any, ...]  # of a job's process: its kind, then its parts


@dataclass(frozen=True)
class Seat:
    """What a run's work is given: where it computes, and whom it tells how far it is.

    listen: told after every step; tell: told of a stage's name, what is done and what there is in
    all; say: told in a line what the user should know.
    """

    world: World
    listen: Callable[[Progress], None]
    tell: Callable[[str, int, int], None]
    say: Callable[[str], None]

    @property
    def followers(self) -> Followers:
        """Of its training."""
        return Followers(self.listen, self.say)


@dataclass(frozen=True)
class Job:
    """A run of a study. work: trains it, or goes on with it, and returns what the study wants of
    it; pickle takes both. KeyboardInterrupt from it when it was interrupted, the run saved."""

    folder: Path
    work: Callable[[Seat], Any]


@dataclass(frozen=True)
class Ended:
    """How the job at a place of the list ended: with a value, or failed for a reason."""

    place: int
    value: Any = None
    failure: str | None = None


def run_jobs(
    jobs: Sequence[Job], lanes: Lanes, world: World, console: Console, newest: Newest
) -> Iterator[Ended]:
    """Do every job; gives each as it ends, in the order in which they end.

    One that fails (diverged, out of memory, killed) does not take the others along; nor does one
    that meets another error, which is raised when the others are done.

    jobs: each in a folder of its own; lanes: how many at a time; world: the processes that compute,
    one alone where jobs run side by side; console: where it is told, on the first process alone;
    newest: names and texts of the numbers of a report.

    KeyboardInterrupt after an interrupt, when every run that was training has been saved.
    """
    names = _names([job.folder for job in jobs])
    if lanes.at_once > 1:
        yield from _beside(jobs, names, lanes, console, newest)
    else:
        yield from _in_turn(jobs, names, lanes, world, console, newest)


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with as much before them as tells them apart."""
    if len({folder.name for folder in folders}) == len(folders):
        return [folder.name for folder in folders]
    common = os.path.commonpath([folder.absolute() for folder in folders])
    return [str(folder.absolute().relative_to(common)) for folder in folders]


def _failure(error: Exception, folder: Path, world: World) -> str | None:
    """Why a run failed; None for an error that says nothing of the run.

    TrainingError if one of several processes is out of memory: the others wait for it.
    """
    if isinstance(error, TrainingError | DivergedError):
        return str(error)
    if not out_of_memory(error):
        return None
    reason = f"out of memory: {str(error).splitlines()[0]}" if str(error) else "out of memory"
    if world.size > 1:
        raise TrainingError(f"{folder}: {reason}; leave this model out") from error
    return reason


class _Lines:
    """The lines of the runs in hand."""

    def __init__(self, show: Callable[..., None], newest: Newest):
        self._show, self._newest = show, newest
        self._said: dict[str, dict[str, str]] = {}

    def progress(self, name: str, progress: Progress) -> None:
        numbers = self._said.setdefault(name, {})
        numbers |= self._newest(progress)
        more = "  ".join(f"{key} {text}" for key, text in numbers.items())
        self._show(name, progress.step, progress.total, more)

    def stage(self, name: str, stage: str, done: int, total: int) -> None:
        """Show how far a stage of a run is.

        name: the run's; stage: what it is called; done, total: of its work, in any unit.
        """
        self._show(f"{name}: {stage}", done, total)


class _Errors:
    """The first error that was not a run's own, for when the others are done."""

    def __init__(self, console: Console):
        self._console, self._first = console, None

    def keep(self, folder: Path, error: Exception, others: bool) -> None:
        self._first = self._first or error
        if others:
            _print(self._console, f"{folder}: {error}; the other runs go on")

    def raise_first(self) -> None:
        if self._first is not None:
            raise self._first


def _print(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)


# One after the other


def _in_turn(
    jobs: Sequence[Job],
    names: Sequence[str],
    lanes: Lanes,
    world: World,
    console: Console,
    newest: Newest,
) -> Iterator[Ended]:
    errors = _Errors(console)
    for place, (job, name) in enumerate(zip(jobs, names, strict=True)):
        with lanes.threads(), stage_progress(console=console) as show:
            lines = _Lines(show, newest)
            seat = Seat(
                world,
                partial(lines.progress, name),
                partial(lines.stage, name),
                lambda line: _print(console, line),
            )
            ended = None
            try:
                ended = Ended(place, job.work(seat))
            except Exception as error:
                reason = _failure(error, job.folder, world)
                if reason is not None:
                    ended = Ended(place, failure=reason)
                elif world.size > 1:
                    raise  # the processes would no longer be in step
                else:
                    errors.keep(job.folder, error, place + 1 < len(jobs))
        if ended is not None:
            if ended.failure is not None:
                _print(console, f"{job.folder}: failed: {ended.failure}")
                gc.collect()  # what the failed run held, before the next allocates
            yield ended
    errors.raise_first()


# Side by side


def _beside(
    jobs: Sequence[Job],
    names: Sequence[str],
    lanes: Lanes,
    console: Console,
    newest: Newest,
) -> Iterator[Ended]:
    _load(jobs)
    with interrupts(quiet=console.quiet) as interrupted, stage_progress(console=console) as show:
        children = _Children(jobs, lanes.at_once)
        hear = partial(_hear, lines=_Lines(show, newest), names=names, console=console)
        errors = _Errors(console)
        try:
            while children.running or (children.waiting and not interrupted):
                children.fill(interrupted)
                if interrupted:
                    children.interrupt()
                for child, message in children.messages():
                    if hear(child, message):
                        continue
                    del children.running[child.pipe]
                    others = bool(children.running or children.waiting) and not interrupted
                    ended = child.ended(message, errors, others)
                    if ended is not None and ended.failure and not interrupted:
                        _print(console, f"{child.job.folder}: failed: {ended.failure}")
                    if ended is not None:
                        yield ended
        finally:  # interrupted once more, or whoever takes the results met an error
            children.stop()
    if interrupted:
        raise KeyboardInterrupt
    errors.raise_first()


def _hear(
    child: "_Child", message: Message, lines: _Lines, names: Sequence[str], console: Console
) -> bool:
    """Show what a job says while it runs. False for its last message.

    child: that sent the message. lines: of progress, under its name among names. console: what is
    printed above them.
    """
    kind, *parts = message
    if kind == "progress":
        lines.progress(names[child.place], *parts)
    elif kind == "stage":
        lines.stage(names[child.place], *parts)
    elif kind == "say":
        _print(console, *parts)
    else:
        return False
    return True


def _load(jobs: Sequence[Job]) -> None:
    """Start the server, unless it is there, with what the jobs' code imports and what a first
    step does."""
    work = {getattr(job.work, "func", job.work).__module__ for job in jobs}
    _BESIDE.set_forkserver_preload([__name__, *sorted(work), "torch._dynamo"])
    # It keeps this mask, and so do the runs: the terminal's Ctrl-C goes to all of its processes,
    # and this one alone is to act on it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    safe = safe_path(sys.path)
    kept = {name: os.environ.get(name) for name in safe}
    os.environ.update(safe)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for name, value in kept.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


class _Children:
    """The jobs that wait and, by their pipes, those that run, so many at once."""

    def __init__(self, jobs: Sequence[Job], at_once: int):
        self._jobs, self._at_once, self._told = jobs, at_once, False
        self.waiting = deque(range(len(jobs)))
        self.running: dict[connection.Connection, _Child] = {}

    def fill(self, interrupted: Sequence[int]) -> None:
        """Start jobs while there is room and no interrupt."""
        while self.waiting and len(self.running) < self._at_once and not interrupted:
            place = self.waiting.popleft()
            child = _Child(place, self._jobs[place], self._at_once)
            self.running[child.pipe] = child

    def messages(self) -> Iterator[tuple["_Child", Message]]:
        """One message of each job that has one, waited for a moment."""
        for pipe in connection.wait(list(self.running), _EVERY):
            child = self.running[pipe]
            yield child, child.next()

    def interrupt(self) -> None:
        """Tell those that run, once, to save themselves and stop."""
        if not self._told:
            self._told = True
            for child in self.running.values():
                child.process.terminate()

    def stop(self) -> None:
        """End those that run."""
        for child in self.running.values():
            child.stop()


class _Child:
    """A job in a process of its own."""

    def __init__(self, place: int, job: Job, at_once: int):
        self.place, self.job = place, job
        self.pipe, theirs = _BESIDE.Pipe(duplex=False)
        self.process = _BESIDE.Process(target=_child, args=(job.work, at_once, theirs))
        self.process.start()
        theirs.close()

    def next(self) -> Message:
        """What it says next: a kind of message and its parts."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):  # it ended without a word, perhaps within one
            return ("lost",)

    def ended(self, message: Message, errors: _Errors, others: bool) -> Ended | None:
        """How the job ended, by its last message; None for an error of another kind, which is
        kept."""
        kind, *parts = message
        self.pipe.close()
        self.process.join()
        if kind == "done":
            return Ended(self.place, parts[0])
        if kind == "error":
            errors.keep(self.job.folder, parts[0], others)
            return None
        if kind == "failed":
            return Ended(self.place, failure=parts[0])
        words = last_words(self.job.folder)
        if kind == "stopped" or self.process.exitcode == -signal.SIGTERM:
            return Ended(self.place, failure=f"it was told to stop (SIGTERM); {words}")
        return Ended(self.place, failure=f"{_death(self.process.exitcode)}; {words}")

    def stop(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join()


def _death(code: int) -> str:
    """What a process's exit code says of how it ended, and the remedy."""
    remedy = "the same command with fewer --jobs goes on"
    if code == -signal.SIGKILL:
        return f"its process was killed (SIGKILL), as out of memory: {remedy}"
    if code < 0:
        return f"its process ended by {signal.Signals(-code).name}: {remedy}"
    return f"its process ended with exit code {code}: {remedy}"


def _child(work: Callable[[Seat], Any], at_once: int, pipe: connection.Connection) -> None:
    """A job's process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    keep_freed_memory()
    torch.set_num_threads(1)
    world, told = World(0, 1, torch.device("cpu"), beside=at_once), -_EVERY

    def send(*message: Any) -> None:
        # Where nobody is there to hear it, this process is about to be told to stop.
        with suppress(BrokenPipeError):
            pipe.send(message)

    def listen(progress: Progress) -> None:
        nonlocal told
        news = progress.training or progress.evaluation or progress.step == progress.total
        if news or time.monotonic() >= told + _EVERY:
            told = time.monotonic()
            send("progress", progress)

    def tell(stage: str, done: int, total: int) -> None:
        send("stage", stage, done, total)

    try:
        send("done", work(Seat(world, listen, tell, lambda line: send("say", line))))
    except KeyboardInterrupt:
        send("stopped")
    except Exception as error:
        reason = _failure(error, Path(), world)
        if reason is not None:
            send("failed", reason)
        else:
            if not is_ours(error):
                traceback.print_exception(error)  # perhaps a defect; of this process, not of both
            send("error", _portable(error))


def _portable(error: Exception) -> Exception:
    """The error, or one that says the same and that pickle takes and gives back."""
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _stop_with_parent() -> None:
    """A run whose command is gone is saved and stops."""
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)
