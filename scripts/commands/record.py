"""`loopbench record`: what a command wrote, kept as a recorded result."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from scripts.reports.records import FOLDER, Record, read_record, record_text
from scripts.usage import UsageError, parse


def record(
    files: Annotated[tuple[Path, ...], tyro.conf.Positional],
    name: str,
    title: str | None = None,
    command: str | None = None,
    label: tuple[str, ...] = (),
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
        label: the files are evaluations of one model, a seed each, and the record gets an arm of
            them; COLUMN=TEXT once or more, which name the arm and stand in tables.
        into: folder of recorded results.
        replace: a record of that name may be there, with --label an arm of those labels.
    """
    from scripts.models.variants import file_name

    if not name or name in ("claims", "claims-by-word") or file_name(name) != name:
        raise UsageError(
            f"--name {name}: letters, digits, '.', '_' and single hyphens (and not claims)"
        )
    if not files:
        raise UsageError("give a file that compare, reproduce, evaluate or bench wrote")
    if len(files) > 1 and not label:
        raise UsageError(
            f"{files[1]}: one file makes a record; several evaluations an arm of it, --label"
        )
    for file in files:
        if not file.is_file():
            raise UsageError(
                f"{file}: no such file; compare, reproduce, evaluate and bench write them"
            )
    labels = _labels(label)
    target = into / f"{name}.json"
    if target.exists() and not (replace or labels):
        raise UsageError(f"{target}: is there; choose another --name or give --replace")
    from reasoning.training.runs import make_folder
    from scripts.studies.labelled_arms import gathered, labelled_record
    from scripts.studies.result_records import make_record

    if labels:
        made = labelled_record(files, labels, title, command)
        whole = gathered(read_record(target), made, replace, target) if target.exists() else made
    else:
        made = whole = make_record(files[0], title, command)
    make_folder(into)
    target.write_text(record_text(whole))
    print(f"wrote {target}: {_told(made)}")
    if made.uncommitted:
        print("note: the code that ran had changes that no commit holds")
    for note in made.notes:
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


def _told(result: Record) -> str:
    commits = ", ".join(commit[:7] for commit in result.commits)
    arms = f"{len(result.arms)} arm{'s' * (len(result.arms) > 1)}"
    return f"{arms} of `{result.study}`, commit {commits}; fill pages with `tables`"


def main(words: Sequence[str]) -> int:
    parse(record, words, "loopbench record")()
    return 0
