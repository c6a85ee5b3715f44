"""The comparison as one HTML file that opens from disk: no network, pictures, curves and script
inside. Without a script, and on paper, the pictures stand where the script draws."""

import base64
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from reasoning.training.runs import write_whole
from scripts.reports import solve_player
from scripts.reports.differences import HEADINGS, compared
from scripts.reports.report import (
    RUN_HEADINGS,
    cells,
    headings,
    metric_names,
    notes,
    run_cells,
    verdict,
)

# What fits a phone; every other column stands behind a fold.
FIRST = ("model", "seeds", "exact %", "valid %", "training TFLOP", "net calls a puzzle")
_HERE = Path(__file__).parent
_WIDE = 600  # pixels: a wider picture is not made smaller on a phone, where it scrolls


@dataclass(frozen=True)
class Section:
    """A heading with a sentence and pictures: (file, caption). Where there is a script it draws the
    curves (`curves.for_page`), or plays the solve (`solve_player`'s record), instead of them."""

    title: str
    pictures: Sequence[tuple[Path, str]]
    text: str = ""
    curves: Mapping[str, Any] | None = None
    solve: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class _Picture:
    data: str
    caption: str
    width: int
    wide: bool


@dataclass(frozen=True)
class Table:
    """Headings and rows of texts; failed: the places of rows that tell of a failure."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    failed: frozenset[int] = frozenset()

    def only(self, names: Sequence[str]) -> "Table":
        """These columns, in this order."""
        places = [self.headings.index(name) for name in names]
        return Table(names, [[row[place] for place in places] for row in self.rows])


def write_html(
    groups: Mapping[str, Any],
    sections: Sequence[Section],
    origin: Mapping[str, Any],
    title: str,
    path: Path,
    settings: Table = Table((), ()),
    recipes: Mapping[str, str] | None = None,
) -> None:
    """Write a comparison's groups (`report.comparison`) and pictures to one file.

    sections: the pictures, in order, under their headings; origin: what made the runs, name to
    value (commit, machine, data); title: the page's; path: the file; settings: those in which the
    models differ; recipes: every model's whole configuration, None: none is shown.
    """
    names = metric_names(groups)
    table = Table(headings(names), [cells(name, group, names) for name, group in groups.items()])
    runs = [(label, run) for label, group in groups.items() for run in group["runs"]]
    failed = frozenset(i for i, (_, run) in enumerate(runs) if "failure" in run)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("scripts.reports", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("report.html.j2").render(
        title=title,
        verdict=verdict(groups),
        notes=notes(groups),
        first=table.only(FIRST),
        apart=Table(list(HEADINGS.values()), [list(row.values()) for row in compared(groups)]),
        rest=table.only(["model", *(name for name in table.headings if name not in FIRST)]),
        sections=list(map(_section, sections)),
        runs=Table(RUN_HEADINGS, [run_cells(label, run) for label, run in runs], failed),
        origin=origin,
        settings=settings,
        recipes=recipes or {},
        style=Markup((_HERE / "report.css").read_text()),
        script=Markup((_HERE / "report.js").read_text()),
        player=Markup(solve_player.script()) if any(each.solve for each in sections) else "",
    )
    write_whole(path, page)


def _section(section: Section) -> dict[str, Any]:
    """What the template reads of one."""
    return {
        "title": section.title,
        "text": section.text,
        "pictures": [_embedded(path, caption) for path, caption in section.pictures],
        "curves": section.curves,
        "solve": None if section.solve is None else Markup(solve_player.element([section.solve])),
    }


def _embedded(path: Path, caption: str) -> _Picture:
    """A PNG, to be shown at half its pixels, so that a dense screen shows them all."""
    data = path.read_bytes()
    (width,) = struct.unpack(">I", data[16:20])
    coded = base64.b64encode(data).decode()
    return _Picture(coded, caption, width // 2, wide=width // 2 > _WIDE)
