"""`scripts/gpu_lease`: everything a GPU is for, in one command of minutes on a bare machine.

prepare gathers what has to travel (lease_folder), run does it there (lease_tasks) and leaves at
most eight files (lease_results), land takes those in (lease_land).

A run is a fixed order of tasks, each a process of its own that ends on time; what they measure is
in OUT within seconds, so that a run that is killed leaves what it had. A training is told its
deadline, and its schedule ends there (reasoning.training.deadline).
"""

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from scripts.gpu.gpu_process import Launch, alongside, launch
from scripts.gpu.lease_tasks import PARTS, TOY, Part, Recipe, Task, read_recipe, tasks, warming
from scripts.usage import UsageError, parse

ROOT = Path(__file__).parents[2]
FOLDER = Path("lease")
RECIPE = ROOT / "scripts" / "speedrun.toml"
LEAST, MOST = 2.0, 9.5  # minutes
LEAST_MEMORY = 40 * 2**30  # bytes: a third of the batch, eager, keeps 30 GiB


def prepare(
    sudoku: Path | None = None,
    maze: Path | None = None,
    folder: Path = FOLDER,
    held_out: int = 2000,
) -> None:
    """Gather what has to travel, and print the command to run there.

    Args:
        sudoku: folder with sudoku-extreme-1k/train1k.csv and sudoku-lists/.
        maze: folder with Maze-Hard (CSVs or HRM's arrays); none: maze-hard/ beside those, if it
            is there.
        folder: what travels; git ignores lease/.
        held_out: puzzles of the held-out mix.
    """
    if sudoku is None:
        raise UsageError(
            "--sudoku DIR: name the folder that holds sudoku-extreme-1k/ and sudoku-lists/"
        )
    for flag, given in (("--sudoku", sudoku), ("--maze", maze)):
        if given is not None and not given.is_dir():
            raise UsageError(f"{flag}: there is no folder {given}; check its name")
    if held_out < 1:
        raise UsageError(f"--held-out: must be at least 1 (got {held_out})")
    from scripts.gpu import lease_folder

    recipe = read_recipe(RECIPE)
    beside = sudoku / "maze-hard"
    mazes = maze or (beside if beside.is_dir() else None)
    parts = [lease_folder.wheels_part(), lease_folder.sudoku_part(sudoku, held_out)]
    if mazes is not None:
        parts.append(lease_folder.maze_part(mazes))
    parts_made = lease_folder.gather(folder, parts)
    print(f"made: {', '.join(parts_made)}" if parts_made else "nothing has changed")
    if mazes is None:
        print(f"left out: Maze-Hard, which is not in {sudoku}; --maze DIR brings it in")
    size = lease_folder.size_of(folder) / 2**20
    print(f"carry {folder} ({size:.1f} MiB of {lease_folder.MOST_BYTES / 2**20:g}), then run there")
    print('  scripts/gpu_lease run --minutes 9.5 --out "$OUT"')
    print("or, in two calls while the machine is held,")
    print('  scripts/gpu_lease run --minutes 3.5 --parts correctness rates --out "$OUT"')
    print('  scripts/gpu_lease run --minutes 8.5 --parts speedrun --out "$OUT"')
    print(f"the speedrun: {recipe.train}")


def run(
    minutes: float,
    out: Path,
    parts: tuple[Part, ...] = PARTS,
    toy: bool = False,
    device: Literal["cuda", "cpu"] = "cuda",
    recipe: Path = RECIPE,
    folder: Path = FOLDER,
) -> None:
    """Do everything within the minutes; exit code 1 if a check or a task failed.

    Args:
        minutes: all there are, from 2 to 9.5.
        out: folder for what comes back; empty, or not there yet.
        parts: what to do, always in this order.
        toy: all of it at toy size, on puzzles generated here.
        device: where to run; cpu is for --toy alone.
        recipe: what the speedrun trains, a TOML file.
        folder: what `prepare` made.
    """
    began = time.monotonic()
    if not LEAST <= minutes <= MOST:
        raise UsageError(f"--minutes: from {LEAST:g} to {MOST:g} (got {minutes:g})")
    if not parts:
        raise UsageError(f"--parts: name one or more of {', '.join(PARTS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out: {out} is not an empty folder; choose another")
    if device == "cpu" and not toy:
        raise UsageError("--device cpu: is for a rehearsal, with --toy")
    chosen = TOY if toy else read_recipe(recipe)
    manifest = {} if toy else check_folder(folder)
    check_card(device, 0 if toy else LEAST_MEMORY)
    if toy:  # the nets are tiny, so one thread is fastest
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    if manifest.get("commit"):
        # The copy there may have no git folder, or that of another commit.
        os.environ["LOOPBENCH_COMMIT"] = manifest["commit"]
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="loopbench-lease-") as place:
        work = Path(place)
        puzzles = work / "puzzles"
        if "speedrun" in parts:
            puzzles = toy_puzzles(work) if toy else _unpacked(folder, chosen, work)
            check_parameters(chosen, puzzles, work)
        planned = tasks(parts, minutes, work, device, toy, chosen, puzzles)
        record = begin(minutes, toy, chosen, manifest, planned)
        beside = warming(parts, device, toy)
        record["compiled_beforehand"] = beside is not None
        failed = work_through(planned, record, work, out, began, beside)
    if failed:
        print(f"not right: {', '.join(failed)}; see {out / 'summary.md'}", file=sys.stderr)
        raise SystemExit(1)


