"""What stands for the training of a run, in the process of the tests or in one of its own."""

import os
import signal
import time
from pathlib import Path

import torch

from reasoning.training.interrupts import interrupts
from reasoning.training.runs import TrainingError
from reasoning.training.steps import Progress
from scripts.studies.jobs import Seat
from scripts.usage import UsageError


def ends(value: object, seat: Seat) -> tuple[object, int, int, int]:
    """The value, the process, its threads and how many stand beside it."""
    if seat.world.beside > 1:
        os.kill(os.getpid(), signal.SIGINT)  # as the terminal's Ctrl-C, which is not for it
    seat.say(f"begins {value}")
    seat.tell("puzzles", 1, 2)
    seat.listen(Progress(1, 2, {"loss": 0.5}))
    seat.listen(Progress(2, 2))
    return value, os.getpid(), torch.get_num_threads(), seat.world.beside


def diverges(seat: Seat) -> None:
    raise TrainingError("the loss is nan at step 3")


def asks_too_much(seat: Seat) -> None:
    torch.empty(2**50)


def refuses(seat: Seat) -> None:
    raise UsageError("holds another run")


def breaks(seat: Seat) -> None:
    {}["no such key"]


def is_killed(seat: Seat) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leaves(seat: Seat) -> None:
    os._exit(7)


def saves_when_told(folder: Path, seat: Seat) -> None:
    with interrupts(quiet=True) as received:
        (folder / "begun").touch()
        while not received:
            time.sleep(0.01)
    (folder / "saved").touch()
    raise KeyboardInterrupt
