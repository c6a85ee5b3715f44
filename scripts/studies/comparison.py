"""Runs compared: scored, or trained and scored, and the files that tell of them.

OUT/comparison.md, comparison.json, report.html (everything in one file), and the pictures in it:
solving.png (one puzzle segment by segment), curves, difficulty, residuals, examples/.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from puzzles.puzzle_set import PuzzleSet
from reasoning.training.config import replanned
from reasoning.training.distribution import World
from reasoning.training.runs import make_folder, write_json
from scripts.models.presets import RunConfig
from scripts.models.variants import file_name
from scripts.reports.curves import for_page, run_curve
from scripts.reports.earlier import keep_other_rows
from scripts.reports.figures import plot_curves, plot_difficulty, plot_residuals
from scripts.reports.html_report import Section, write_html
from scripts.reports.report import Row, comparison, group_names, markdown
from scripts.runs.train import newest
from scripts.runs.training_command import with_steps
from scripts.studies.asked import Asked
from scripts.studies.budget import Ledger, cost_of, steps_within
from scripts.studies.examples import Pictured, caption, draw_extremes, draw_solving
from scripts.studies.jobs import Job, Seat, run_jobs
from scripts.studies.lanes import Lanes
from scripts.studies.one_run import (
    Scored,
    as_begun,
    check_same,
    check_scorable,
    failed_run,
    finish_run,
    score_run,
)
from scripts.studies.origin import origin, recipes, settings_apart
from scripts.studies.plan import Run, lanes_of, rehearse_own
from scripts.terminal.choices import Budget
from scripts.terminal.console import Console
from scripts.terminal.progress import stage_progress
from scripts.usage import UsageError


class Comparison:
    """Runs scored on held-out and on training puzzles, and the files that tell of them."""

    def __init__(self, data: Path | None, world: World):
        self.data, self.world = data, world
        self.rows: list[Row] = []
        # Of a group's first run what pictures need, by its place in `rows`.
        self._pictured: dict[int, Pictured] = {}
        self._puzzles: dict[str, str] = {}  # what a data folder holds

    def add(self, folder: Path) -> None:
        """Score a run, see `score_run`, and take it."""
        with stage_progress(quiet=not self.world.is_main) as show:

            def tell(stage: str, done: int, total: int) -> None:
                show(f"{folder.name}: {stage}", done, total)

            self.take(score_run(folder, self.data, self.world, tell))

    def take(self, scored: Scored) -> None:
        """Take a run that was scored, or failed."""
        row = scored.row
        if row.evaluation is not None:
            if row.group not in [other.group for other in self.rows if other.evaluation]:
                self._pictured[len(self.rows)] = scored.pictured
            self._puzzles[row.data] = scored.puzzles
        self.rows.append(row)

    def groups(self) -> dict[str, Any]:
        """What comparison.json holds, by label; see `scripts.reports.report.comparison`."""
        return comparison(self.rows)

    def write(self, out: Path, title: str) -> str:
        """Write everything to OUT, from the first process; returns the Markdown of the table, on
        every one. title: of comparison.md and report.html."""
        groups = self.groups()
        text = markdown(groups)
        if self.world.is_main:
            self._write(groups, text, out, title)
        self.world.barrier()
        return text

    def _write(self, groups: dict[str, Any], text: str, out: Path, title: str) -> None:
        out.mkdir(parents=True, exist_ok=True)
        keep_other_rows(out / "comparison.json", _scored_on, _scored_on(groups))
        write_json(out / "comparison.json", groups)
        (out / "comparison.md").write_text(f"# {title}\n\n{text}")
        made_by = origin(self.rows, self._puzzles)
        told = settings_apart(self.rows), recipes(self.rows)
        write_html(groups, self._sections(out), made_by, title, out / "report.html", *told)

    def _sections(self, out: Path) -> list[Section]:
        names = group_names(self.rows)
        done = [(n, r) for n, r in zip(names, self.rows, strict=True) if r.evaluation is not None]
        if not done:
            return []
        sections = []
        curves = [run_curve(name, row.folder) for name, row in done if row.cost]
        if curves:
            plot_curves(curves, out / "curves.png")
            note = (
                "Held-out accuracy while training is of some held-out puzzles, the table's of all."
            )
            pictures = [(out / "curves.png", "")]
            sections.append(Section("Learning curves", pictures, note, for_page(curves)))
        records = [(name, row.evaluation) for name, row in done]
        if plot_difficulty(records, out / "difficulty.png"):
            sections.append(Section("Accuracy against difficulty", [(out / "difficulty.png", "")]))
        shown = {names[i]: pictured for i, pictured in self._pictured.items()}
        sections.insert(0, _solving(shown, out / "solving.png"))
        scores = [(name, pictured.scored) for name, pictured in shown.items()]
        first = [(name, s.residual, s.right, s.solved) for name, s in scores]
        if plot_residuals(first, out / "residuals.png"):
            note = (
                "Each model's first run, after the last segment: the solver's relative residual, "
                "or, where there is no solver, how much that segment changed y."
            )
            sections.append(Section("Residuals", [(out / "residuals.png", "")], note))
        examples = [p for pair in shown.items() for p in draw_extremes(*pair, out / "examples")]
        return [*sections, Section("Hardest solved and easiest failed puzzles", examples)]


def _scored_on(groups: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The scored rows of a comparison.json, each with the folder of its puzzles."""
    return [(name, group["data"]) for name, group in groups.items() if "data" in group]


