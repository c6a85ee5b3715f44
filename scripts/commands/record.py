"""`loopbench record`: what a command wrote, kept as a recorded result."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from scripts.reports.records import FOLDER, Record, record_text
from scripts.usage import UsageError, parse


def record(
    file: Annotated[Path, tyro.conf.Positional],
    name: str,
    title: str | None = None,
    command: str | None = None,
    into: Path = FOLDER,
    replace: bool = False,
) -> None:
    """Keep a result for the pages and `loopbench claims`: arms, seeds, numbers, and what made them.

    Args:
        file: what a command wrote: comparison.json, fixed-point.json, table1.json to table6.json,
            fig4.json or fig5.json, RUN/evaluation-DATA.json, or the file of `bench --json`. The
            runs' folders are looked for beside it.
        name: of the record, INTO/NAME.json.
        title: a line that says what it is; none: its command and data.
        command: as it was typed, where no run's folder tells it.
        into: folder of recorded results.
        replace: a record of that name may be there.
    """
    from scripts.models.variants import file_name

    if not name or name in ("claims", "claims-by-word") or file_name(name) != name:
        raise UsageError(
            f"--name {name}: letters, digits, '.', '_' and single hyphens (and not claims)"
        )
    if not file.is_file():
        raise UsageError(f"{file}: no such file; compare, reproduce, evaluate and bench write them")
    target = into / f"{name}.json"
    if target.exists() and not replace:
        raise UsageError(f"{target}: is there; choose another --name or give --replace")
    from reasoning.training.runs import make_folder
    from scripts.studies.result_records import make_record

    result = make_record(file, title, command)
    make_folder(into)
    target.write_text(record_text(result))
    print(f"wrote {target}: {_told(result)}")
    if result.uncommitted:
        print("note: the code that ran had changes that no commit holds")


def _told(result: Record) -> str:
    commits = ", ".join(commit[:7] for commit in result.commits)
    return (
        f"{len(result.arms)} arms of `{result.study}`, commit {commits}; fill pages with `tables`"
    )


def main(words: Sequence[str]) -> int:
    parse(record, words, "loopbench record")()
    return 0
