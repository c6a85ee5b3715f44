"""The words of `loopbench reproduce` for language tables and figures, read without torch."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasoning.names import Device
from scripts.studies.language.tables import LANGUAGE_TABLES
from scripts.terminal.choices import LanguageScale
from scripts.terminal.folders import expect
from scripts.terminal.texts import separator
from scripts.usage import UsageError

if TYPE_CHECKING:
    from scripts.studies.language.comparison import Study

_OWN_FLAGS = {"steps": "--steps", "seed": "--seeds", "corpus": "--corpus", "preset": "--scale"}


def changes_of(words: Sequence[str]) -> dict[str, Any]:
    """Nested fields from words such as batch=4 or model.width=64. UsageError for any other word,
    and for fields that have an option of their own."""
    changes: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not (name and equals):
            raise UsageError(f"--set {word}: expected NAME=VALUE, such as model.width=64")
        if name in _OWN_FLAGS:
            raise UsageError(f"--set {word}: use {_OWN_FLAGS[name]}")
        *groups, field = name.split(".")
        place = changes
        for group in groups:
            place = place.setdefault(group, {})
        try:
            place[field] = json.loads(text)
        except ValueError:
            place[field] = text
    return changes


def _of_runs(name: str, make: Callable[["Study"], str], wrote: str) -> Callable[..., None]:
    def run(
        out: Path,
        scale: LanguageScale = "mini",
        corpus: Path | None = None,
        text: tuple[Path, ...] = (),
        split_on: str | None = None,
        seeds: int | None = None,
        steps: int | None = None,
        sizes: tuple[str, ...] = (),
        rows: int = 256,
        bundle: Path | None = None,
        limit: int = 0,
        extended: bool = False,
        set: tuple[str, ...] = (),
        only: tuple[str, ...] = (),
        device: Device = "auto",
        jobs: int | None = None,
    ) -> None:
        """Train language models and measure what this table or figure shows. Resumable: the same
        command goes on, and several tables given one --out share their runs.

        Args:
            out: folder for runs, tables and pictures.
            scale: mini: minutes a run on one CPU core; full: the published presets.
            corpus: folder made by `loopbench corpus build`.
            text: files of text to build OUT/corpus of, a token a byte, when there is no --corpus.
            split_on: what separates documents in --text; none: a file is one document.
            seeds: seeds per model, 0 upwards; none: 3 at mini, 1 at full.
            steps: optimiser steps per run; none: the preset's own.
            sizes: published sizes at full, such as 140m 370m; none: all of the table.
            rows: held-out rows scored, all if there are fewer.
            bundle: folder of a CORE bundle, for LAMBADA and CORE; none: not run.
            limit: items of each task of the bundle; 0: all.
            extended: score every task of the bundle, for CORE-Extended.
            set: fields changed in every run, NAME=VALUE each, such as micro_batch=8.
            only: rows of a table, by what is trained, such as transformer parcae; none: all.
            device: where to run; auto: the best present.
            jobs: runs that train at a time, by one thread each, with the same results however many;
                none: as many as cores and memory allow at mini, else one, on every core.
        """
        for flag, value, least in (
            ("seeds", seeds, 1),
            ("steps", steps, 1),
            ("rows", rows, 1),
            ("limit", limit, 0),
        ):
            if value is not None and value < least:
                raise UsageError(f"--{flag}: must be {least} or more (got {value})")
        if corpus is not None and text:
            raise UsageError("give either --corpus DIR or --text FILES")
        if bundle is None and (limit or extended):
            raise UsageError("--limit and --extended are of a bundle: give --bundle DIR")
        if only and name not in LANGUAGE_TABLES:
            raise UsageError(f"--only is of a table's rows: {name} has none")
        if corpus is not None:
            expect(corpus, "corpus")
        if bundle is not None:
            from reasoning.pretraining.evaluation.core_tasks import read_bundle

            read_bundle(bundle, extended=extended)  # its mistakes are told before time is spent

        from reasoning.training.distribution import join_world
        from scripts.studies.language.comparison import Study, build_text
        from scripts.terminal.console import Console

        world = join_world(device)
        if text and world.is_main:
            build_text(out, text, separator(split_on))
        world.barrier()
        study = Study(
            out=out,
            scale=scale,
            world=world,
            console=Console(stderr=True, quiet=not world.is_main),
            corpus=corpus,
            seeds=seeds or (3 if scale == "mini" else 1),
            steps=steps,
            sizes=sizes,
            rows=rows,
            changes=changes_of(set),
            bundle=bundle,
            limit=limit,
            extended=extended,
            only=only,
            jobs=jobs,
        )
        study.text  # noqa: B018 - opened, so that a bad corpus is told before time is spent
        _show(make(study), f"{out}/{name}.{wrote}", quiet=not world.is_main)

    return run


def _table(name: str) -> Callable[..., None]:
    def make(study: "Study") -> str:
        from scripts.studies.language.report import language_table

        return language_table(study, name, LANGUAGE_TABLES[name])

    return _of_runs(name, make, "md, .json")


def _figure(name: str, make: str) -> Callable[..., None]:
    """A figure of trained models; `make`: the function of `figures` that draws it."""

    def draw(study: "Study") -> str:
        from scripts.studies.language import figures

        return getattr(figures, make)(study)

    return _of_runs(name, draw, "png, .json")


def _show(text: str, wrote: str, quiet: bool = False) -> None:
    from rich.markdown import Markdown

    from scripts.terminal.console import Console

    console = Console(quiet=quiet)
    Console(width=max(160, console.width), quiet=quiet).print(Markdown(text))
    console.print(f"wrote {wrote}", soft_wrap=True)


def reproduce_figure4(
    out: Path, scale: LanguageScale = "mini", runs: tuple[Path, ...] = ()
) -> None:
    """Figure 4: training FLOPs at the published sizes, by the published rule and by matmuls alone.
    Nothing is trained.

    Args:
        out: folder to write to; evaluations of the finished runs in OUT/runs are taken.
        scale: mini: with the mini presets beside the published sizes.
        runs: further runs whose evaluations over training to take; what is not measured is
            assumed, and marked so.
    """
    for run in runs:
        expect(run, "language run")

    from scripts.studies.language.costs import figure4

    _show(figure4(out, scale, runs), f"{out}/fig4.png, .md, .json")


def reproduce_figure5(
    out: Path,
    scale: LanguageScale = "mini",
    sizes: tuple[str, ...] = (),
    depths: tuple[int, ...] = (1, 2, 4, 8, 12, 16),
    set: tuple[str, ...] = (),
    device: Device = "auto",
) -> None:
    """Figure 5: memory of one training step against depth. Nothing is trained, no corpus is needed.

    Args:
        out: folder to write to.
        scale: mini, or full for a published size.
        sizes: the published size at full; none: 140m.
        depths: T, evaluations of the Attractor or loops of Parcae, 1 to 64.
        set: fields changed in every model, NAME=VALUE each, such as batch=1.
        device: cuda: peak allocated; elsewhere bytes kept for the backward pass.
    """
    from reasoning.training.distribution import join_world
    from scripts.studies.language.comparison import Study
    from scripts.studies.language.costs import figure5
    from scripts.terminal.console import Console

    study = Study(
        out=out,
        scale=scale,
        world=join_world(device),
        console=Console(stderr=True),
        sizes=sizes,
        changes=changes_of(set),
    )
    _show(figure5(study, depths), f"{out}/fig5.png, .json")


LANGUAGE: dict[str, Callable[..., None]] = {
    **{name: _table(name) for name in LANGUAGE_TABLES},
    "fig4": reproduce_figure4,
    "fig5": reproduce_figure5,
    "fig6": _figure("fig6", "figure6"),
    "fig7": _figure("fig7", "figure7"),
}
