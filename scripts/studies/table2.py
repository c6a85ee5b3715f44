"""Table 2 of the paper: every puzzle system on sudoku and on mazes, beside the published numbers.

At `full` it is the published recipe at the published sizes; at `cpu` and `mini` the same systems on
smaller puzzles, where "7m" stands for two layers and "27m" for eight of one small width, trained by
the recipe that eight layers need (`presets.deepened`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from puzzles.puzzle_set import PuzzleSet
from reasoning.training.runs import write_json
from scripts.models.labels import expect_kept
from scripts.models.presets import RunConfig, deepened, preset
from scripts.models.variants import chosen, merged
from scripts.reports.earlier import keep_other_rows
from scripts.reports.numbers import grid, over_seeds
from scripts.reports.report import COLLAPSED, amount, comparison, marks
from scripts.runs.data import read_puzzles
from scripts.studies.asked import TableAsked
from scripts.terminal.choices import Scale
from scripts.terminal.console import show
from scripts.usage import UsageError

if TYPE_CHECKING:
    from scripts.studies.one_run import Scored

TASKS = ("sudoku", "maze")


@dataclass(frozen=True)
class System:
    """A row: its name and parameters in the paper, its exact accuracies there in %, and ours.

    model: preset without its scale; large: the 27M size.
    """

    name: str
    published_parameters: str
    published: Mapping[str, float | None]
    model: str
    large: bool = False

    def preset_name(self, scale: Scale) -> str:
        """The preset that stands for the row at a scale."""
        size = {"mini": "mini", "cpu": "cpu", "full": "27m" if self.large else "7m"}[scale]
        return f"{self.model}-{size}"


def _row(name: str, size: str, sudoku: float | None, maze: float | None, model: str) -> System:
    return System(name, size, {"sudoku": sudoku, "maze": maze}, model, size == "27M")


# Table 2; TRM-mlp is from TRM's own paper, which the table leaves out.
SYSTEMS = (
    _row("Transformer", "27M", 0.0, 0.0, "transformer"),
    _row("HRM", "27M", 55.0, 74.5, "hrm"),
    _row("TRM", "7M", 74.7, 85.3, "trm"),
    _row("TRM-mlp", "5M", 87.4, None, "trm-mlp"),
    _row("TRM", "27M", 0.0, 0.0, "trm"),
    _row("Attractor", "7M", 54.3, 46.7, "attractor"),
    _row("Attractor", "27M", 91.4, 93.1, "attractor"),
)
_GENERATED = {
    False: ", generated here",
    True: ", generated here: stand-ins for the published sets, and easier",
}
_LARGE_LAYERS = 8  # of a large system at the small scales, two for a small one


def _config(
    system: System, scale: Scale, task: str, data: Path, changes: Mapping[str, Any]
) -> RunConfig:
    values = preset(system.preset_name(scale), task).model_dump() | {"data": str(data)}
    config = RunConfig.model_validate(merged(values, changes))
    if system.large and scale != "full":
        config = deepened(config, _LARGE_LAYERS // config.model.nets)
    expect_kept(_slug(system), config, changes)
    return config


def make_data(scale: Scale, task: str, folder: Path) -> None:
    """Generate a task's puzzles unless these are there. At `full`: stand-ins for Sudoku-Extreme and
    Maze-Hard, with 1,000 training puzzles as published."""
    from puzzles.sources import generate_into, maze, sudoku  # numba with it

    if task == "sudoku":
        size, train, test = {"mini": (4, 64, 32), "cpu": (6, 1000, 500), "full": (9, 1000, 5000)}[
            scale
        ]
        generate_into(folder, sudoku, size=size, train=train, test=test, seed=0)
    elif scale == "full":
        generate_into(folder, maze, kind="hard", size=30, train=1000, test=1000, seed=0)
    elif scale == "cpu":  # on larger mazes no system leaves 0 % in its preset's time
        few = {"train": 1000, "test": 500, "seed": 0, "min_path": 4}
        generate_into(folder, maze, kind="hard", size=6, **few)
    else:
        few = {"train": 64, "test": 32, "seed": 0, "openings": 0.1}
        generate_into(folder, maze, kind="unique", size=7, **few)


def table2(asked: TableAsked, scale: Scale, data: Mapping[str, Path | None]) -> None:
    """Train and score every system on both tasks under OUT, and print the table; resumable.

    data: a folder per task; None generates one. Writes OUT/table2.md and table2.json, and a report
    of each task in OUT/<task>/. UsageError for more than an hour of training without `yes`.
    """
    folders = {task: data[task] or asked.out / "data" / task for task in TASKS}
    configs = _configs(asked, scale, folders)
    puzzles = _puzzles(asked, scale, data, folders)

    from scripts.studies.comparison import planned_runs, train_and_score
    from scripts.studies.plan import lanes_of, state_plan

    planned = {
        (task, slug): planned_runs([config], asked.seeds, asked.out / task / slug, puzzles[task])
        for (task, slug), config in configs.items()
    }
    runs = [run for each in planned.values() for run in each]
    lanes = lanes_of(asked.jobs, runs, asked.world)
    generated = _GENERATED[scale == "full"]
    origins = [f"{t}: {folder}" + ("" if data[t] else generated) for t, folder in folders.items()]
    state_plan(runs, lanes, origins, asked.yes, asked.world, asked.console)
    scored = iter(train_and_score(runs, lanes, asked.world, asked.console))
    _write(
        asked, scale, folders, {row: [next(scored) for _ in each] for row, each in planned.items()}
    )


def _configs(
    asked: TableAsked, scale: Scale, folders: Mapping[str, Path]
) -> dict[tuple[str, str], RunConfig]:
    """What is trained, by task and row: those of `only` that the paper has on the task."""
    wanted = chosen(asked.only, map(_slug, SYSTEMS))
    return {
        (task, _slug(system)): _config(system, scale, task, folder, asked.changes)
        for task, folder in folders.items()
        for system in SYSTEMS
        if _slug(system) in wanted and system.published[task] is not None
    }


def _puzzles(
    asked: TableAsked, scale: Scale, data: Mapping[str, Path | None], folders: Mapping[str, Path]
) -> dict[str, PuzzleSet]:
    """The training puzzles by task: of `data`, or generated into `folders`, all of them before
    anything is trained.

    asked: names the process that generates. scale: of the puzzles. UsageError for another kind.
    """
    for task, folder in data.items():
        if folder and (kind := read_puzzles(folder, "train").kind) != task:
            raise UsageError(f"{folder}: holds {kind} puzzles, not {task}")
    for task, folder in folders.items():
        if data[task] is None and asked.world.is_main:
            make_data(scale, task, folder)
    asked.world.barrier()
    return {task: read_puzzles(folder, "train") for task, folder in folders.items()}


def _write(
    asked: TableAsked,
    scale: Scale,
    folders: Mapping[str, Path],
    scored: Mapping[tuple[str, str], Sequence["Scored"]],
) -> None:
    """The table as Markdown and JSON, on the console too, and a report of each task.

    asked: where to. scale: in the titles. folders: of the puzzles, by task. scored: runs by task
    and row.
    """
    from scripts.studies.comparison import Comparison

    results: dict[str, dict[str, Any]] = {task: {} for task in TASKS}
    reports = {task: Comparison(folder, asked.world) for task, folder in folders.items()}
    for (task, slug), members in scored.items():
        (results[task][slug],) = comparison([one.row for one in members]).values()
        for one in members:
            reports[task].take(one)
    for task, report in reports.items():
        report.write(asked.out / task, ", ".join([f"Table 2, {task}, scale {scale}", *asked.set]))
    text = _markdown(results, ", ".join([scale, *asked.set]))
    if asked.world.is_main:
        record = {"scale": scale, "published": _published(), "ours": results}
        keep_other_rows(asked.out / "table2.json", _rows_of, _rows_of(record))
        write_json(asked.out / "table2.json", record)
        (asked.out / "table2.md").write_text(text)
    asked.world.barrier()
    show(text, 120, asked.console.quiet)
    asked.console.print(f"wrote {asked.out}/table2.md, table2.json and a report per task")


def _rows_of(record: Mapping[str, Any]) -> list[str]:
    """What a table2.json has runs of, by task, system and scale."""
    ours = record["ours"]
    return [f"{task} {slug} {record['scale']}" for task in ours for slug in ours[task]]


def _slug(system: System) -> str:
    return f"{system.name.lower()}-{system.published_parameters.lower()}"


def _published() -> dict[str, Mapping[str, float | None]]:
    return {_slug(system): system.published for system in SYSTEMS}


def _markdown(results: Mapping[str, Mapping[str, Any]], scale: str) -> str:
    """scale: its name, and what every row has changed."""
    head = ["system", "paper: parameters", "ours (sudoku)"]
    for task in TASKS:
        valid = "valid shortest %" if task == "maze" else "valid %"
        head += [f"{task}: paper %", "seeds", "ours exact %", valid, "TFLOP"]
    rows = []
    for system in SYSTEMS:
        if all(_slug(system) not in results[task] for task in TASKS):
            continue
        groups = [results[task].get(_slug(system)) for task in TASKS]
        parameters = next((g["parameters"] for g in groups if g and "parameters" in g), None)
        cells = [system.name, system.published_parameters]
        cells.append("-" if parameters is None else f"{parameters:,}")
        for task, group in zip(TASKS, groups, strict=True):
            paper = system.published[task]
            cells.append("-" if paper is None else f"{paper:.1f}")
            cells += _ours(group)
        rows.append(cells)
    lines = [
        *grid(head, rows),
        "",
        f"Scale {scale}; ± is the standard deviation over seeds. Collapsed: below "
        f"{100 * COLLAPSED:g} % exact. Every run is listed in sudoku/comparison.md and "
        "maze/comparison.md.",
    ]
    return "\n".join(lines) + "\n"


def _ours(group: Mapping[str, Any] | None) -> Sequence[str]:
    if group is None:
        return ["-"] * 4
    seeds = ", ".join([str(len(group["runs"])), *marks(group)])
    if "metrics" not in group:
        return [seeds, "-", "-", "-"]
    metrics = group["metrics"]
    valid = metrics.get("valid_shortest", metrics["valid"])
    spent = amount(group["training_flops"], 1e12)
    return [seeds, over_seeds(metrics["exact"]), over_seeds(valid), spent]
