"""The comparison as one HTML file that opens from disk: no network, pictures inside."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from scripts.report import RUN_HEADINGS, cells, headings, metric_names, notes, run_cells


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


@dataclass(frozen=True)
class _Section:
    title: str
    text: str
    pictures: Sequence[_Picture] = field(default_factory=list)


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
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("scripts", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("report.html.j2").render(
        title=title,
        notes=notes(groups),
        headings=headings(names),
        rows=[cells(label, group, names) for label, group in groups.items()],
        sections=[
            _Section(s.title, s.text, [_Picture(_encoded(p), said) for p, said in s.pictures])
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


def _encoded(picture: Path) -> str:
    return base64.b64encode(picture.read_bytes()).decode()