def _solving(shown: Mapping[str, Pictured], path: Path) -> Section:
    """One puzzle under the model that solves most, of those that take more than one segment."""

    def key(name: str) -> tuple[bool, float]:
        pictured = shown[name]
        (candidate,) = pictured.recording.candidates
        return len(candidate.segments) > 1, pictured.scored.record["metrics"]["exact"]["mean"]

    name = max(shown, key=key)
    pictured = shown[name]
    draw_solving(pictured, path)
    pictures = [(path, "Blue cells are as in the answer, red ones are not.")]
    recording = pictured.recording.model_dump(mode="json") | {"model": name}
    return Section("One puzzle being solved", pictures, caption(name, pictured), solve=recording)


def run_folder(out: Path, config: RunConfig, seed: int) -> Path:
    """Where a comparison's run of this preset, or variant, and seed lies. A run that was begun
    under the name that such folders once had, with commas, goes on there."""
    once = out / f"{config.preset.replace(' ', '-')}-seed{seed}"
    return once if once.exists() else out / f"{file_name(config.preset)}-seed{seed}"


@dataclass(frozen=True)
class Spending:
    """What every row of a comparison gets as much of."""

    budget: Budget = "steps"
    """what is counted: steps, FLOPs or time."""
    amount: float | None = None
    """of that, in steps, FLOPs or minutes; None: each row's own steps, or what the first spends."""
    first: RunConfig | None = None
    """whose spending counts where no amount is given; None: the first row's."""


def within_budget(
    configs: Sequence[RunConfig], train: PuzzleSet, spending: Spending, asked: Asked
) -> list[RunConfig]:
    """The configurations with the steps that spend as much each; warm-up and the start of averaging
    keep their parts of the run (see `replanned`). What is measured is kept in
    OUT/budget.json and not measured again.

    configs: one or more; train: the training puzzles of all; spending: what they get equally;
    asked: of the study, OUT and the device among it.
    """
    budget, amount, first = spending.budget, spending.amount, spending.first or configs[0]
    if budget == "steps":
        return list(configs) if amount is None else [with_steps(c, int(amount)) for c in configs]
    told = first.model_dump(mode="json") if amount is None else None
    world = asked.world
    ledger = Ledger(asked.out, {"budget": budget, "amount": amount, "first": told}, world)

    def whole() -> float:
        if amount is None:
            return cost_of(first, train, world, budget).of(first.steps)
        return amount if budget == "flops" else 60 * amount

    total = ledger.total(whole)

    def measured(config: RunConfig) -> int:
        if amount is None and config == first:
            return config.steps
        return steps_within(config, total, train, world, budget)

    changed = [replanned(c, ledger.steps(c, total, partial(measured, c))) for c in configs]
    shown = f"{total / 1e12:.3g} TFLOP" if budget == "flops" else f"{total / 60:.3g} minutes"
    steps = ", ".join(f"{c.preset} {c.steps}" for c in changed)
    asked.console.print(f"steps for {shown} each: {steps}")
    return changed


