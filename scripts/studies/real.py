"""`loopbench reproduce real`: Sudoku-Extreme or Maze-Hard from 1,000 puzzles, each preset trained
to a deadline and answered three ways, beside what others report.

OUT/<preset>-seed<n>/ the runs, with what they answered in answers/; OUT/real.json, real.md the
table; OUT/report.html the comparison.
Answered three ways: the segments of training, 64 segments ("deep"), and with 64 segments on several
images of a puzzle, or from several starts where images tell nothing new, one after another until
the halting score claims an answer ("chosen", on fewer puzzles; of one pass, in which no answer
stands, the image of the largest halting score).
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from puzzles.puzzle_set import PuzzleSet
from reasoning.records import sha256_of
from reasoning.training.distribution import World
from reasoning.training.runs import read_environment, write_json
from scripts.models.presets import RunConfig
from scripts.reports.earlier import keep_other_rows
from scripts.reports.numbers import accuracy, grid
from scripts.reports.report import training_cost
from scripts.reports.reported import PUBLISHED
from scripts.runs.data import read_puzzles
from scripts.runs.evaluate import evaluate_run
from scripts.runs.recorded import settings_hash
from scripts.runs.search_plan import Plan
from scripts.runs.session import TrainedRun, identity, open_run, subset
from scripts.runs.train import newest, train_run
from scripts.runs.training_command import alone, waiting
from scripts.studies.asked import PuzzlesAsked
from scripts.studies.comparison import Comparison, planned_runs
from scripts.studies.jobs import Job, Seat, run_jobs
from scripts.studies.one_run import Scored, as_begun, failed_run, leave_if, score_run
from scripts.studies.plan import lanes_of
from scripts.terminal.choices import Task
from scripts.terminal.console import show

DEEP = 64  # segments
SEVERAL = {"sudoku": 32, "maze": 8}  # images or starts, when the answer is chosen among them
_PRODUCT = 256  # rows and columns of the matrices whose products are timed


def real(
    asked: PuzzlesAsked,
    task: Task,
    configs: Sequence[RunConfig],
    train: PuzzleSet,
    seconds: float,
    searched: int,
    chosen: frozenset[str] = frozenset(),
) -> None:
    """Train, answer and tell; resumable.

    task: whose published rows stand beside ours, and how many images or starts are asked. configs:
    what is trained on the puzzles of their data folder, `train`. seconds: training of each run.
    searched: held-out puzzles of which several images are asked; 0 leaves that out. chosen:
    settings that nobody asked for: a run begun with others goes on with its own. Among them
    precision is as `faster_precision` finds.
    """
    world, console = asked.world, asked.console
    out, data = asked.out, configs[0].data
    if "precision" in chosen:  # what the first process finds: timings differ
        faster = faster_precision(world.device) == "bf16"
        fastest = {"precision": "bf16" if world.first(float(faster)) else "fp32"}
        configs = [config.model_copy(update=fastest) for config in configs]
    runs = planned_runs(configs, asked.seeds, out, train)
    lanes = lanes_of(asked.jobs, runs, world)
    for config, folder, _ in runs:
        as_begun(config, folder, chosen, seconds)
    earlier = _rows_there(out / "real.json", task, data)
    jobs = [
        Job(folder, partial(_train_and_tell, config, folder, seconds, task, searched, chosen))
        for config, folder, _ in runs
    ]
    told: dict[int, tuple[Scored, dict[str, Any] | None]] = {}
    # Of runs that this call has not come to yet, what an earlier one told.
    lines = {place: earlier.get(folder.name) for place, (_, folder, _) in enumerate(runs)}
    text = _markdown(task, [])
    for ended in run_jobs(jobs, lanes, world, console, newest):
        config, folder, _ = runs[ended.place]
        told[ended.place] = ended.value
        if ended.failure is not None:
            failed = failed_run(config, folder, train.kind, train.seq_len, ended.failure)
            told[ended.place] = failed, None
        lines[ended.place] = told[ended.place][1]
        rows = [row for row in lines.values() if row is not None]
        text = _markdown(task, rows)
        if world.is_main:  # as it comes: the next run may take as long again
            keep_other_rows(out / "real.json", _names, [row["run"] for row in rows])
            write_json(out / "real.json", {"task": task, "data": data, "runs": rows})
            (out / "real.md").write_text(text)
        world.barrier()
    compared = Comparison(Path(data), world)
    for place in range(len(runs)):
        compared.take(told[place][0])
    compared.write(out, f"{task} from {len(train):,} puzzles, {seconds / 3600:.3g} hours a run")
    show(text, 150, console.quiet)
    console.print(f"wrote {out}/real.md, real.json and report.html")


def _names(record: Mapping[str, Any]) -> list[str]:
    """The folders of the runs that a real.json tells of."""
    return [row["run"] for row in record["runs"]]


def _rows_there(path: Path, task: Task, data: str) -> dict[str, dict[str, Any]]:
    """The rows of a real.json of the same puzzles, by their runs' folders; {} of any other file."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        record = json.loads(path.read_text())
        if (record["task"], record["data"]) == (task, data):
            return dict(zip(_names(record), record["runs"], strict=True))
    return {}