def check_folder(folder: Path) -> dict[str, Any]:
    """The manifest of the prepared folder, whole. UsageError otherwise."""
    if not folder.is_dir():
        raise UsageError(
            f"--folder: there is no {folder}; make it with scripts/gpu_lease prepare --sudoku DIR "
            "and carry it here"
        )
    from scripts.gpu import lease_folder

    return lease_folder.check(folder)


def check_card(device: str, least: int) -> None:
    """UsageError unless the device is there, with so many bytes of memory."""
    if device == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        raise UsageError("no CUDA device here: rehearse with --toy --device cpu")
    card = torch.cuda.get_device_properties(0)
    if card.total_memory < least:
        raise UsageError(
            f"{card.name}: has {card.total_memory / 2**30:.0f} GiB, and the published batches need "
            f"{least / 2**30:.0f}: take a larger card"
        )


def check_parameters(recipe: Recipe, puzzles: Path, work: Path) -> None:
    """UsageError if the recipe's words do not fit `loopbench train`, or its model is too large."""
    from puzzles.dataset import read_split
    from reasoning.nn.reasoner import parameter_count
    from scripts.models.grids import grid_shape
    from scripts.models.presets import build_model
    from scripts.runs.train_words import read_words

    [train] = [
        t
        for t in tasks(("speedrun",), MOST, work, "cpu", True, recipe, puzzles)
        if t.name == "train"
    ]
    config = read_words(train.command(60.0)[1:]).config
    count = parameter_count(build_model(config, grid_shape(read_split(puzzles, "train"))))
    if count > recipe.most_parameters:
        raise UsageError(
            f"the recipe ({recipe.train}) has {count:,} parameters, and its most_parameters is "
            f"{recipe.most_parameters:,}: choose a smaller model"
        )


def toy_puzzles(work: Path) -> Path:
    """A small 4x4 data folder."""
    from puzzles import sources
    from puzzles.dataset import write_dataset

    write_dataset(work / "puzzles", *sources.sudoku(4, train=48, test=20, seed=0))
    return work / "puzzles"


def _unpacked(folder: Path, recipe: Recipe, work: Path) -> Path:
    from scripts.gpu import lease_folder

    return lease_folder.unpack(folder, recipe.puzzles, work)


def begin(
    minutes: float, toy: bool, recipe: Recipe, manifest: dict[str, Any], planned: Sequence[Task]
) -> dict[str, Any]:
    """The record before anything was measured.

    minutes: all there are; toy: whether all is at toy size; recipe: what the speedrun trains;
    manifest: of the prepared folder, empty for a toy; planned: the tasks, in order.
    """
    from reasoning.training.runs import environment
    from scripts.gpu.lease_folder import code_digest
    from scripts.gpu.lease_results import FORMAT

    here = environment()
    changed = here["uncommitted_changes"]
    if manifest:
        changed = manifest["uncommitted_changes"] or manifest.get("code") != code_digest()
    return {
        "format": FORMAT,
        "toy": toy,
        "minutes": minutes,
        "command": ["scripts/gpu_lease", *sys.argv[1:]],
        "commit": here["commit"],
        "uncommitted_changes": changed,
        "environment": here,
        "recipe": recipe.model_dump(),
        "tasks": [
            {"name": t.name, "part": t.part, "status": "to do", "seconds": 0.0, "allowed": 0.0}
            for t in planned
        ],
    }


