"""Arms of a record that gathers evaluations: of one model every seed, told apart by labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.models.labels import settings
from scripts.models.presets import RunConfig
from scripts.reports.records import Arm, Origin, OwnColumn, Record, RecordError, SeedRun
from scripts.studies.result_records import make_record


def labelled_record(
    files: Sequence[Path],
    labels: Mapping[str, str],
    title: str | None = None,
    command: str | None = None,
) -> Record:
    """Evaluations of one model, a seed each, as a record of one arm.

    files: what `evaluate` wrote. labels: texts by column, in the order in which they name the arm:
    "first: second, third". title, command: as of `make_record`. RecordError if a file is no
    evaluation, or differs from the first in more than its seed.
    """
    records = [make_record(file, title, command) for file in files]
    for file, record in zip(files, records, strict=True):
        if record.study != "evaluate":
            raise RecordError(f"{file}: is of `{record.study}`; --label is for what evaluate wrote")
        _check_alike(files[0], records[0].arms[0], file, record.arms[0])
    origin = _origin(records)
    first, arms = records[0], [record.arms[0] for record in records]
    name, *further = labels.values()
    arm = Arm(
        name=f"{name}: {', '.join(further)}" if further else name,
        parameters=arms[0].parameters,
        config=arms[0].config | labels,
        runs=tuple(sorted((run for arm in arms for run in arm.runs), key=_seed)),
        origin=origin,
    )
    notes = dict.fromkeys(note for record in records for note in record.notes)
    columns = {key: OwnColumn(heading=key.replace("_", " "), form="config") for key in labels}
    made = dict(origin) | {"arms": (arm,), "notes": tuple(notes), "columns": columns}
    return Record.model_validate(dict(first) | made)


def gathered(record: Record, made: Record, replace: bool, place: Path) -> Record:
    """A record with the arm of another, made by `labelled_record`, at its end, or in the place of
    the arm of that name, whose published and reported numbers stay.

    replace: there may be one. place: of the record, for RecordError where there may not, or where a
    label is none of the record's columns.
    """
    (arm,) = made.arms
    texts = [key for key, column in record.columns.items() if column.form == "config"]
    for key in made.columns:
        if key not in texts:
            raise RecordError(f"{place}: has no column {key} of texts, but {', '.join(texts) or 'none'}")
    before = record.arm(arm.name)
    if before is not None and not replace:
        raise RecordError(f"{place}: an arm {arm.name!r} is there; give other labels or --replace")
    if before is not None:
        kept = {"published": before.published, "reported": before.reported}
        arm = arm.model_copy(update=kept)
    arms = [arm if other.name == arm.name else other for other in record.arms]
    arms += [arm] if before is None else []
    notes = dict.fromkeys((*record.notes, *made.notes))
    return Record.model_validate(dict(record) | {"arms": tuple(arms), "notes": tuple(notes)})


def _seed(run: SeedRun) -> int:
    return run.seed


def _check_alike(first: Path, arm: Arm, file: Path, other: Arm) -> None:
    """RecordError unless the arm of the first file and the other of this one, an evaluation each,
    asked the same model the same."""
    alike = _asked(arm), arm.parameters
    if alike != (_asked(other), other.parameters):
        raise RecordError(f"{file}: is not of the model of {first}, or asked it otherwise")


def _asked(arm: Arm) -> Mapping[str, Any]:
    """An evaluation's configuration without what changes no result, such as when it was watched."""
    run = arm.config["run"]
    if run:
        config = RunConfig.model_validate(run)
        run = settings(config) | {"steps": config.steps}
    return dict(arm.config) | {"run": run}


def _origin(records: Sequence[Record]) -> Origin:
    def every(name: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(text for record in records for text in getattr(record, name)))

    dates = every("dates")
    versions: dict[str, dict[str, None]] = {}
    for record in records:
        for package, version in record.versions.items():
            versions.setdefault(package, {})[version] = None
    return Origin(
        commits=every("commits"),
        uncommitted=any(record.uncommitted for record in records),
        commands=every("commands"),
        dates=tuple(dict.fromkeys((min(dates), max(dates)))),
        machines=every("machines"),
        versions={package: ", ".join(texts) for package, texts in versions.items()},
    )
