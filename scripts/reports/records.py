"""Recorded results: what a command measured and what made it, as JSON that is committed.

baselines/results/<name>.json    one `Record`: its arms (models or variants), each with its runs by
                                 seed; written by `loopbench record`, read by `read_records`

A record's `source` is "run", made of the files that a command wrote, or "page": numbers of runs
whose files are gone, read from a page of this repository as it stood at a commit.
"""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from scripts.usage import UsageError

FOLDER = Path(__file__).resolve().parents[2] / "baselines" / "results"
COLLAPSED = 0.01  # a run below this exact accuracy, on held-out puzzles, counts as collapsed
SCALES = ("", "mini", "cpu", "1m", "full")  # of models, ascending; "": has none


class RecordError(UsageError):
    """A recorded result cannot be used; one line with the file, the place and the remedy."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Estimate(_Part):
    """A number of one run, with its standard error over n puzzles or rows where it has one."""

    mean: float
    stderr: float | None = None
    n: int | None = None


class Spread(_Part):
    """Of n seeds whose own numbers are not known: mean and standard deviation (None: not known)."""

    mean: float
    sd: float | None = None
    n: int = Field(ge=1)


class SeedRun(_Part):
    """One run. values: by column; fractions, not percent; seconds, bytes, FLOPs, net calls."""

    seed: int
    values: Mapping[str, Estimate] = {}
    failure: str | None = None


class Origin(_Part):
    """What made numbers, and when.

    commits: of the code that ran (short or whole); uncommitted: whether it had changes; dates:
    first and last run, UTC, or when the file was written.
    """

    commits: tuple[str, ...] = Field(min_length=1)
    uncommitted: bool | None = None
    commands: tuple[str, ...] = Field(min_length=1)
    dates: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    versions: Mapping[str, str] = {}


class Arm(_Part):
    """A model or variant, and how it is read out.

    of: what tells arms of one name apart (a task, a size); config: whole for runs, for a page what
    it says; published: the paper's number by column; reported: others' numbers on the same task, by
    system, in %; summary: columns whose seeds are not known one by one; origin: what made this arm,
    where it was recorded by itself (`record --label`), None: the record says it of all; notes: what
    a reader of this arm has to know.
    """

    name: str
    of: str = ""
    parameters: int | None = None
    config: Mapping[str, Any] = {}
    published: Mapping[str, Any] = {}
    reported: Mapping[str, float] = {}
    runs: tuple[SeedRun, ...] = ()
    summary: Mapping[str, Spread] = {}
    origin: Origin | None = None
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        seeds = [run.seed for run in self.runs]
        if len(set(seeds)) < len(seeds):
            raise UsageError(f"arm {self.name!r}: a seed stands there twice ({seeds})")
        if not self.runs and not self.summary:
            raise UsageError(f"arm {self.name!r}: has neither runs nor a summary")
        return self

    def by_seed(self, column: str) -> dict[int, float]:
        """A column's number of every run that has it."""
        return {r.seed: r.values[column].mean for r in self.runs if column in r.values}

    def spread(self, column: str) -> Spread | None:
        """Mean and standard deviation over seeds (0 for one): of the runs where they have the
        column, else as the summary has it. None if neither does."""
        values = list(self.by_seed(column).values())
        if not values:
            return self.summary.get(column)
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        return Spread(mean=statistics.fmean(values), sd=deviation, n=len(values))

    @property
    def seeds(self) -> int:
        """How many runs there are, failed ones too."""
        return max([len(self.runs), *(spread.n for spread in self.summary.values())])

    @property
    def failed(self) -> int:
        return sum(run.failure is not None for run in self.runs)

    @property
    def collapsed(self) -> int:
        """How many runs solve less than a hundredth of the puzzles."""
        return sum(exact < COLLAPSED for exact in self.by_seed("exact").values())


class OwnColumn(_Part):
    """A column that only one record has. form: how its number is written (percent with ±, three
    digits, or perplexity); "config": its text stands in the arm's config; "name": the arm's name.
    """

    heading: str
    form: Literal["percent", "number", "perplexity", "config", "name"]


class _Study(_Part):
    """What a record is of.

    study: the command's words that made it, "reproduce controls"; scale: of its models; computed:
    its numbers are counted, not trained, so that another seed changes none; page: file and heading
    that were read.
    """

    format: Literal[1] = 1
    title: str
    study: str
    source: Literal["run", "page"]
    page: str | None = None
    scale: Literal["", "mini", "cpu", "1m", "full"] = ""
    computed: bool = False
    data: str = ""


class Record(Origin, _Study):  # in this order a file begins with what it is of
    """One study's results.

    notes: what a reader has to know; columns: by key, those of `arms` that
    `scripts.reports.record_table` does not know.
    """

    notes: tuple[str, ...] = ()
    columns: Mapping[str, OwnColumn] = {}
    arms: tuple[Arm, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_clear(self) -> Self:
        if (self.source == "page") != (self.page is not None):
            raise UsageError("page: is of a record whose source is page, and of no other")
        names = [(arm.name, arm.of) for arm in self.arms]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UsageError(f"arms: {twice[0]} stands there twice")
        return self

    def arm(self, name: str, of: str = "") -> Arm | None:
        """The arm of a name; None if there is none."""
        return next((arm for arm in self.arms if (arm.name, arm.of) == (name, of)), None)


def read_record(path: Path) -> Record:
    """A record's file. RecordError if it is none."""
    try:
        return Record.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise RecordError(
            f"{path}: is no recorded result ({place}: {first['msg']}); correct it or delete it"
        ) from error
    except OSError as error:
        raise RecordError(f"{path}: not readable ({error.strerror})") from error


def read_records(folder: Path = FOLDER) -> dict[str, Record]:
    """Every record of a folder by its name, in order. RecordError if there is none, or one that
    cannot be read."""
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise RecordError(f"{folder}: holds no recorded results; `loopbench record` makes one")
    return {path.stem: read_record(path) for path in paths}


def record_text(record: Record) -> str:
    """What a record's file holds: without what is as by default, so that changes can be read."""
    kept = record.model_copy(update={"format": 1})
    text = kept.model_dump_json(indent=1, exclude_defaults=True)
    return '{\n "format": 1,' + text[1:] + "\n"
