"""What `scripts/gpu_lease run` does, in order: tasks, each with a time at which it has to end."""

import shlex
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from reasoning.frozen import Frozen
from scripts.usage import UsageError, describe

Part = Literal["correctness", "rates", "speedrun"]
PARTS: tuple[Part, ...] = Part.__args__

# Seconds a part takes at most beside a speedrun, and its largest share of the whole then.
_MOST = {"correctness": (60.0, 0.25), "rates": (90.0, 0.35)}
_PROCESSES = 16.0  # seconds of the last task of the correctness part
_FINISH = (75.0, 0.4)  # of the speedrun: its weights packaged, searched deep, compared
_SAVE = 6.0  # until a training that is asked to stop has saved
_START = 8.0  # until a task's own clock runs: imports, puzzles, the GPU's first use
_CLOSE = 5.0  # for the closing tables and pictures
_MODULES = {
    "checks": "scripts.gpu.device_checks",
    "processes": "scripts.gpu.device_processes",
    "rates": "scripts.gpu.device_rates",
    "train": "scripts.cli",
    "finish": "scripts.gpu.lease_finish",
}


class Recipe(Frozen):
    """What the speedrun trains: a TOML file such as scripts/speedrun.toml."""

    train: str = Field(description="options of loopbench train that name the model and recipe")
    puzzles: Literal["sudoku", "maze-hard"] = Field(description="of the prepared folder")
    most_parameters: int = Field(gt=0, description="trainable ones, embedding apart")
    depth: int = Field(gt=0, description="segments of the last evaluation")
    target: float = Field(ge=0, le=100, description="exact %, in one pass")
    card: str = Field(description="options of loopbench train on a GPU, whatever the model")

    @field_validator("train", "card")
    @classmethod
    def _in_one_line(cls, words: str) -> str:
        return " ".join(words.split())


TOY = Recipe(
    train="--preset attractor-speed-mini",
    puzzles="sudoku",
    most_parameters=100_000,
    depth=8,
    target=0.0,
    card="--log-every 5 --evaluate-every 20 --checkpoint-every 20 --evaluate-puzzles 8",
)


def read_recipe(path: Path) -> Recipe:
    """A recipe. UsageError, with the file, the field and the reason, if it is none."""
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text()))
    except ValidationError as error:
        raise UsageError(f"{path}: {describe(error)}") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not readable as a recipe ({error})") from error


@dataclass(frozen=True)
class Task:
    """One command. words may hold {seconds}: those it has when it starts, `early` and grace apart.

    end: seconds after the beginning of everything at which it is over, done or not.
    grace: seconds before that at which it is asked to stop; what writes as it goes needs none.
    least: seconds without which it is not begun.
    """

    name: str
    part: Part
    module: str
    words: tuple[str, ...]
    end: float
    grace: float = 1.0
    early: float = 0.0
    least: float = 5.0

    def command(self, left: float) -> tuple[str, ...]:
        """The words, with so many seconds left."""
        seconds = max(0.0, left - self.grace - self.early)
        return tuple(word.format(seconds=f"{seconds:.1f}") for word in self.words)


def shares(parts: Sequence[Part], seconds: float) -> dict[Part, float]:
    """Seconds of each part: the speedrun has the rest, or else all of it goes to the others."""
    chosen = [part for part in PARTS if part in parts]
    if "speedrun" not in chosen:
        whole = sum(_MOST[part][0] for part in chosen)
        return {part: seconds * _MOST[part][0] / whole for part in chosen}
    if chosen == ["speedrun"]:
        return {"speedrun": seconds}
    given = {part: min(most, of * seconds) for part, (most, of) in _MOST.items() if part in chosen}
    return given | {"speedrun": seconds - sum(given.values())}


def warming(parts: Sequence[Part], device: str, toy: bool) -> tuple[str, tuple[str, ...]] | None:
    """Module and words of what runs beside the checks, which take no times: it compiles what the
    rates measure into the compiler's cache. None where there is nothing to run beside, or for; a
    toy compiles nothing."""
    if toy or not {"correctness", "rates"} <= set(parts):
        return None
    return "scripts.gpu.device_rates", ("--warm", "--device", device)


def tasks(
    parts: Sequence[Part],
    minutes: float,
    work: Path,
    device: str,
    toy: bool,
    recipe: Recipe,
    puzzles: Path,
) -> list[Task]:
    """Every task, in order, most certain first; JSON and the run go to `work`.

    parts: of PARTS, those to do; minutes: all there are; device: cuda or cpu, as the commands take
    it; toy: everything at toy size; recipe: what the speedrun trains; puzzles: the data folder that
    it trains on.
    """
    place = _Place(work, ("--device", device), toy)
    planned: list[Task] = []
    end = 0.0
    for part, seconds in shares(parts, 60 * minutes - _CLOSE).items():
        end += seconds
        if part == "speedrun":
            planned += _speedrun(place, seconds, end, recipe, puzzles)
        else:
            planned += _measured(place, seconds, end, part)
    return planned


@dataclass(frozen=True)
class _Place:
    """Where tasks write, the words that name the device, and whether all is at toy size."""

    work: Path
    device: tuple[str, ...]
    toy: bool

    @property
    def early(self) -> float:
        """Seconds until a task's own clock runs."""
        return _START / 2 if self.toy else _START


def _measured(place: _Place, seconds: float, end: float, part: Part) -> list[Task]:
    """The tasks of the correctness or the rates, a part of so many seconds that ends at `end`; at
    a `place`."""
    own_clock = ("--toy",) if place.toy else ()
    own_clock += ("--seconds", "{seconds}")

    def task(name: str, end: float, *words: str, early: float = 0.0) -> Task:
        to = ("--json", str(place.work / f"{name}.json"), *place.device, *words)
        return Task(name, part, _MODULES[name], to, end, early=early)

    if part == "rates":
        return [task("rates", end, *own_clock, early=place.early)]
    last = min(_PROCESSES, seconds / 2)
    checks = task("checks", end - last, *own_clock, early=place.early)
    return [checks, task("processes", end)]


def _speedrun(
    place: _Place, seconds: float, end: float, recipe: Recipe, puzzles: Path
) -> list[Task]:
    """The training of the recipe on these puzzles, and what becomes of its weights: a part of so
    many seconds that ends at `end`; at a `place`."""
    most, of = _FINISH
    last = min(most, of * seconds)
    run, data = place.work / "run", ("--data", str(puzzles))
    train = ("train", *shlex.split(recipe.train), *shlex.split(recipe.card), *place.device, *data)
    train += ("--out", str(run), "--for", "{seconds}s")
    finish = (str(run), *data, "--out", str(place.work), "--depth", str(recipe.depth))
    finish += place.device
    times = {"grace": _SAVE, "early": place.early, "least": place.early + _SAVE + 3}
    return [
        Task("train", "speedrun", _MODULES["train"], train, end - last, **times),
        Task("finish", "speedrun", _MODULES["finish"], finish, end),
    ]
