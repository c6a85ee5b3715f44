"""`scripts/gpu_run`: what a GPU is for, in chunks of minutes that go on from one another's files.

A chunk runs tasks in order, each a public command in a process of its own, until its minutes are
spent; what is done is in OUT/progress.json, and the next chunk goes on from there. Training is
stopped by a signal, saves, and is resumed; any other task that a chunk's end cuts off starts anew.

    correctness   the device against the CPU (scripts.device_checks)
    bench         loopbench bench, cut so that every task fits a chunk
    speedrun      a sudoku set, the speed recipes trained on it, then searched wide and deep
    maze          Maze-Hard, the Attractor's speed recipe trained on it

The last two need published puzzles. Without the option that names them they are left out, which
the closing table and the last line say.

OUT/results.json holds everything that was measured so far: checks, figures, learning curves against
wall-clock and FLOPs, evaluations. OUT/weights/<run>/ holds each run's averaged weights in bf16 and
their card, ready to ship (`loopbench package`). Chunks go on from OUT's checkpoints, so OUT has to
stay where it is from one to the next; what has to leave a machine for good, `--copy-to` gathers.
"""

import json
import shutil
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from reasoning.training.checkpoints import list_checkpoints
from reasoning.training.distribution import choose_device
from reasoning.training.runs import environment, read_jsonl, write_json
from scripts.cli import run_guarded
from scripts.gpu_process import GRACE, Launch, alone, launch
from scripts.gpu_tasks import (
    Task,
    benches,
    correctness,
    maze_plan,
    speedruns,
    sudoku_plan,
)
from scripts.usage import UsageError, parse

Part = Literal["correctness", "bench", "speedrun", "maze"]
PARTS: tuple[Part, ...] = Part.__args__
_INTERRUPTED = 130  # exit code of a training that saved and can be resumed

# The parts that need published puzzles: what brings them in.
_BRINGS = {
    "speedrun": "--data DIR (a data folder) or --sudoku DIR (sudoku-extreme-1k/ and sudoku-lists/)",
    "maze": "--maze DIR (Maze-Hard, as CSVs or as HRM's arrays)",
}


class Progress:
    """What was done so far, in OUT/progress.json: a task's words, status, seconds, exit code."""

    def __init__(self, out: Path):
        self.path = out / "progress.json"
        self.tasks: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            self.tasks = json.loads(self.path.read_text())

    def status(self, task: Task) -> str:
        return self.tasks.get(task.name, {}).get("status", "to do")

    def note(self, task: Task, status: str, seconds: float, code: int) -> None:
        before = self.tasks.get(task.name, {}).get("seconds", 0.0)
        spent = {"seconds": before + seconds, "code": code}
        self.tasks[task.name] = {"words": list(task.words), "status": status} | spent
        write_json(self.path, self.tasks)

    def forget_failures(self, tasks: Sequence[Task]) -> None:
        """Try again what failed; a training that left no checkpoint is begun anew."""
        for task in tasks:
            if self.status(task) != "failed":
                continue
            if task.run is not None and list_checkpoints(task.run):
                self.tasks[task.name]["status"] = "to do"
                continue
            del self.tasks[task.name]
            if task.run is not None and task.run.exists():
                shutil.rmtree(task.run)

    def check(self, tasks: Sequence[Task]) -> None:
        """UsageError if a task was begun with other words, whose results these would take."""
        for task in tasks:
            begun = self.tasks.get(task.name, {}).get("words")
            if begun is not None and begun != list(task.words):
                raise UsageError(
                    f"{self.path}: {task.name} was begun with other options ({' '.join(begun)}); "
                    "give those or choose another --out"
                )


def run_chunk(
    tasks: Sequence[Task],
    out: Path,
    minutes: float,
    progress: Progress,
    console: Console,
    start: Launch = launch,
) -> None:
    """Run what is to do, in order, until the minutes are spent."""
    whole = 60 * minutes - GRACE
    end = time.monotonic() + whole
    for task in tasks:
        if progress.status(task) in ("done", "failed"):
            continue
        if task.made is not None and task.made.exists():  # by a chunk that ended before it said so
            progress.note(task, "done", 0.0, 0)
            console.print(f"{task.name}: done before, {task.made.parent} is there")
            continue
        left = end - time.monotonic()
        if left < min(60 * task.least, 0.9 * whole):
            return
        log = out / f"{task.name.replace(' ', '-')}.log"
        began = time.monotonic()
        code = start(task.module, task.command(), left, log)
        taken = time.monotonic() - began
        cut_off = code != 0 and taken >= left
        if code == 0:
            status = "done"
        elif task.run is not None and code == _INTERRUPTED:
            status = "stopped"
        else:  # what a whole chunk was too short for would never end
            status = "stopped" if cut_off and left < 0.9 * whole else "failed"
        if code == 0 and task.keep is not None:
            shutil.copy(*task.keep)
        progress.note(task, status, taken, code)
        console.print(f"{task.name}: {status} after {taken:.0f} s")
        if status == "stopped":
            return