def faster_precision(device: torch.device) -> Literal["fp32", "bf16"]:
    """The activations' precision in which this device multiplies matrices faster, as timed now:
    bf16 on a GPU and on CPUs with instructions for it, where it is up to six times as fast."""

    def seconds(dtype: torch.dtype) -> float:
        a, b = torch.randn(2, _PRODUCT, _PRODUCT, device=device).to(dtype)
        taken = []
        for _ in range(6):
            began = time.perf_counter()
            float((a @ b)[0, 0])  # waits for the device
            taken.append(time.perf_counter() - began)
        return min(taken)

    if device.type == "cuda":
        return "bf16"
    return "bf16" if seconds(torch.bfloat16) < 0.7 * seconds(torch.float32) else "fp32"


def train_to_deadline(
    config: RunConfig,
    folder: Path,
    seconds: float,
    seat: Seat,
    chosen: frozenset[str] = frozenset(),
) -> None:
    """Train a run for so long, go on with it, or leave it if it is finished.

    config: what is trained; seconds: how long a new run takes; seat: where it computes and whom it
    tells; chosen: settings in which a run that was begun goes on as it was. KeyboardInterrupt when
    interrupted, the run saved. UsageError for a folder with another run.
    """
    with alone(folder, seat.world, partial(seat.say, waiting(folder))):
        begun = (folder / "config.json").exists()
        config = as_begun(config, folder, chosen, seconds)
        seat.world.barrier()  # every process has read what is there before it changes
        stopped = train_run(
            config, folder, seat.world, begun, seat.followers, None if begun else seconds
        )
    leave_if(stopped, folder, seat)


def _train_and_tell(
    config: RunConfig,
    folder: Path,
    seconds: float,
    task: Task,
    searched: int,
    chosen: frozenset[str],
    seat: Seat,
) -> tuple[Scored, dict[str, Any] | None]:
    """A run as the comparison takes it, and its line of the table; no line if it failed.

    config: trained for so many seconds in its folder. task, searched: as of _row. chosen: the
    settings that its preset does not make. seat: its place among the jobs.
    """
    train_to_deadline(config, folder, seconds, seat, chosen)
    scored = score_run(folder, Path(config.data), seat.world, seat.tell)
    if scored.row.evaluation is None:
        return scored, None
    return scored, _row(folder, scored.row.evaluation, Path(config.data), task, searched, seat)


def _row(
    folder: Path, scored: Mapping[str, Any], data: Path, task: Task, searched: int, seat: Seat
) -> dict[str, Any]:
    """A run's line of the table: what it is, what it took, what it answers.

    folder: the run's. scored: its evaluation. data: what it was held out on. task: says how many
    starts. searched: puzzles that are started so often; 0: none. seat: its place among the jobs.
    """
    run, held_out = open_run(folder, seat.world), read_puzzles(data, "test")
    cost, record = training_cost(folder, run.step), read_environment(folder)
    row: dict[str, Any] = {
        "run": folder.name,
        "preset": run.config.preset,
        "seed": run.config.seed,
        "steps": run.step,
        "precision": run.config.precision,
        "hints": run.config.hints,
        "parameters": scored["parameters"],
        "hours": cost["seconds"] / 3600,
        "pflop": cost["flops"] / 1e15 if "flops" in cost else None,
        "segments": {"segments": scored["segments"]} | _answers(scored),
        "commit": record.get("commit"),
        "cpu": record.get("cpu"),
    }
    row["deep"] = _asked(folder, run, held_out, Plan(), partial(seat.tell, "deep"), seat.world)
    if searched:
        of = "starts" if run.config.model.symmetric() else "images"
        several = {"breadth" if of == "starts" else "symmetries": SEVERAL[task]}
        claims = run.config.supervision.segments > 1  # an answer stands from the second on
        plan = Plan(**several, **({"until_claimed": True} if claims else {"select": "q"}))
        tell = partial(seat.tell, f"{plan.candidates} {of}")
        row["chosen"] = {of: plan.candidates, "rule": plan.rule}
        row["chosen"] |= _asked(folder, run, subset(held_out, searched), plan, tell, seat.world)
    return row


