"""`scripts/gpu_run`: what a GPU is for, in chunks of minutes that go on from one another's files.

A chunk runs tasks in order, each a public command in a process of its own, until its minutes are
spent; what is done is in OUT/progress.json, and the next chunk goes on from there. Training is
stopped by a signal, saves, and is resumed; any other task that a chunk's end cuts off starts anew.

    correctness   the device against the CPU (scripts.device_checks)
    bench         loopbench bench, cut so that every task fits a chunk
    speedrun      a sudoku set, the speed recipes trained on it, then searched wide and deep

OUT/results.json holds everything that was measured so far: checks, figures, learning curves against
wall-clock and FLOPs, evaluations. OUT/weights/<run>/ holds each run's averaged weights in bf16 and
their card, ready to ship (`loopbench package`).
"""

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from reasoning.training.checkpoints import list_checkpoints
from reasoning.training.distribution import choose_device
from reasoning.training.runs import environment, read_jsonl, write_json
from scripts.cli import run_guarded
from scripts.usage import UsageError, parse

Part = Literal["correctness", "bench", "speedrun"]
PARTS: tuple[Part, ...] = Part.__args__
_INTERRUPTED = 130  # exit code of a training that saved and can be resumed
_GRACE = 30.0  # seconds a stopped task has to save
_LEAVE = 0.01  # residual at which a start leaves: above what bf16 states reach (0.005 to 0.008)

# Runs a module with words until done or the seconds are over; returns the exit code.
Launch = Callable[[str, Sequence[str], float, Path], int]


@dataclass(frozen=True)
class Task:
    """One command. least: minutes a chunk must have left for it to start; run: the folder of a
    training run, which is resumed where it was stopped; keep: a file it writes, and where to copy
    it before another task writes it again."""

    name: str
    module: str
    words: tuple[str, ...]
    least: float = 0.5
    run: Path | None = None
    keep: tuple[Path, Path] | None = None

    def command(self) -> tuple[str, ...]:
        """The words to run now: a run that has a checkpoint is resumed."""
        if self.run is None or not self.run.exists():
            return self.words
        if list_checkpoints(self.run):
            return (self.words[0], "--resume", str(self.run))
        shutil.rmtree(self.run)  # stopped before its first checkpoint
        return self.words


@dataclass(frozen=True)
class Speedrun:
    """What is trained, on what, and how it is searched."""

    presets: tuple[str, ...]
    data: Path
    make_data: tuple[str, ...] | None
    train: tuple[str, ...]
    segments: int
    breadth: int
    puzzles: int


def correctness(out: Path, device: str, toy: bool) -> list[Task]:
    """The device against the CPU."""
    small = ("--no-full", "--no-compiled") if toy else ()
    words = ("--json", str(out / "checks.json"), "--device", device, *small)
    return [Task("correctness", "scripts.device_checks", words)]


def benches(out: Path, device: str, toy: bool) -> list[Task]:
    """The bench, cut in tasks of minutes."""
    cuts: dict[str, str] = {
        "published-7m": "--parts training --precisions bf16 "
        "--presets trm-7m trm-mlp-speed-7m attractor-7m attractor-speed-7m",
        "published-27m": "--parts training --precisions bf16 --micro-batch 192 "
        "--presets trm-27m attractor-27m",
        "solver": "--parts published solver shares --presets attractor-7m",
        "transformer": "--parts language --precisions bf16 --lm-presets transformer-140m",
        "attractor": "--parts language --precisions bf16 --modes compiled "
        "--lm-presets attractor-140m",
        "parcae": "--parts language --precisions bf16 --modes compiled --lm-presets parcae-140m",
        "memory": "--parts memory scaling --presets trm-7m",
        "evaluation": "--parts evaluation --presets trm-7m attractor-7m",
    }
    if toy:
        tiny = "--quick --seconds 0.01 --modes eager --precisions fp32"
        cuts = {
            "training": f"{tiny} --parts training evaluation scaling --presets attractor-mini",
            "language": f"{tiny} --parts language --lm-presets transformer-mini",
        }
    return [
        Task(
            f"bench-{name}",
            "scripts.cli",
            (
                *("bench", *shlex.split(words)),
                *("--device", device, "--json", str(out / f"bench-{name}.json")),
            ),
            least=2.0,
        )
        for name, words in cuts.items()
    ]


