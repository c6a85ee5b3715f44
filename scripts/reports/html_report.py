"""The comparison as one HTML file that opens from disk: no network, pictures inside."""

import base64
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

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
_WIDE = 2.0  # pictures wider than this for their height scroll on a phone


@dataclass(frozen=True)
class Section:
    """A heading with a sentence and pictures: (file, caption)."""

    title: str
    pictures: Sequence[tuple[Path, str]]
    text: str = ""


@dataclass(frozen=True)
class _Picture:
    data: str
    caption: str
    width: int
    wide: bool


@dataclass(frozen=True)
class _Section:
    title: str
    text: str
    pictures: Sequence[_Picture] = field(default_factory=list)


@dataclass(frozen=True)
class _Table:
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    def only(self, names: Sequence[str]) -> "_Table":
        """These columns, in this order."""
        places = [self.headings.index(name) for name in names]
        return _Table(names, [[row[place] for place in places] for row in self.rows])


def write_html(
    groups: Mapping[str, Any],
    sections: Sequence[Section],
    origin: Mapping[str, Any],
    title: str,
    path: Path,
) -> None:
    """Write a comparison's groups (`report.comparison`) and pictures to one file.

    origin: what made the runs, name to value (commit, machine, data).
    """
    names = metric_names(groups)
    table = _Table(headings(names), [cells(name, group, names) for name, group in groups.items()])
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
        rest=table.only(["model", *(name for name in table.headings if name not in FIRST)]),
        sections=[
            _Section(s.title, s.text, [_embedded(path, said) for path, said in s.pictures])
            for s in sections
        ],
        run_headings=RUN_HEADINGS,
        runs=[
            {"cells": run_cells(label, run), "failed": "failure" in run}
            for label, group in groups.items()
            for run in group["runs"]
        ],
        origin=origin,
    )
    path.write_text(page)


def _embedded(path: Path, caption: str) -> _Picture:
    """A PNG, to be shown at half its pixels, so that a dense screen shows them all."""
    data = path.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    return _Picture(
        base64.b64encode(data).decode(), caption, width // 2, wide=width > _WIDE * height
    )