def work_through(
    planned: Sequence[Task],
    record: dict[str, Any],
    work: Path,
    out: Path,
    began: float,
    beside: tuple[str, Sequence[str]] | None = None,
    start: Launch = launch,
) -> list[str]:
    """Run every task until its end, and something beside the checks; returns what failed.

    planned: the tasks, in order; record: as `begin` makes it, a row for each task, kept up to date;
    work: folder where the tasks write; out: folder for what comes back; began: a reading of
    time.monotonic(), from which the ends of tasks count; beside: module and words of what runs
    until the first task that is no check, None: nothing; start: what runs a task.
    """
    from scripts.gpu import lease_results

    def publish() -> None:
        lease_results.publish(record, work, out)

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    log = out / "log.txt"
    try:
        with contextlib.ExitStack() as running:
            if beside is not None:
                running.enter_context(alongside(*beside, log))
            for task, row in zip(planned, record["tasks"], strict=True):
                if task.part != "correctness":
                    running.close()
                run_task(task, row, began, log, publish, start)
    finally:
        signal.signal(signal.SIGTERM, before)
        for row in record["tasks"]:
            if row["status"] == "running":
                row["status"] = "cut off"
        whole = lease_results.publish(record, work, out)
        print((out / "summary.md").read_text())
    lease_results.draw(whole, out / "curves.png")
    lease_results.outgoing(out)
    return [row["name"] for row in record["tasks"] if row["status"] == "failed"]


def run_task(
    task: Task,
    row: dict[str, Any],
    began: float,
    log: Path,
    publish: Callable[[], None],
    start: Launch,
) -> None:
    """Run one task until its end, its row of the record and OUT brought up to date.

    began: a reading of time.monotonic(), from which the task's end counts; log: the file that what
    it says is added to; publish: brings OUT up to date; start: what runs it.
    """
    begun = time.monotonic()
    left = began + task.end - begun
    row |= {"allowed": left}
    if left < task.least:
        row |= {"status": "no time left"}
        publish()
        return
    row |= {"status": "running"}
    publish()
    with log.open("a") as file:
        file.write(f"== {task.name}, {left:.0f} s\n")

    def watch() -> None:
        row["seconds"] = time.monotonic() - begun
        publish()

    code = start(task.module, task.command(left), began + task.end, task.grace, log, watch)
    taken = time.monotonic() - begun
    cut = code != 0 and taken >= left - task.grace
    status = "done" if code == 0 else "cut off" if cut else "failed"
    row |= {"status": status, "seconds": taken, "code": code}
    publish()


def land(
    results: Annotated[Path, tyro.conf.Positional],
    into: Path = ROOT,
) -> None:
    """Check a results folder, and take it into README.md, RESULTS.md and the weights that ship.

    Args:
        results: the folder that came back.
        into: checkout to write to; none: this one, and a rehearsal's results are refused.
    """
    if not results.is_dir():
        raise UsageError(f"there is no folder {results}; give the one that came back")
    from scripts.gpu.lease_land import take_in

    for line in take_in(results, into, rehearsal=into.resolve() != ROOT.resolve()):
        print(line)


COMMANDS: dict[str, Callable[..., None]] = {"prepare": prepare, "run": run, "land": land}


def main(words: Sequence[str]) -> int:
    if words and words[0] in COMMANDS:
        parse(COMMANDS[words[0]], words[1:], f"scripts/gpu_lease {words[0]}")()
        return 0
    if {"-h", "--help"} & set(words):
        print("scripts/gpu_lease prepare | run | land; each explains its options with --help")
        return 0
    raise UsageError("give scripts/gpu_lease one of " + ", ".join(COMMANDS))


def guarded(words: Sequence[str]) -> int:
    """`main`; what it refuses is one line and exit code 2, at once where no torch was needed."""
    try:
        return main(words)
    except UsageError as error:
        print(f"loopbench: {error}", file=sys.stderr)
        return 2
    except (ValueError, OSError, KeyboardInterrupt) as error:
        refused = error
    from scripts.terminal.guard import run_guarded

    def again(words: Sequence[str]) -> int:
        raise refused

    return run_guarded(again, words)


if __name__ == "__main__":
    sys.exit(guarded(sys.argv[1:]))