def speedruns(out: Path, device: str, plan: Speedrun) -> list[Task]:
    """Data, then for every preset: train, evaluate as trained, package, search wide and deep."""
    tasks = []
    if plan.make_data is not None:
        words = ("data", *plan.make_data, "--out", str(plan.data))
        tasks.append(Task("data", "scripts.cli", words))
    for name in plan.presets:
        run = out / name
        train = ("train", "--preset", name, "--data", str(plan.data), "--out", str(run))
        tasks.append(
            Task(f"train {name}", "scripts.cli", (*train, "--device", device, *plan.train), run=run)
        )
        evaluate = ("evaluate", str(run), "--data", str(plan.data), "--device", device)
        search = ("--segments", str(plan.segments), "--breadth", str(plan.breadth))
        search += ("--puzzles", str(plan.puzzles), "--leave", str(_LEAVE))
        written = run / f"evaluation-{plan.data.resolve().name}.json"
        package = ("package", *evaluate[1:], "--out", str(out / "weights" / name))
        for what, words, least, kept in (
            ("evaluate", evaluate, 1.0, True),
            ("package", package, 1.0, False),
            ("search", (*evaluate, *search), 3.0, True),
        ):
            keep = (written, out / f"{what}-{name}.json") if kept else None
            tasks.append(Task(f"{what} {name}", "scripts.cli", words, least, keep=keep))
    return tasks


def launch(module: str, words: Sequence[str], seconds: float, log: Path) -> int:
    """Run in a process of its own; past its seconds it is asked to stop, then made to."""
    with log.open("a") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *words], stdout=said, stderr=subprocess.STDOUT
        )
        try:
            return process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


class Progress:
    """What was done so far, in OUT/progress.json: a task's status, seconds and exit code."""

    def __init__(self, out: Path):
        self.path = out / "progress.json"
        self.tasks: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            self.tasks = json.loads(self.path.read_text())

    def status(self, task: Task) -> str:
        return self.tasks.get(task.name, {}).get("status", "to do")

    def note(self, task: Task, status: str, seconds: float, code: int) -> None:
        before = self.tasks.get(task.name, {}).get("seconds", 0.0)
        self.tasks[task.name] = {"status": status, "seconds": before + seconds, "code": code}
        write_json(self.path, self.tasks)

    def forget_failures(self) -> None:
        self.tasks = {n: t for n, t in self.tasks.items() if t["status"] != "failed"}


def run_chunk(
    tasks: Sequence[Task],
    out: Path,
    minutes: float,
    progress: Progress,
    console: Console,
    start: Launch = launch,
) -> None:
    """Run what is to do, in order, until the minutes are spent."""
    whole = 60 * minutes - _GRACE
    end = time.monotonic() + whole
    for task in tasks:
        if progress.status(task) in ("done", "failed"):
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


def closing_table(tasks: Sequence[Task], progress: Progress, record: dict[str, Any]) -> Table:
    """Every task: where it stands, its minutes, and its figure."""
    table = Table(title="so far")
    for heading in ("task", "status", "minutes", "figure"):
        table.add_column(heading, justify="right" if heading == "minutes" else "left")
    for task in tasks:
        spent = progress.tasks.get(task.name, {}).get("seconds")
        minutes = "" if spent is None else f"{spent / 60:.1f}"
        table.add_row(task.name, progress.status(task), minutes, _figure(task, record))
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