def _asked(
    folder: Path, run: TrainedRun, puzzles: PuzzleSet, plan: Plan, tell: Any, world: World
) -> dict[str, Any]:
    """What a run answers when so asked; kept in its folder, for the next command that asks alike.

    folder: the run's; run: what lies there; puzzles, plan: what is asked; tell: told of progress;
    world: the processes, which share the puzzles.
    """
    segments = DEEP if run.config.supervision.segments > 1 else 1  # one pass carries nothing
    settings = plan.model_dump(mode="json") | {
        "segments": segments,
        "step": run.step,
        "config_sha256": sha256_of(folder / "config.json"),
        "puzzles_sha256": identity(puzzles),
        "device": world.device.type,
    }
    path = folder / "answers" / f"{settings_hash(settings)}.json"
    if not path.exists():
        record = evaluate_run(run, puzzles, segments, world, plan=plan, metered=False, tell=tell)
        answers = {"segments": segments} | _answers(record.record)
        if world.is_main:
            path.parent.mkdir(exist_ok=True)
            write_json(path, {"settings": settings, "answers": answers})
        world.barrier()
    return json.loads(path.read_text())["answers"]


def _answers(record: dict[str, Any]) -> dict[str, Any]:
    """Of every segment run, and of halting itself: metrics and net calls a puzzle."""
    halting = record["selection"]["halt-first"]
    return {
        "metrics": record["metrics"],
        "net_calls": record["net_calls_per_puzzle"],
        "halting_itself": halting["metrics"]
        | {"net_calls": halting["net_calls_per_puzzle"]["mean"]},
        "residual_auroc": record["abstention"]["residual"]["auroc"],
    }


def _chosen(chosen: dict[str, Any]) -> str:
    """Accuracy of the answers chosen among several."""
    of = next(name for name in ("images", "starts") if name in chosen)
    exact = chosen["metrics"]["exact"]
    return f"{accuracy(exact)} of {chosen[of]} {of}, n {exact['n']}"


def _markdown(task: Task, rows: Sequence[dict[str, Any]]) -> str:
    """The table: ours first, then what others report."""
    maze = task == "maze"
    head = ["", "parameters", "exact %"] + ["valid shortest %"] * maze
    head += [f"{DEEP} segments", "halting itself", "net calls halting itself"]
    head += ["chosen of several", "trained for"]
    lines = []
    for row in rows:
        known, deep, chosen = row["segments"], row["deep"], row.get("chosen")
        cells = [f"{row['preset']}, seed {row['seed']}", f"{row['parameters']:,}"]
        cells.append(accuracy(known["metrics"]["exact"]))
        if maze:
            cells.append(accuracy(known["metrics"]["valid_shortest"]))
        cells.append(accuracy(deep["metrics"]["exact"]))
        halting = deep["halting_itself"]
        cells += [accuracy(halting["exact"]), f"{halting['net_calls']:.0f}"]
        cells.append(_chosen(chosen) if chosen else "")
        flop = f", {row['pflop']:.2g} PFLOP" if row["pflop"] else ""
        hints = f", 0 to {row['hints']} hints" if row.get("hints") else ""
        lines.append([*cells, f"{row['hours']:.2g} h{flop}{hints}"])
    for other in PUBLISHED[task]:
        cells = [f"{other.name} ({other.source})", other.parameters, f"{other.exact:g}"]
        cells += [""] * maze + [other.how, "", "", "", other.cost]
        lines.append(cells)
    return "\n".join(grid(head, lines)) + "\n"