def curve(run: Path) -> list[dict[str, Any]]:
    """Held-out accuracy of a run against its training minutes, evaluation apart, against minutes
    with it, and against FLOPs as executed."""
    exact = {r["step"]: r for r in read_jsonl(run / "metrics.jsonl") if r["split"] == "test"}
    points, training, evaluating, flops = [], 0.0, 0.0, 0.0
    for line in read_jsonl(run / "timing.jsonl"):
        if line["split"] == "train":
            training += line["seconds"]
            flops += line["flops"]
            continue
        evaluating += line["seconds"]
        points.append(
            {"step": line["step"], "training_minutes": training / 60, "flops": flops}
            | {"minutes": (training + evaluating) / 60}
            | {name: exact[line["step"]][name] for name in ("exact", "cell")}
        )
    return points


def gather(tasks: Sequence[Task], out: Path, progress: Progress) -> dict[str, Any]:
    """Everything measured so far, in one record, which it writes."""
    runs = [task.run for task in tasks if task.run is not None and list_checkpoints(task.run)]
    parts = {
        path.stem: json.loads(path.read_text())
        for pattern in ("checks.json", "bench-*.json", "evaluate-*.json", "search-*.json")
        for path in sorted(out.glob(pattern))
    }
    record = {
        "environment": environment(),
        "tasks": progress.tasks,
        "curves": {run.name: curve(run) for run in runs},
        **parts,
    }
    write_json(out / "results.json", record)
    return record


def closing_table(
    tasks: Sequence[Task], progress: Progress, record: dict[str, Any], left_out: Sequence[Task] = ()
) -> Table:
    """Every task: where it stands, its minutes, and its figure; those left out are "not run",
    unless an earlier chunk did them."""
    table = Table(title="so far")
    for heading in ("task", "status", "minutes", "figure"):
        table.add_column(heading, justify="right" if heading == "minutes" else "left")
    for task in (*tasks, *left_out):
        spent = progress.tasks.get(task.name, {}).get("seconds")
        minutes = "" if spent is None else f"{spent / 60:.1f}"
        status = "not run" if task in left_out and spent is None else progress.status(task)
        table.add_row(task.name, status, minutes, _figure(task, record))
    return table


def _figure(task: Task, record: dict[str, Any]) -> str:
    """The number a task is about, once it is there."""
    kind, _, name = task.name.partition(" ")
    if task.name == "correctness" and "checks" in record:
        checks = record["checks"]["checks"]
        return f"{sum(c['passed'] for c in checks)} of {len(checks)} checks passed"
    if kind == "train" and record["curves"].get(name):
        last = record["curves"][name][-1]
        exact = 100 * last["exact"]["mean"]
        return f"step {last['step']}: {exact:.1f} % exact after {last['minutes']:.1f} minutes"
    found = record.get(f"{kind}-{name}" if name else kind)
    if kind in ("evaluate", "search") and found:
        exact = found["metrics"]["exact"]
        return f"{100 * exact['mean']:.1f} % exact, n = {exact['n']}, {found['segments']} segments"
    rows = [r for part in ("training", "language") for r in (found or {}).get(part, ())]
    if rows:
        best = max(rows, key=lambda r: r["of_matmul_rate"])
        share = 100 * best["of_matmul_rate"]
        return f"{best['preset']}, {best['mode']}: {share:.1f} % of the matmul rate"
    return ""


def has_puzzles(part: str, sources: Sequence[Any], given: dict[str, Any]) -> bool:
    """Whether any source of a part's puzzles is given. UsageError if only its other options are."""
    if any(sources):
        return True
    options = [f"--{name}" for name, value in given.items() if value]
    if options:
        raise UsageError(f"{', '.join(options)}: the {part} needs puzzles too, {_BRINGS[part]}")
    return False


