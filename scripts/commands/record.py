"""`loopbench record`: what a command wrote, kept as a recorded result."""

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import tyro

from scripts.reports.records import FOLDER, Record, read_record, record_text
from scripts.reports.summary_table import SUMMARIES
from scripts.terminal.locks import held
from scripts.usage import UsageError, parse

_OF_SEVERAL = ("claims", "claims-by-word", "differences")  # tables, as the summaries are


def record(
    files: Annotated[tuple[Path, ...], tyro.conf.Positional],
    name: str,
    title: str | None = None,
    command: str | None = None,
    label: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    into: Path = FOLDER,
    replace: bool = False,
) -> None:
    """Keep a result for the pages and `loopbench claims`: arms, seeds, numbers, and what made them.

    Args:
        files: what a command wrote: comparison.json, fixed-point.json, table1.json to table6.json,
            fig4.json or fig5.json, RUN/evaluation-DATA.json, or the file of `bench --json`; one,
            but with --label. The runs' folders are looked for beside it.
        name: of the record, INTO/NAME.json.
        title: a line that says what it is; none: its command and data.
        command: as it was typed, where no run's folder tells it.
        label: COLUMN=TEXT, as often as there are columns: the files are evaluations of one model, a
            seed each, and the record gets an arm of them, which has these texts in tables.
        into: folder of recorded results.
        replace: a record of that name may be there; with --label, an arm of those labels.
    """
    from scripts.models.variants import file_name

    if not re.match(r"\w", name) or file_name(name) != name:
        raise UsageError(f"--name {name}: letters, digits, '.', '_' and single hyphens")
    if name in (*SUMMARIES, *_OF_SEVERAL):
        raise UsageError(f"--name {name}: is a table that is made of records, and would hide this")
    if not files:
        raise UsageError("give a file that compare, reproduce, evaluate or bench wrote")
    if len(files) > 1 and not label:
        raise UsageError(f"{files[1]}: one file makes a record, several an arm of it, with --label")
    for file in files:
        if not file.is_file():
            raise UsageError(
                f"{file}: no such file; compare, reproduce, evaluate and bench write them"
            )
    labels = _labels(label)
    target = into / f"{name}.json"
    # So that two commands do not each add to what both have read. A refusal makes no folder.
    with held(target) if into.is_dir() else nullcontext():
        if target.exists() and not (replace or labels):
            raise UsageError(f"{target}: is there; choose another --name or give --replace")
        known = read_record(target) if target.exists() else None
        if labels:
            _keep_arm(files, labels, known, target, title, command, replace)
        else:
            _keep_record(files[0], known, target, title, command)


def _keep_record(
    file: Path, known: Record | None, target: Path, title: str | None, command: str | None
) -> None:
    """Write the record of a file to the target, in the place of the one known. title, command: as
    of `record`."""
    from scripts.studies.result_records import make_record

    if known and any(arm.origin for arm in known.arms):
        raise UsageError(f"{target}: --label gathered its arms; delete it first, if they may go")
    made = make_record(file, title, command)
    _write(target, made, f"{_count(made)} of `{made.study}`", made.commits)
    _warn(made.uncommitted, made.notes)


def _keep_arm(
    files: Sequence[Path],
    labels: Mapping[str, str],
    known: Record | None,
    target: Path,
    title: str | None,
    command: str | None,
    replace: bool,
) -> None:
    """Write the record known, or a new one, with the arm of these files and labels to the target.
    title, command, replace: as of `record`."""
    from scripts.studies.labelled_arms import gathered, labelled_arm, new_record, same_arm

    made = labelled_arm(files, labels, command)
    before = same_arm(known, made, target) if known else None
    if before and not replace:
        raise UsageError(f"{target}: arm {before.name!r} is there; give other labels or --replace")
    whole = gathered(known, made, before, title) if known else new_record(made, title)
    arm = made.arm
    done = f"in place of {before.seeds}" if before else "added"
    seeds = ", ".join(str(run.seed) for run in arm.runs)
    told = f"seed{'s' * (arm.seeds > 1)} {seeds} {done}; {_count(whole)} in all"
    _write(target, whole, told, arm.origin.commits)
    _warn(arm.origin.uncommitted, arm.notes)


def _write(target: Path, whole: Record, told: str, commits: Sequence[str]) -> None:
    from reasoning.training.runs import make_folder, write_whole

    make_folder(target.parent, "--into")
    write_whole(target, record_text(whole))
    short = ", ".join(commit[:7] for commit in commits)
    print(f"wrote {target}: {told}, commit {short}; fill pages with `tables`")


def _count(result: Record) -> str:
    return f"{len(result.arms)} arm{'s' * (len(result.arms) > 1)}"


def _warn(uncommitted: bool | None, notes: Sequence[str]) -> None:
    if uncommitted:
        print("note: the code that ran had changes that no commit holds")
    for note in notes:
        print(f"note: {note}")


def _labels(words: Sequence[str]) -> dict[str, str]:
    """Texts by column. UsageError for a word that is no COLUMN=TEXT, or a column given twice."""
    labels: dict[str, str] = {}
    for word in words:
        column, equals, text = word.partition("=")
        if not (column and equals and text):
            raise UsageError(f"--label {word}: COLUMN=TEXT, as in 'net=TRM'")
        if column in labels:
            raise UsageError(f"--label {word}: {column} is given twice")
        labels[column] = text
    return labels


def main(words: Sequence[str]) -> int:
    parse(record, words, "loopbench record")()
    return 0