def speedrun(
    out: Path,
    toy: bool,
    presets: tuple[str, ...] | None,
    data: Path | None,
    sudoku: Path | None,
    steps: int | None,
    train: str,
) -> Speedrun:
    """The speedrun asked for, or a toy. UsageError without puzzles to train on."""
    more = tuple(shlex.split(train))
    if steps is not None:  # the speed recipes average over the last three eighths
        more = ("--steps", str(steps), "--ema.start", str(steps * 5 // 8), *more)
    if toy:
        make = ("sudoku", "--size", "4", "--train", "48", "--test", "20")
        small = ("--steps", "20", "--evaluate-every", "10", "--checkpoint-every", "10", *more)
        names = presets or ("trm-mlp-speed-mini", "attractor-speed-mini")
        return Speedrun(names, out / "data", make, small, 4, 2, 8)
    names = presets or ("trm-mlp-speed-7m", "attractor-speed-7m")
    more = ("--compile", "--evaluate-every", "500", "--checkpoint-every", "500", *more)
    if data is not None:
        return Speedrun(names, data, None, more, 64, 16, 512)
    if sudoku is None:
        raise UsageError("give the speedrun's puzzles: --data DIR, or --sudoku DIR to import them")
    lists = sudoku / "sudoku-lists"
    hard = [str(lists / f"{name}.csv.gz") for name in ("forum_hardest_1905_11plus", "top1465")]
    make = ("import", str(sudoku / "sudoku-extreme-1k" / "train1k.csv"), "--test", "5000")
    make += ("--test-hard", *hard, "--test-seventeen", str(lists / "17_clue.csv.gz"))
    return Speedrun(names, out / "data", make, more, 64, 16, 512)


def gpu_run(
    out: Path = Path("runs/gpu"),
    minutes: float = 9.0,
    toy: bool = False,
    parts: tuple[Part, ...] = PARTS,
    presets: tuple[str, ...] | None = None,
    data: Path | None = None,
    sudoku: Path | None = None,
    steps: int | None = None,
    train: str = "",
    retry: bool = False,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Run the next chunk; exit code 3 while something is left to do, 1 if something failed.

    Args:
        out: folder for everything; the next chunk goes on from it.
        minutes: of this chunk, all in all.
        toy: all of it at toy size.
        parts: what to do.
        presets: what the speedrun trains; none: trm-mlp-speed and attractor-speed.
        data: data folder of the speedrun.
        sudoku: folder with sudoku-extreme-1k/ and sudoku-lists/ to import it from, without --data.
        steps: optimiser steps of the speedrun; none: the presets' own.
        train: further options of its training, as one text: --train="--model.cycles 3".
        retry: try again what failed.
        device: where to run; auto: the best present.
    """
    if 60 * minutes <= 2 * _GRACE:
        raise UsageError(f"--minutes: a chunk needs more than {2 * _GRACE / 60:g} (got {minutes})")
    where = choose_device(device).type
    tasks: list[Task] = []
    if "correctness" in parts:
        tasks += correctness(out, where, toy)
    if "bench" in parts:
        tasks += benches(out, where, toy)
    if "speedrun" in parts:
        tasks += speedruns(out, where, speedrun(out, toy, presets, data, sudoku, steps, train))
    out.mkdir(parents=True, exist_ok=True)
    progress = Progress(out)
    if retry:
        progress.forget_failures()
    console = Console(width=max(110, Console().width))
    run_chunk(tasks, out, minutes, progress, console)
    finish(tasks, out, progress, console)


def finish(tasks: Sequence[Task], out: Path, progress: Progress, console: Console) -> None:
    """Write the results, print the table; SystemExit unless everything is done."""
    console.print(closing_table(tasks, progress, gather(tasks, out, progress)))
    states = {progress.status(task) for task in tasks}
    if "failed" in states:
        console.print(f"failed tasks have logs in {out}; --retry tries them again")
    if states & {"to do", "stopped"}:
        console.print("the same command goes on from here")
        raise SystemExit(3)
    if "failed" in states:
        raise SystemExit(1)
    console.print(f"all done; everything measured is in {out / 'results.json'}")


def main(words: Sequence[str]) -> int:
    parse(gpu_run, words, "scripts/gpu_run")()
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded(main, sys.argv[1:]))
