"""`loopbench reproduce NAME`: a table or figure of the paper, its published numbers beside ours, or
a table of our own: the published sets (real), or what the paper leaves open (controls, layers,
layers-mlp, gradients, fixed-point, recipes, parts, and of text contraction and worth)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from reasoning.names import Activations
from reasoning.training.config import seconds_of
from scripts.runs.data import read_puzzles
from scripts.studies.ablations import ABLATIONS, ablation
from scripts.studies.asked import PuzzlesAsked, TableAsked, configurations
from scripts.studies.language.reproduce import LANGUAGE
from scripts.studies.table2 import table2
from scripts.terminal.choices import AblationScale, Scale, Task
from scripts.usage import UsageError, at_least, names_in, parse, unknown_name

_HINTS: dict[Task, int] = {"sudoku": 8, "maze": 0}
_PuzzlesAsked = Annotated[PuzzlesAsked, tyro.conf.arg(name="")]
_TableAsked = Annotated[TableAsked, tyro.conf.arg(name="")]


def reproduce_table2(
    asked: _TableAsked,
    scale: Scale = "cpu",
    sudoku: Path | None = None,
    maze: Path | None = None,
) -> None:
    """Table 2: every puzzle system on sudoku and on mazes. Resumable: the same command goes on.

    Args:
        asked: of every table.
        scale: full: the published sizes and recipe (days of GPU); cpu: hours; mini: a minute.
        sudoku: data folder; none: generated (at full: random minimal puzzles, easier than
            Sudoku-Extreme, which `loopbench data import` brings in).
        maze: data folder; none: generated.
    """
    asked.check()
    table2(asked, scale, {"sudoku": sudoku, "maze": maze})


def reproduce_real(
    asked: _PuzzlesAsked,
    task: Task,
    data: Path,
    for_: Annotated[str, tyro.conf.arg(name="for")] = "6h",
    presets: str = "attractor-digits-1m",
    searched: int = 100,
    hints: int | None = None,
    compile: bool = True,
    precision: Activations = "auto",
) -> None:
    """Sudoku-Extreme or Maze-Hard from 1,000 puzzles, trained to a deadline, beside what others
    report. Resumable: the same command goes on.

    Args:
        asked: of every table.
        task: sudoku or maze.
        data: data folder, 9x9 sudokus or 30x30 mazes (`loopbench data import` makes it of the
            published files).
        for_: training of each run, such as 6h or 90m; evaluation comes on top.
        presets: what to train, separated by commas.
        searched: held-out puzzles that are asked in several images, or from several starts, one
            after another until the halting score claims an answer; 0 leaves that out.
        hints: cells of its answer that a training puzzle is given each time it is drawn, from 0 to
            so many; none: 8 for sudoku, where hours on 1,000 rows without end memorised, 0 for
            mazes, which have no blanks.
        compile: compile the nets with torch.compile.
        precision: activations; auto: bf16 where this machine multiplies faster in it, as timed.
    """
    asked.check()
    at_least(0, searched=searched, hints=hints)
    chosen = {"hints"} if hints is None else set()
    if precision == "auto":
        chosen.add("precision")
    seconds, train = seconds_of(for_), read_puzzles(data, "train")
    if train.kind != task:
        raise UsageError(f"{data}: holds {train.kind} puzzles, --task {task} asks for others")
    hints = _HINTS[task] if hints is None else hints
    changes = {"data": str(data), "compile": compile, "hints": hints, "precision": precision}
    configs = configurations(names_in(presets, "--presets"), train, changes)

    from scripts.studies.real import real

    real(asked, task, configs, train, seconds, searched, frozenset(chosen))


def _reproduce_ablation(name: str) -> Callable[..., None]:
    def run(
        asked: _TableAsked,
        scale: AblationScale = "cpu",
        data: Path | None = None,
        also: str = "",
    ) -> None:
        """Variants of one model that differ in one thing, compared. Resumable.

        Args:
            asked: of every table.
            scale: cpu: minutes a variant and seed; mini: seconds; 1m: hours, nets of under a
                million parameters, for published puzzles (--data).
            data: folder of sudokus; none: generated.
            also: models that are rows too, separated by commas: a preset without its scale, or the
                import path of one of your own, mypackage.module:MyModel.
        """
        asked.check()
        others = names_in(also, "--also") if also else []
        if name == "fixed-point":
            from scripts.studies.fixed_points import fixed_points

            fixed_points(asked, scale, data, others)
        else:
            ablation(name, asked, scale, data, others)

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
