"""The `loopbench data` commands: build, import, check and share puzzle datasets.

Each command is one function that tyro turns into flags; bad input raises DataError or ValueError
with a message of one line. What compiles for its work is imported when there is some.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.table import Table
from tyro.conf import Positional

from puzzles.dataset import check_output, difficulty_summary, write_dataset
from puzzles.kinds import puzzle_of
from scripts.runs.hub_names import PREFIX, check_repository
from scripts.terminal.console import Console
from scripts.terminal.extras import need
from scripts.terminal.folders import expect
from scripts.terminal.progress import stage_progress
from scripts.usage import UsageError, run_one_of

if TYPE_CHECKING:
    from puzzles.built import Built


def sudoku(
    *,
    out: Path,
    size: Literal[4, 6, 9] = 9,
    train: int = 1000,
    test: int = 1000,
    seed: int = 0,
    hard: tuple[Path, ...] = (),
    seventeen: Path | None = None,
    search_rounds: int = 0,
) -> None:
    """Generate sudokus that have one solution each.

    Without lists the puzzles are random minimal ones, which are easy at 9x9. With lists of hard
    puzzles the set is a mix close to Sudoku-Extreme: 73 % hard, 25 % random minimal, 2 % 17-clue.
    No test puzzle is equivalent to a training puzzle; at 9x9 no solution grid is in both.

    Args:
        out: Folder to write; must not exist or be empty.
        size: Cells along one side: 4 (2x2 boxes), 6 (boxes of 2 rows, 3 columns) or 9.
        train: Training puzzles.
        test: Test puzzles.
        seed: Seed of everything drawn, 0 or more. The same seed gives the same bytes.
        hard: CSV lists (.csv or .csv.gz, a column `question`) of hard 9x9 puzzles for the mix.
        seventeen: CSV list of 17-clue 9x9 puzzles for the mix; without it 75 % hard, 25 % random.
        search_rounds: Rounds of pool search that make the hard part when there are no lists (9x9).
    """
    check_output(out)
    from puzzles import sources

    with stage_progress() as progress:
        built = sources.sudoku(
            size,
            train,
            test,
            seed,
            hard=hard,
            seventeen=seventeen,
            search_rounds=search_rounds,
            progress=progress,
        )
    _write(out, built)


def maze(
    *,
    out: Path,
    kind: Literal["hard", "unique"] = "hard",
    size: int = 30,
    train: int = 1000,
    test: int = 1000,
    seed: int = 0,
    min_path: int | None = None,
    openings: float = 0.0,
) -> None:
    """Generate square mazes; the answer marks a shortest path from S to G.

    Args:
        out: Folder to write; must not exist or be empty.
        kind: `hard`: random walls and a long path, of many shortest ones, as in Maze-Hard.
            `unique`: one shortest path.
        size: Cells along one side.
        train: Training mazes.
        test: Test mazes; none is a training maze turned or mirrored.
        seed: Seed of everything drawn, 0 or more. The same seed gives the same bytes.
        min_path: Cells of the shortest path at least, S and G included (hard only). None:
            110 (size / 30)^1.13, so 110 at size 30.
        openings: Probability, 0 to 1, of opening each interior wall (unique only). From about 0.02
            on some mazes have several shortest paths.
    """
    check_output(out)
    from puzzles import sources

    with stage_progress() as progress:
        built = sources.maze(
            kind, size, train, test, seed, min_path=min_path, openings=openings, progress=progress
        )
    _write(out, built)


def make(
    puzzle: Positional[str],
    *,
    out: Path,
    size: int,
    train: int = 1000,
    test: int = 1000,
    seed: int = 0,
) -> None:
    """Generate puzzles of a kind of your own, by its `generate`.

    Args:
        puzzle: The kind: an import path, mypackage.module:MyPuzzle, of a class derived from
            puzzles.Puzzle, or the name that an installed package registers.
        out: Folder to write; must not exist or be empty.
        size: Cells along one side.
        train: Training puzzles.
        test: Test puzzles; none is a training puzzle.
        seed: Seed of everything drawn, 0 or more. The same seed gives the same bytes.
    """
    check_output(out)
    from puzzles import sources

    with stage_progress() as progress:
        built = sources.make(puzzle, size, train, test, seed, progress=progress)
    _write(out, built)


def import_(
    path: Positional[Path | None] = None,
    *,
    out: Path,
    hub: Literal["sudoku-extreme", "maze-hard"] | None = None,
    subsample: int | None = None,
    test: int | Literal["all"] | None = None,
    test_hard: tuple[Path, ...] = (),
    test_seventeen: Path | None = None,
    neighbours: int | None = None,
    seed: int = 0,
) -> None:
    """Import published puzzles; every row kept is solved to check its answer.

    Args:
        path: A .csv or .csv.gz file (columns question and answer, maybe source, rating or guesses);
            or a folder with train.csv and test.csv, with the arrays all__inputs.npy and
            all__labels.npy, or with a dataset in the format of the HRM code.
        out: Folder to write; must not exist or be empty.
        hub: Download this set from the Hugging Face hub instead of reading a path.
        subsample: Training puzzles to draw uniformly; None keeps all.
        test: Test puzzles: drawn from the source's test split, or else split off so that no test
            puzzle is equivalent to a training puzzle (9x9 sudoku: on no common solution grid).
            None: the whole test split of the source. all: the same, or every puzzle of a source
            without one, to evaluate on: none is left for training.
        test_hard: CSV lists of hard 9x9 puzzles: build the test set as a mix of these, random
            minimal and 17-clue puzzles, on no solution grid of the training set.
        test_seventeen: CSV list of 17-clue 9x9 puzzles for that mix.
        neighbours: So many more training puzzles beside each one (9x9 sudoku): one given exchanged,
            hard too, on no solution grid of the test set. An epoch draws one of each group.
        seed: Seed of everything drawn, 0 or more.
    """
    check_output(out)
    if (path is None) == (hub is None):
        raise UsageError("name either a path to import or a set of the hub, --hub")
    from puzzles import importing

    with stage_progress() as progress:
        if hub is not None:
            if test_hard or test_seventeen is not None:
                raise UsageError("the hub's sets have a test split; leave the test lists out")
            built = importing.import_hub(
                hub,
                seed=seed,
                subsample=subsample,
                test=test,
                neighbours=neighbours,
                progress=progress,
            )
        else:
            built = importing.import_path(
                path,
                seed=seed,
                subsample=subsample,
                test=test,
                test_hard=test_hard,
                test_seventeen=test_seventeen,
                neighbours=neighbours,
                progress=progress,
            )
    _write(out, built)


def check(folder: Positional[Path]) -> None:
    """Check a dataset: every question and answer of both splits, offsets, hashes and overlap.

    Succeeds only if every row is right; the first bad row is named otherwise.

    Args:
        folder: The dataset's folder, with train/ and test/.
    """
    from puzzles.check import check_dataset

    with stage_progress() as progress:
        report = check_dataset(folder, progress)
    table = Table(title=f"{report.kind} {report.size}x{report.size}: every row is right")
    table.add_column("")
    for split in report.puzzles:
        table.add_column(split, justify="right")
    table.add_row("puzzles", *map(_count, report.puzzles.values()))
    table.add_row("groups", *map(_count, report.groups.values()))
    if report.first_paths:
        first = puzzle_of(report.kind).first_answer
        table.add_row(first, *map(_count, report.first_paths.values()))
    console = Console()
    console.print(table)
    console.print(_overlap_text(report.overlap), soft_wrap=True)
    hashed = f"{report.hashed} arrays agree with the recorded sha256"
    console.print(hashed if report.hashed else "no loopbench.json: nothing to compare hashes with")


def push(folder: Positional[Path], name: Positional[str], *, private: bool = False) -> None:
    """Upload a dataset to the Hugging Face hub, with a card made of what is recorded. Every row is
    checked first; `loopbench data pull NAME` fetches it.

    Args:
        folder: The dataset's folder, with train/ and test/.
        name: Repository, user/name; made if it is not there.
        private: Make it one that only you can see.
    """
    check_repository(name)
    expect(folder, "data")
    need("data push", "hub", "huggingface_hub")
    from scripts.runs.hub_data import push_data

    with stage_progress() as progress:
        push_data(folder, name, private, progress)
    console = Console(highlight=False)
    console.print(f"pushed {folder} to {name}; fetch it by:", soft_wrap=True)
    console.print(f"loopbench data pull {name} --out DIR", soft_wrap=True)


def pull(name: Positional[str], *, out: Path) -> None:
    """Fetch a dataset that was pushed to the Hugging Face hub; every row is checked.

    Args:
        name: Repository, user/name.
        out: Folder to write; must not exist or be empty.
    """
    name = name.removeprefix(PREFIX)
    check_repository(name)
    check_output(out)
    need("data pull", "hub", "huggingface_hub")
    from scripts.runs.hub_data import pull_data

    with stage_progress() as progress:
        pull_data(name, out, progress)
    Console(highlight=False).print(f"written to {out}", soft_wrap=True)


COMMANDS: dict[str, Callable[..., None]] = {
    "sudoku": sudoku,
    "maze": maze,
    "make": make,
    "import": import_,
    "check": check,
    "push": push,
    "pull": pull,
}


def _write(out: Path, built: "Built") -> None:
    """Write the dataset and show what was written."""
    folder = write_dataset(out, *built)
    train = built.train
    table = Table(title=f"{train.kind} {train.size}x{train.size}")
    for name in ("", "puzzles", "groups", "mean", "quartiles", "largest"):
        table.add_column(name, justify="right" if name else "left")
    for split, part in (("train", built.train), ("test", built.test)):
        summary = difficulty_summary(part) or {}
        quartiles = "  ".join(f"{summary[q]:.1f}" for q in ("q25", "median", "q75") if summary)
        ends = [f"{summary[name]:.1f}" if summary else "" for name in ("mean", "max")]
        counts = (_count(len(part)), _count(part.groups))
        table.add_row(split, *counts, ends[0], quartiles, ends[1])
    if train.difficulty is not None:
        table.caption = f"difficulty: {train.difficulty_name}"
    console = Console()
    console.print(table)
    for split, origins in built.record.composition.items():
        parts = ", ".join(f"{_count(rows)} {origin}" for origin, rows in origins.items())
        console.print(f"{split}: {parts}")
    each = built.record.options.get("neighbours")
    if each is not None:
        from puzzles.sudoku.neighbours import TRIED

        origins = built.record.composition["train"]
        neighbours, asked = origins["neighbours"], each * origins["source"]
        if neighbours < asked:
            console.print(
                f"{_count(asked - neighbours)} of {_count(asked)} neighbours asked for were not "
                f"found: the search ends after {TRIED:,} tries for each",
                soft_wrap=True,
            )
    console.print(_overlap_text(built.record.overlap), soft_wrap=True)
    console.print(f"written to {folder}", soft_wrap=True)


def _overlap_text(overlap: Any) -> str:
    text = f"shared by train and test: {_count(overlap['identical_puzzles'])} identical questions, "
    text += f"{_count(overlap['equivalent_puzzles'])} equivalent ones"
    if "solution_grids" in overlap:
        text += f", {_count(overlap['solution_grids'])} solution grids up to symmetry"
    return text


def _count(number: int) -> str:
    return f"{number:,}"


def main(words: Sequence[str]) -> int:
    return run_one_of("data", COMMANDS, words)