def planned_runs(
    configs: Sequence[RunConfig], seeds: int, out: Path, train: PuzzleSet
) -> list[Run]:
    """A run of every configuration with every seed under OUT, with its training puzzles.

    configs: of which each run has one, with the seed in place; seeds: how many, from 0 on; out:
    OUT; train: the training puzzles of all.
    """
    return [
        (
            RunConfig.model_validate(config.model_dump() | {"seed": seed}),
            run_folder(out, config, seed),
            train,
        )
        for seed in range(seeds)  # outermost: an unfinished comparison has as many of each
        for config in configs
    ]


def planned_equally(
    configs: Sequence[RunConfig],
    seeds: int,
    train: PuzzleSet,
    spending: Spending,
    asked: Asked,
) -> tuple[list[Run], Lanes]:
    """Runs as `planned_runs` gives them, of steps that spend as much each, and how they train side
    by side. Models of the user's own are rehearsed before any other is measured.

    configs: of the rows; seeds: of each; train: the training puzzles of all; spending: what they
    get equally; asked: of the study, OUT among it.

    InputError for a model of the user's own that cannot be trained; RunError if OUT cannot be
    written.
    """
    runs = planned_runs(configs, seeds, asked.out, train)
    if spending.budget != "steps":  # else the runs' own check comes before anything is measured
        for config, folder, _ in runs:
            as_begun(config, folder)
    rehearse_own(runs, asked.world)
    lanes = lanes_of(asked.jobs, runs, asked.world)
    if asked.world.is_main:
        make_folder(asked.out)
    with lanes.threads():
        configs = within_budget(configs, train, spending, asked)
    return planned_runs(configs, seeds, asked.out, train), lanes


def train_and_score(
    runs: Sequence[Run], lanes: Lanes, world: World, console: Console
) -> list[Scored]:
    """Train every run and score it on the held-out puzzles of its data; failures are listed.

    lanes: how many train at a time; world: the processes that train them; console: where it is told
    how far they are.

    Finished runs are kept, interrupted ones go on. UsageError, before the first step, if a folder
    holds a run of another configuration.
    """
    for config, folder, _ in runs:
        check_same(config, folder)
    jobs = [Job(folder, partial(_train_and_score, config, folder)) for config, folder, _ in runs]
    scored: dict[int, Scored] = {}
    for ended in run_jobs(jobs, lanes, world, console, newest):
        config, folder, train = runs[ended.place]
        scored[ended.place] = ended.value
        if ended.failure is not None:
            failed = failed_run(config, folder, train.kind, train.seq_len, ended.failure)
            scored[ended.place] = failed
    return [scored[place] for place in range(len(runs))]


def _train_and_score(config: RunConfig, folder: Path, seat: Seat) -> Scored:
    finish_run(config, folder, seat)
    return score_run(folder, Path(config.data), seat.world, seat.tell)


def train_and_compare(
    runs: Sequence[Run], lanes: Lanes, data: Path, world: World, console: Console
) -> Comparison:
    """Train and score runs on the same data, see `train_and_score`.

    runs: as `planned_runs` gives them; data: their folder of puzzles; lanes, world, console: as
    there.
    """
    compared = Comparison(data, world)
    for scored in train_and_score(runs, lanes, world, console):
        compared.take(scored)
    return compared


def compare_finished(runs: Sequence[Path], data: Path | None, asked: Asked) -> Comparison:
    """Finished runs, scored. data: puzzles for all of them, None: each run's own; asked: of the
    study. UsageError if none of them can be scored, RunError if OUT cannot be written."""
    if asked.world.is_main:
        make_folder(asked.out)
    compared = Comparison(data, asked.world)
    for folder in runs:
        check_scorable(folder, data, asked.world)
    for folder in runs:
        compared.add(folder)
    if all(row.evaluation is None for row in compared.rows):
        names = ", ".join(map(str, runs))
        raise UsageError(f"{names}: no run has a checkpoint to compare; train one first")
    return compared