def gpu_run(
    out: Path | None = None,
    minutes: float = 9.0,
    toy: bool = False,
    parts: tuple[Part, ...] = PARTS,
    presets: tuple[str, ...] | None = None,
    data: Path | None = None,
    sudoku: Path | None = None,
    steps: int | None = None,
    train: str = "",
    maze: Path | None = None,
    maze_steps: int | None = None,
    maze_train: str = "",
    retry: bool = False,
    copy_to: Path | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Run the next chunk; exit code 3 while something is left to do, 1 if something failed.

    Args:
        out: folder for everything; the next chunk goes on from it; none: runs/gpu, or runs/gpu-toy.
        minutes: of this chunk, all in all.
        toy: all of it at toy size.
        parts: what to do; the speedrun and the maze need puzzles and are left out without.
        presets: what the speedrun trains; none: trm-mlp-speed and attractor-speed.
        data: data folder of the speedrun.
        sudoku: folder with sudoku-extreme-1k/ and sudoku-lists/ to import it from, without --data.
        steps: optimiser steps of the speedrun; none: the presets' own.
        train: further options of its training, as one text: --train="--model.cycles 3".
        maze: folder with Maze-Hard (CSVs or HRM's arrays), to train attractor-speed on.
        maze_steps: optimiser steps of that; none: the preset's own.
        maze_train: further options of that training, as one text.
        retry: try again what failed.
        copy_to: folder that results, logs and weights are copied to at the end, as few flat files,
            for a machine whose own folders do not last.
        device: where to run; auto: the best present.
    """
    out = out or Path("runs/gpu-toy" if toy else "runs/gpu")
    if 60 * minutes <= 2 * GRACE:
        raise UsageError(f"--minutes: a chunk needs more than {2 * GRACE / 60:g} (got {minutes})")
    for name, folder in (("data", data), ("sudoku", sudoku), ("maze", maze)):
        if folder is not None and not folder.is_dir():
            raise UsageError(f"--{name}: there is no folder {folder}; check its name")
    where = choose_device(device).type
    tasks: list[Task] = []
    if "correctness" in parts:
        tasks += correctness(out, where, toy)
    if "bench" in parts:
        tasks += benches(out, where, toy)
    plans = {
        "speedrun": (
            sudoku_plan(out, toy, presets, data, sudoku, steps, train),
            (toy, data, sudoku),
            {"presets": presets, "steps": steps, "train": train},
        ),
        "maze": (
            maze_plan(out, toy, maze, maze_steps, maze_train),
            (toy, maze),
            {"maze-steps": maze_steps, "maze-train": maze_train},
        ),
    }
    left_out: dict[str, list[Task]] = {}
    for part, (plan, sources, given) in plans.items():
        if part not in parts:
            continue
        if has_puzzles(part, sources, given):
            tasks += speedruns(out, where, plan)
        else:
            left_out[part] = speedruns(out, where, plan)
    if not tasks:
        missing = " and ".join(f"for the {part} {_BRINGS[part]}" for part in left_out)
        raise UsageError(f"nothing to run: give {missing or '--parts'}")
    out.mkdir(parents=True, exist_ok=True)
    with alone(out):
        progress = Progress(out)
        if retry:
            progress.forget_failures(tasks)
        progress.check(tasks)
        console = Console(width=max(110, Console().width))
        try:
            run_chunk(tasks, out, minutes, progress, console)
            finish(tasks, out, progress, console, left_out)
        finally:
            if copy_to is not None:
                copy_results(out, copy_to)


def finish(
    tasks: Sequence[Task],
    out: Path,
    progress: Progress,
    console: Console,
    left_out: dict[str, list[Task]] | None = None,
) -> None:
    """Write the results, print the table and which parts were left out; SystemExit unless
    everything else is done."""
    left_out = left_out or {}
    without = [task for part in left_out.values() for task in part]
    record = gather([*tasks, *without], out, progress)
    console.print(closing_table(tasks, progress, record, without))
    states = {progress.status(task) for task in tasks}
    going_on, failed = bool(states & {"to do", "stopped"}), "failed" in states
    if failed:
        console.print(f"failed tasks have logs in {out}; --retry tries them again")
    if going_on:
        console.print("the same command goes on from here")
    elif not failed:
        console.print(f"all done; everything measured is in {out / 'results.json'}")
    for part in left_out:
        console.print(f"left out: the {part}; {_BRINGS[part]} brings it in", soft_wrap=True)
    if going_on or failed:
        raise SystemExit(3 if going_on else 1)


def copy_results(out: Path, to: Path) -> None:
    """results.json, a tar of logs and configurations, and each run's weights with their card."""
    to.mkdir(parents=True, exist_ok=True)
    with tarfile.open(to / "logs.tar.gz", "w:gz") as tar:
        for pattern in ("*.log", "*.json", "*/*.json", "*/*.jsonl"):
            for path in sorted(out.glob(pattern)):
                tar.add(path, path.relative_to(out))
    if (out / "results.json").exists():
        shutil.copy(out / "results.json", to)
    for path in sorted(out.glob("weights/*/*")):
        shutil.copy(path, to / f"{path.parent.name}-{path.name}")


def main(words: Sequence[str]) -> int:
    parse(gpu_run, words, "scripts/gpu_run")()
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded(main, sys.argv[1:]))
