"""`loopbench reproduce NAME`: a table or figure of the paper, its published numbers beside ours, or
a table of our own: the published sets (real), or what the paper leaves open (controls, layers,
layers-mlp, gradients, recipes)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from reasoning.names import Activations, Device
from reasoning.training.config import seconds_of
from scripts.studies.ablations import ABLATIONS
from scripts.studies.language.reproduce import LANGUAGE
from scripts.terminal.choices import Scale, Task
from scripts.terminal.folders import expect
from scripts.usage import UsageError, parse, unknown_name


def reproduce_table2(
    out: Path,
    scale: Scale = "cpu",
    sudoku: Path | None = None,
    maze: Path | None = None,
    seeds: int = 1,
    steps: int | None = None,
    device: Device = "auto",
    compile: bool = False,
    yes: bool = False,
    only: tuple[str, ...] = (),
    jobs: int | None = None,
) -> None:
    """Table 2: every puzzle system on sudoku and on mazes. Resumable: the same command goes on.

    Args:
        out: folder for runs, tables and reports.
        scale: full: the published sizes and recipe (days of GPU); cpu: hours; mini: a minute.
        sudoku: data folder; none: generated (at full: random minimal puzzles, easier than
            Sudoku-Extreme, which `loopbench data import` brings in).
        maze: data folder; none: generated.
        seeds: seeds per system, 0 upwards.
        steps: optimiser steps per run; none: each preset's own.
        device: where to run; auto: the best present.
        compile: compile the nets with torch.compile.
        yes: begin though it takes more than an hour; the plan is told either way.
        only: systems to train and tell of, such as trm-7m trm-27m; none: all.
        jobs: runs that train at a time, by one thread each, with the same results however many;
            none: as many as cores and memory allow where nets are small, else one, on every core.
    """
    if seeds < 1:
        raise UsageError(f"--seeds: must be at least 1 (got {seeds})")
    for folder in (sudoku, maze):
        if folder is not None:
            expect(folder, "data")

    from rich.markdown import Markdown

    from reasoning.training.distribution import join_world
    from scripts.studies.table2 import table2
    from scripts.terminal.console import Console

    world = join_world(device)
    console = Console(quiet=not world.is_main)
    data = {"sudoku": sudoku, "maze": maze}
    text = table2(scale, out, data, seeds, steps, compile, world, console, yes, only, jobs)
    Console(width=max(120, console.width), quiet=console.quiet).print(Markdown(text))
    console.print(f"wrote {out}/table2.md, table2.json and a report per task")


def reproduce_real(
    task: Task,
    data: Path,
    out: Path,
    for_: Annotated[str, tyro.conf.arg(name="for")] = "6h",
    presets: str = "attractor-digits-1m",
    seeds: int = 1,
    searched: int = 100,
    compile: bool = True,
    precision: Activations = "auto",
    device: Device = "auto",
    jobs: int | None = None,
) -> None:
    """Sudoku-Extreme or Maze-Hard from 1,000 puzzles, trained to a deadline, beside what others
    report. Resumable: the same command goes on.

    Args:
        task: sudoku or maze.
        data: data folder, 9x9 sudokus or 30x30 mazes (`loopbench data import` makes it of the
            published files).
        out: folder for runs, table and report.
        for_: training of each run, such as 6h or 90m; evaluation comes on top.
        presets: what to train, separated by commas.
        seeds: seeds per preset, 0 upwards.
        searched: held-out puzzles that are asked in several images, or from several starts, one
            after another until the halting score claims an answer; 0 leaves that out.
        compile: compile the nets with torch.compile.
        precision: activations; auto: bf16 where this machine multiplies faster in it, as timed.
        device: where to run; auto: the best present.
        jobs: runs that train at a time, by one thread each; none: as many as cores and memory allow
            where nets are small, else one, on every core.
    """
    for flag, value, least in (("seeds", seeds, 1), ("searched", searched, 0)):
        if value < least:
            raise UsageError(f"--{flag}: must be at least {least} (got {value})")
    seconds = seconds_of(for_)
    expect(data, "data")

    from rich.markdown import Markdown

    from reasoning.training.distribution import join_world
    from scripts.studies.real import real
    from scripts.terminal.console import Console

    world = join_world(device)
    console = Console(quiet=not world.is_main)
    names = [name.strip() for name in presets.split(",")]
    told = searched, out, world, console, compile, precision, jobs
    text = real(task, data, names, seconds, seeds, *told)
    Console(width=max(150, console.width), quiet=console.quiet).print(Markdown(text))
    console.print(f"wrote {out}/real.md, real.json and report.html")


def _reproduce_ablation(name: str) -> Callable[..., None]:
    def run(
        out: Path,
        scale: Literal["mini", "cpu"] = "cpu",
        data: Path | None = None,
        seeds: int = 1,
        steps: int | None = None,
        device: Device = "auto",
        compile: bool = False,
        yes: bool = False,
        also: str = "",
        only: tuple[str, ...] = (),
        jobs: int | None = None,
    ) -> None:
        """Variants of one model that differ in one thing, compared. Resumable.

        Args:
            out: folder for runs, table and report.
            scale: cpu: minutes a variant and seed; mini: seconds.
            data: folder of sudokus; none: generated.
            seeds: seeds per variant, 0 upwards.
            steps: optimiser steps per run; none: the preset's own.
            device: where to run; auto: the best present.
            compile: compile the nets with torch.compile.
            yes: begin though it takes more than an hour; the plan is told either way.
            also: models that are rows too, separated by commas: a preset without its scale, or the
                import path of one of your own, mypackage.module:MyModel.
            only: rows to train and tell of, by their names; none: all.
            jobs: runs that train at a time, by one thread each, with the same results however many;
                none: as many as cores and memory allow where nets are small, else one, on every
                core.
        """
        if seeds < 1:
            raise UsageError(f"--seeds: must be at least 1 (got {seeds})")
        if data is not None:
            expect(data, "data")

        from rich.markdown import Markdown

        from reasoning.training.distribution import join_world
        from scripts.studies.ablations import ablation
        from scripts.terminal.console import Console

        world = join_world(device)
        console = Console(quiet=not world.is_main)
        names = [row.strip() for row in also.split(",") if row.strip()]
        given = scale, out, data, seeds, steps, compile, world, console, yes, names, only, jobs
        text = ablation(name, *given)
        Console(width=max(190, console.width), quiet=console.quiet).print(Markdown(text))
        console.print(f"wrote {out}/report.html, comparison.md and comparison.json")

    return run


TABLES: dict[str, Callable[..., None]] = {
    "table2": reproduce_table2,
    "real": reproduce_real,
    **{name: _reproduce_ablation(name) for name in ABLATIONS},
    **LANGUAGE,
}


def main(words: Sequence[str]) -> int:
    names = ", ".join(TABLES)
    if words and words[0] in TABLES:
        parse(TABLES[words[0]], words[1:], f"loopbench reproduce {words[0]}")()
        return 0
    if set(words) & {"-h", "--help"}:
        print(f"loopbench reproduce NAME, one of: {names}")
        return 0
    if words and not words[0].startswith("-"):
        raise UsageError(unknown_name("table or figure", words[0], TABLES))
    raise UsageError(f"give the table or figure to reproduce, one of {names}")
