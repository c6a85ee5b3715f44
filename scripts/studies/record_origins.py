"""What made the numbers of a result: what the runs' folders and the file itself say of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from reasoning.training.runs import RunError, read_config, read_environment
from scripts.reports.curves import spent_on, starts
from scripts.reports.records import SCALES, Arm, Estimate, Origin, RecordError
from scripts.studies.origin import command_line
from scripts.usage import option_value

Json = Mapping[str, Any]
_OWN_SCALE = {"compare": "", "reproduce": "cpu"}  # where the command's words name none
_SAME = ("preset", "seed", "steps", "model")  # by which a folder is known as the run evaluated
_PROGRAMS = ("loopbench", "cli.py", "__main__.py")


class Trained(NamedTuple):
    """A run's folder and its config.json."""

    folder: Path
    record: Json


@dataclass
class Origins:
    """What is known of the runs that a file tells of, and of the file itself; gathered while it is
    read."""

    environments: list[Json] = field(default_factory=list)
    configs: list[Json] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, content: Json) -> None:
        """Take the environment that a file tells, if it does."""
        if "environment" in content:
            self.environments.append(content["environment"])

    def look(self, run: str, path: Path) -> Json:
        """Read a run's records, wherever the folder of results lies now; its configuration, {} if
        the run is not there. path: of the results."""
        folder = _folder(run, path)
        return {} if folder is None else recipe_of(self._take(folder)["config"])

    def evaluated(self, content: Json, path: Path) -> "Trained | None":
        """An evaluation's run; the runs it began with are read too. None, noted but for weights
        that ship, if its folder is not there, or holds another run by now.

        content: of the evaluation's file; path: the file's.
        """
        name, folder = Path(content["run"]).name, _folder(content["run"], path)
        if "--pretrained" in content["environment"].get("command", ()):
            return None
        if folder is None:
            self.notes.append(f"The folder of {name}, which tells its training, was not there.")
            return None
        record, config = read_config(folder), content.get("config")
        if config and any(config.get(key) != record["config"].get(key) for key in _SAME):
            self.notes.append(f"The folder of {name} holds another run than was evaluated.")
            return None
        for link in _chain(folder):
            self._take(link)
        return Trained(folder, record)

    def training(self, folder: Path, step: int) -> dict[str, Estimate]:
        """What a run's training took up to a step, the runs it began with included; {}, noted,
        where they cannot be read."""
        try:
            spent = spent_on(folder, step)
        except RunError:
            self.notes.append(
                f"What training took is not known: what {folder.name} began with was not there."
            )
            return {}
        costs = {"training_seconds": Estimate(mean=60 * spent.minutes)}
        if spent.tflop is not None:
            costs["training_flops"] = Estimate(mean=1e12 * spent.tflop)
        return costs

    def origin(self, path: Path, command: str | None = None) -> Origin:
        """All of it as it is recorded. RecordError if the commit or the command is not known.

        path: of the file, by whose date it was made where no run tells one; command: as typed.
        """
        commands = (command,) if command else self.commands
        commits = self._unique(lambda environment: environment.get("commit"))
        if not commands or not commits:
            what = "command" if commits else "commit"
            raise RecordError(
                f"{path}: the {what} that made it is not known, as the runs' folders are not beside"
                " it; record it where they are"
            )
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
        dates = self._unique(lambda environment: environment.get("date")) or (written,)
        return Origin(
            commits=commits,
            uncommitted=any(self._unique(lambda e: e.get("uncommitted_changes"))),
            commands=commands,
            dates=tuple(dict.fromkeys((min(dates), max(dates)))),
            machines=self._unique(_machine),
            versions=self._versions(),
        )

    @property
    def commands(self) -> tuple[str, ...]:
        """As typed, of those that were."""
        return self._unique(_command)

    @property
    def study(self) -> str:
        """The command's words, "compare" where none of `reproduce` is known."""
        words = self._words
        if len(words) > 2 and words[1] == "reproduce":
            return f"reproduce {words[2]}"
        return "compare"

    @property
    def scale(self) -> str:
        """What --scale says, or the preset's name."""
        words = list(self._words)
        if (named := option_value(words, "--scale")) is not None:
            return named
        if len(words) > 1 and words[1] == "reproduce":
            return _OWN_SCALE["reproduce"]
        presets = {c["config"].get("preset", "").rpartition("-")[2] for c in self.configs}
        known = presets & set(SCALES)
        if len(known) == 1:
            return known.pop()
        return "full" if presets and presets <= {"7m", "27m", "140m", "370m", "770m"} else ""

    def data(self, arms: Sequence[Arm]) -> str:
        """Kinds of puzzles, and how many the arms were held out on."""
        grids = [c["grid"] for c in self.configs if "grid" in c]
        kinds = dict.fromkeys(f"{g['size']}x{g['size']} {g['kind']}" for g in grids)
        held_out = {v.n for a in arms for r in a.runs if (v := r.values.get("exact")) and v.n}
        counts = " or ".join(f"{n:,}" for n in sorted(held_out))
        return ", ".join([*kinds, *([f"{counts} held out"] if counts else [])])

    def _take(self, folder: Path) -> Json:
        """Read a run's records; its config.json."""
        record = read_config(folder)
        self.configs.append(record)
        if environment := read_environment(folder):
            self.environments.append(environment)
        return record

    def _versions(self) -> dict[str, str]:
        """Of Python and packages; several where runs differ."""
        versions: dict[str, list[str]] = {}
        for environment in self.environments:
            packages = environment.get("packages", {})
            for name, version in ({"python": environment.get("python")} | packages).items():
                if version and version not in versions.setdefault(name, []):
                    versions[name].append(version)
        return {name: ", ".join(each) for name, each in versions.items()}

    @property
    def _words(self) -> Sequence[str]:
        return next((e["command"] for e in self.environments if e.get("command")), ())

    def _unique(self, look: Callable[[Json], Any]) -> tuple[Any, ...]:
        """What the environments say, each once, without those that say nothing."""
        return tuple(dict.fromkeys(v for e in self.environments if (v := look(e)) is not None))


def recipe_of(config: Json) -> Json:
    """A run's configuration without its data and seed."""
    return {k: v for k, v in config.items() if k not in ("data", "corpus", "seed")}


def _folder(run: str, path: Path) -> Path | None:
    """A run's folder, as named or from the results' folder on; None: it is not there."""
    parts = Path(run).parts
    places = [Path(run), *(path.parent / Path(*parts[k:]) for k in range(len(parts)))]
    return next((place for place in places if (place / "config.json").exists()), None)


def _chain(run: Path) -> Iterator[Path]:
    """A run, then the run it began with, and so on as far as they are there: `Origins.training`
    notes where one is not."""
    yield run
    with suppress(RunError):
        for start, _ in starts(run):
            yield start


def _command(environment: Json) -> str | None:
    words = environment.get("command")
    if not words or words[0] == "-c":
        return None
    if Path(words[0]).name in _PROGRAMS:
        words = ["loopbench", *words[1:]]
    return command_line(words)


def _machine(environment: Json) -> str | None:
    parts = [environment.get("gpu"), environment.get("cpu")]
    return ", ".join(part for part in parts if part) or None
