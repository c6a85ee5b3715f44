"""Arms of a record that gathers evaluations: of one model every seed, told apart by labels."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.reports.record_table import COLUMNS
from scripts.reports.records import Arm, Origin, OwnColumn, Record, RecordError
from scripts.studies.evaluations import (
    ASKED,
    EVALUATION,
    Evaluation,
    read_evaluation,
    read_result,
    whole,
)
from scripts.studies.record_origins import Origins

_TAKEN = {*COLUMNS, *ASKED, "run"}  # columns and settings that a label may not hide


@dataclass(frozen=True)
class Labelled:
    """An arm, its labels by column, and what it was scored on."""

    arm: Arm
    labels: Mapping[str, str]
    data: str
    scale: str


def labelled_arm(
    files: Sequence[Path], labels: Mapping[str, str], command: str | None = None
) -> Labelled:
    """Evaluations of one model, a seed each, as an arm.

    files: what `evaluate` wrote. labels: texts by column, in the order in which they name the arm:
    "first: second, third". command: as typed, where neither the files nor the runs' folders tell
    it. RecordError if they do, if a file is no evaluation, differs from the first in more than its
    seed, or a label cannot stand in a table.
    """
    for column, text in labels.items():
        _check_label(column, text)
    origins = Origins()
    scored = [_scored(file, origins) for file in files]
    first, model = files[0], scored[0]
    if command and origins.commands:
        raise RecordError(f"{first}: tells the command that made it; leave --command out")
    by_seed: dict[int, Path] = {}
    for file, other in zip(files, scored, strict=True):
        _check_alike(first, model, file, other)
        if (seed := other.run.seed) in by_seed:
            raise RecordError(f"{file}: is of seed {seed}, as {by_seed[seed]} is")
        by_seed[seed] = file
    arm = Arm(
        name=_name(labels),
        parameters=model.arm.parameters,
        config=dict(model.arm.config) | labels,
        runs=tuple(sorted((each.run for each in scored), key=lambda run: run.seed)),
        origin=origins.origin(first, command),
        notes=tuple(dict.fromkeys(origins.notes)),
    )
    return Labelled(arm, labels, model.data, origins.scale)


def new_record(made: Labelled, title: str | None) -> Record:
    """A record of this arm alone, with a column of texts for each label."""
    columns = {key: OwnColumn(heading=key.replace("_", " "), form="config") for key in made.labels}
    return Record(
        title=title or f"Evaluations, {made.data}",
        study="evaluate",
        source="run",
        scale=made.scale,
        data=made.data,
        columns=columns,
        arms=(made.arm,),
        **dict(made.arm.origin),
    )


def same_arm(record: Record, made: Labelled, place: Path) -> Arm | None:
    """The arm of a record that has these labels; None if there is none.

    place: of the record, for RecordError unless the labels are its columns of texts.
    """
    texts = _texts(record)
    if missing := [key for key in texts if key not in made.labels]:
        raise RecordError(f"{place}: its arms have --label {missing[0]}=... too")
    if further := [key for key in made.labels if key not in texts]:
        known = ", ".join(texts) or "none"
        raise RecordError(f"{place}: has no column {further[0]} of texts; it has {known}")
    labels = {key: made.labels[key] for key in texts}
    alike = (arm for arm in record.arms if {k: arm.config.get(k) for k in texts} == labels)
    return next(alike, None)


def gathered(record: Record, made: Labelled, before: Arm | None, title: str | None) -> Record:
    """A record with an arm more, or in the place of the one before, whose published and reported
    numbers stay.

    title: another than it has. What made a record is what made its arms, where all of them tell.
    """
    arm = made.arm.model_copy(update={"name": _name({k: made.labels[k] for k in _texts(record)})})
    if before is not None:
        kept = {"published": before.published, "reported": before.reported}
        arm = arm.model_copy(update=kept)
    arms = [arm if other is before else other for other in record.arms]
    arms += [arm] if before is None else []
    changed = {"arms": tuple(arms), "title": title or record.title}
    origins = [each.origin for each in arms if each.origin is not None]
    if len(origins) == len(arms):
        changed |= dict(_joined(origins))
        changed["data"] = "; ".join(dict.fromkeys((*record.data.split("; "), made.data)))
    return Record.model_validate(dict(record) | changed)


def _texts(record: Record) -> list[str]:
    return [key for key, column in record.columns.items() if column.form == "config"]


def _name(labels: Mapping[str, str]) -> str:
    first, *further = labels.values()
    return f"{first}: {', '.join(further)}" if further else first


def _check_label(column: str, text: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", column) or column in _TAKEN:
        raise RecordError(
            f"--label {column}=...: a column of letters, digits and _, none that every table has"
        )
    if not text.strip() or text != text.strip() or "|" in text or not text.isprintable():
        raise RecordError(f"--label {column}={text!r}: a text of one line without |")


def _scored(file: Path, origins: Origins) -> Evaluation:
    content = read_result(file)
    if not isinstance(content, dict) or not content.keys() >= EVALUATION:
        raise RecordError(f"{file}: is no evaluation; --label is for what evaluate wrote")
    with whole(file):
        return read_evaluation(content, file, origins)


def _check_alike(first: Path, model: Evaluation, file: Path, other: Evaluation) -> None:
    """RecordError for the first name in which the other, of this file, differs from the model, of
    the first."""
    for name in dict.fromkeys((*model.alike, *other.alike)):
        here, there = other.alike.get(name), model.alike.get(name)
        if here != there:
            raise RecordError(f"{file}: {name} {here}, not {there} as of {first}")


def _joined(origins: Sequence[Origin]) -> Origin:
    """What made several arms."""

    def every(texts: Iterable[Sequence[str]]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(text for each in texts for text in each))

    dates = every(origin.dates for origin in origins)
    packages = every(list(origin.versions) for origin in origins)
    return Origin(
        commits=every(origin.commits for origin in origins),
        uncommitted=any(origin.uncommitted for origin in origins),
        commands=every(origin.commands for origin in origins),
        dates=tuple(dict.fromkeys((min(dates), max(dates)))),
        machines=every(origin.machines for origin in origins),
        versions={
            name: ", ".join(
                every(o.versions[name].split(", ") for o in origins if name in o.versions)
            )
            for name in packages
        },
    )
