"""Tables of pages, filled from recorded results.

    <!-- table controls-cpu: model, seeds, exact; rows trm | trm-matched -->
    (whatever stands here is replaced)
    <!-- end -->

A marker names a table, its columns, and perhaps which of its rows; a line each.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.reports.numbers import grid
from scripts.usage import UsageError, unknown_name

_OPENS = re.compile(r"<!-- table ([\w.-]+): (.+?)(?:; rows (.+?))? -->")
_CLOSES = "<!-- end -->"
_BEGINS = "<!-- table"


@dataclass(frozen=True)
class Table:
    """headings: of every column by its key; rows: by name, each with a text for every column."""

    headings: Mapping[str, str]
    rows: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Filled:
    """A page's text with every table as the records have it, and the names of those that differ
    from what the page holds."""

    text: str
    names: tuple[str, ...]
    differing: tuple[str, ...]


def fill(page: Path, tables: Mapping[str, Table | str]) -> Filled:
    """A page with its tables filled; nothing is written. UsageError for a marker that is not
    understood or has no end, for an unknown table, column or row, and for a table of which there is
    only what it lacks, in words."""
    lines, filled = page.read_text().split("\n"), []
    names, differing, i = [], [], 0
    while i < len(lines):
        filled.append(lines[i])
        i += 1
        if not filled[-1].lstrip().startswith(_BEGINS):
            continue
        where, marker = f"{page}:{i}", filled[-1].strip()
        end = next((k for k in range(i, len(lines)) if lines[k].strip() == _CLOSES), None)
        below = (k for k in range(i, len(lines)) if lines[k].strip().startswith(_BEGINS))
        begins = next(below, end)
        if end is None or begins < end:
            raise UsageError(f"{where}: the table has no end; put {_CLOSES} on a line below it")
        name, shown = _grid(marker, where, tables)
        names.append(name)
        if shown != lines[i:end]:
            differing.append(name)
        filled += shown
        i = end
    return Filled("\n".join(filled), tuple(names), tuple(dict.fromkeys(differing)))


def _grid(marker: str, where: str, tables: Mapping[str, Table | str]) -> tuple[str, list[str]]:
    """The name in a marker, and its table's lines."""
    parts = _OPENS.fullmatch(marker)
    if parts is None:
        raise UsageError(
            f"{where}: expected <!-- table NAME: column, column -->, perhaps with ; rows A | B"
        )
    name, columns, rows = parts.groups()
    table = tables.get(name)
    if table is None:
        raise UsageError(f"{where}: {unknown_name('recorded result', name, tables)}")
    if isinstance(table, str):
        raise UsageError(f"{where}: {name} cannot be filled: {table}")
    keys = _known("column", columns.split(","), table.headings, f"{where}: {name}")
    names = list(table.rows)
    if rows is not None:
        names = _known("row", rows.split("|"), table.rows, f"{where}: {name}")
    cells = [[table.rows[row][key] for key in keys] for row in names]
    return name, grid([table.headings[key] for key in keys], cells)


def _known(what: str, asked: Sequence[str], known: Iterable[str], where: str) -> list[str]:
    names = [name.strip() for name in asked]
    for name in names:
        if name not in known:
            told = [each for each in known if "@" not in each] or known  # COLUMN@OF are too many
            raise UsageError(f"{where}: {unknown_name(what, name, told)}")
    return names
