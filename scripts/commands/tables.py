"""`loopbench tables`: the tables of pages, filled from the recorded results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from scripts.reports.claims_table import claims_table, words_table
from scripts.reports.differences import recorded
from scripts.reports.record_table import record_table
from scripts.reports.records import FOLDER, Record, read_records
from scripts.reports.reported import reported_table
from scripts.reports.summary_table import SUMMARIES, summary_table
from scripts.reports.tables import Table, fill
from scripts.studies.claim_list import CLAIMS
from scripts.studies.claim_texts import describe
from scripts.studies.claims import WORDS, judge
from scripts.usage import UsageError, parse

ROOT = FOLDER.parents[1]


def pages() -> list[Path]:
    """The pages of the checkout: its own and those of its folders. UsageError outside of one."""
    if not (ROOT / "pyproject.toml").is_file():
        raise UsageError(f"{ROOT}: is no checkout of loopbench; name the pages")
    places = "*.md", "*/*.md", "baselines/claims/*.md"
    return [page for place in places for page in sorted(ROOT.glob(place))]


def tables_of(records: Mapping[str, Record]) -> dict[str, Table | str]:
    """Every table that a page may name: a record's, `claims` and `claims-by-word`, what others
    report, and the summaries and `differences`, or what they lack."""
    verdicts = [describe(judge(claim, records)) for claim in CLAIMS]
    single = {name: record_table(record) for name, record in records.items()}
    return (
        single
        | {
            name: each.lacks(single) or summary_table(each, single)
            for name, each in SUMMARIES.items()
        }
        | {
            "differences": recorded(records),
            "reported": reported_table(),
            "claims": claims_table(verdicts),
            "claims-by-word": words_table(verdicts, WORDS),
        }
    )


def tables(
    files: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    check: bool = False,
    results: Path = FOLDER,
) -> int:
    """Fill the tables of pages, which stand between <!-- table NAME: columns --> and <!-- end -->.
    NAME is that of a recorded result, or claims, claims-by-word, differences, headline, in-short,
    in-short-language or reported.
    Exit code 1 with --check if a page differs.

    Args:
        files: pages; none: all of this checkout.
        check: write nothing, say which tables differ from the records.
        results: folder of recorded results.
    """
    known = tables_of(read_records(results))
    filled = {page: fill(page, known) for page in _existing(files) or pages()}
    differing = {page: each for page, each in filled.items() if each.differing}
    for page, each in differing.items():
        if not check:
            page.write_text(each.text)
        what = "differs from the records" if check else "filled"
        print(f"{page}: {', '.join(each.differing)}: {what}")
    count = sum(len(each.names) for each in filled.values())
    if not differing:
        print(f"{count} tables of {len(filled)} pages are as recorded")
    elif check:
        print("`loopbench tables` writes them")
    return int(check and bool(differing))


def _existing(files: Sequence[Path]) -> Sequence[Path]:
    for page in files:
        if not page.is_file():
            raise UsageError(f"{page}: no such page")
    return files


def main(words: Sequence[str]) -> int:
    return parse(tables, words, "loopbench tables")()
