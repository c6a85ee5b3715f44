"""The words of `loopbench reproduce` for language tables and figures, read without torch."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from reasoning.names import Device
from scripts.models.variants import Variant
from scripts.studies.language.study import Study, build_text, text_of
from scripts.studies.language.tables import (
    FIGURE_5,
    FIGURE_6,
    FIGURE_7,
    LANGUAGE_TABLES,
    sizes_of,
)
from scripts.terminal.choices import LanguageScale
from scripts.terminal.console import Console, show
from scripts.terminal.folders import expect
from scripts.usage import UsageError

Trained = Iterable[tuple[Variant, str]]  # with its size


def _of_runs(
    name: str, trained: Callable[[Study], Trained], make: Callable[[Study], str], wrote: str
) -> Callable[..., None]:
    """The command of a table or figure, by name.

    trained: of a study, the variants with their sizes. make: trains, measures, writes files, whose
    endings are `wrote`, and returns Markdown.
    """

    def run(study: Annotated[Study, tyro.conf.arg(name="")]) -> None:
        """Train language models and measure what this table or figure shows. Resumable: the same
        command goes on, and several tables given one --out share their runs.

        Args:
            study: what is trained and measured.
        """
        for option, given in (("only", study.only), ("also", study.also)):
            if given and name not in LANGUAGE_TABLES:
                raise UsageError(f"--{option} is of a table's rows: {name} has none")
        study.check()
        for variant, size in trained(study):
            study.configuration(variant, size)
        text = text_of(study.files, study.split_on) if study.files else None
        if text is None:
            study.text  # noqa: B018 - opened: a bad corpus is told before torch is loaded
        elif study.world.is_main:
            build_text(study.out, text)
        study.world.barrier()
        _show(make(study), study, f"{name}.{wrote}")

    return run


def _table(name: str) -> Callable[..., None]:
    table = LANGUAGE_TABLES[name]

    def trained(study: Study) -> Trained:
        whole = table.beside(study.others)
        for size in whole.sizes(study.scale, study.sizes):
            yield from ((variant, size) for variant in whole.variants(size, study.only))

    def make(study: Study) -> str:
        from scripts.studies.language.report import language_table

        return language_table(study, name, table.beside(study.others))

    return _of_runs(name, trained, make, "md, .json")


def _figure(name: str, variants: Mapping[str, Sequence[Variant]]) -> Callable[..., None]:
    """A figure of trained models, by their sizes."""

    def trained(study: Study) -> Trained:
        for size in sizes_of(variants, study.scale, study.sizes):
            yield from ((variant, size) for variant in variants[size])

    def draw(study: Study) -> str:
        from scripts.studies.language.figures import FIGURES

        return FIGURES[name](study)

    return _of_runs(name, trained, draw, "png, .json")


def _show(text: str, study: Study, wrote: str) -> None:
    quiet = not study.world.is_main
    show(text, 160, quiet)
    Console(quiet=quiet).print(f"wrote {study.out}/{wrote}", soft_wrap=True)


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

    show(figure4(out, scale, runs), 160)
    Console().print(f"wrote {out}/fig4.png, .md, .json", soft_wrap=True)


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
    if not depths or min(depths) < 1 or max(depths) > 64:
        raise UsageError(f"--depths: must be from 1 to 64 (got {' '.join(map(str, depths))})")
    study = Study(out=out, scale=scale, sizes=sizes, set=set, device=device)
    size, *others = sizes_of(FIGURE_5, scale, sizes)
    if sizes and others:
        raise UsageError("--sizes: the figure is of one size")
    study.check()
    for variant in FIGURE_5[size].values():
        study.configuration(variant, size)

    from scripts.studies.language.costs import figure5

    _show(figure5(study, size, depths), study, "fig5.png, .json")


LANGUAGE: dict[str, Callable[..., None]] = {
    **{name: _table(name) for name in LANGUAGE_TABLES},
    "fig4": reproduce_figure4,
    "fig5": reproduce_figure5,
    "fig6": _figure("fig6", {size: sum(each, ()) for size, each in FIGURE_6.items()}),
    "fig7": _figure("fig7", FIGURE_7),
}
