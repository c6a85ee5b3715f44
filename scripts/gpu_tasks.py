"""What `scripts/gpu_run` does, as tasks: commands, the time each needs, what each leaves."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from puzzles.dataset import RECORD_FILE

_MAZE = "maze-"  # what the names of all that is done on mazes begin with
_TOY = ("--steps", "20", "--evaluate-every", "10", "--checkpoint-every", "10")
_LEAVE = 0.01  # residual at which a start leaves: above what bf16 states reach (0.005 to 0.008)


@dataclass(frozen=True)
class Task:
    """One command. least: minutes a chunk must have left for it to start; run: the folder of a
    training run, which is resumed where it was stopped; keep: a file it writes, and where to copy
    it before another task writes it again; made: a file that is there once all is done."""

    name: str
    module: str
    words: tuple[str, ...]
    least: float = 0.5
    run: Path | None = None
    keep: tuple[Path, Path] | None = None
    made: Path | None = None

    def command(self) -> tuple[str, ...]:
        """The words to run now: a run that was begun is resumed."""
        if self.run is None or not (self.run / "config.json").exists():
            return self.words
        return (self.words[0], "--resume", str(self.run))


@dataclass(frozen=True)
class Speedrun:
    """What is trained, on what, and how it is searched: puzzles of the search, 0 for none.

    label: what the names of its tasks, runs and weights begin with.
    """

    presets: tuple[str, ...]
    data: Path
    make_data: tuple[str, ...] | None
    train: tuple[str, ...]
    segments: int
    breadth: int
    puzzles: int
    label: str = ""


def correctness(out: Path, device: str, toy: bool) -> list[Task]:
    """The device against the CPU."""
    small = ("--no-full", "--no-compiled") if toy else ()
    words = ("--json", str(out / "checks.json"), "--device", device, *small)
    return [Task("correctness", "scripts.device_checks", words)]


def benches(out: Path, device: str, toy: bool) -> list[Task]:
    """The bench, cut in tasks of minutes."""
    cuts: dict[str, str] = {
        "published-7m": "--parts training --precisions bf16 --micro-batch 256 "
        "--presets trm-7m trm-mlp-speed-7m attractor-7m attractor-speed-7m",
        "published-27m": "--parts training --precisions bf16 --micro-batch 192 "
        "--presets trm-27m attractor-27m",
        "solver": "--parts published solver shares --presets attractor-7m",
        "transformer": "--parts language --precisions bf16 --lm-presets transformer-140m",
        "attractor": "--parts language --precisions bf16 --modes compiled "
        "--lm-presets attractor-140m",
        "parcae": "--parts language --precisions bf16 --modes compiled --lm-presets parcae-140m",
        "memory": "--parts memory scaling --presets trm-7m attractor-7m",
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
        made = plan.data / RECORD_FILE  # a data folder is put in place whole
        tasks.append(Task(f"{plan.label}data", "scripts.cli", words, made=made))
    for preset in plan.presets:
        name = f"{plan.label}{preset}"
        run = out / name
        train = ("train", "--preset", preset, "--data", str(plan.data), "--out", str(run))
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
            if what == "search" and not plan.puzzles:
                continue
            keep = (written, out / f"{what}-{name}.json") if kept else None
            tasks.append(Task(f"{what} {name}", "scripts.cli", words, least, keep=keep))
    return tasks


def sudoku_plan(
    out: Path,
    toy: bool,
    presets: tuple[str, ...] | None,
    data: Path | None,
    sudoku: Path | None,
    steps: int | None,
    train: str,
) -> Speedrun:
    """The speedrun asked for, or a toy. Without puzzles its data are not there, nor made."""
    more = _training(steps, train)
    if toy:
        make = ("sudoku", "--size", "4", "--train", "48", "--test", "20")
        names = presets or ("trm-mlp-speed-mini", "attractor-speed-mini")
        return Speedrun(names, out / "data", make, (*_TOY, *more), 4, 2, 8)
    names = presets or ("trm-mlp-speed-7m", "attractor-speed-7m")
    # All 768 slots at once keep 91 GiB for an eager backward pass, which a metered step makes: one
    # in fifty.
    more = ("--compile", "--micro-batch", "256", "--log-every", "50", *more)
    more = ("--evaluate-every", "500", "--checkpoint-every", "500", *more)
    if data is not None or sudoku is None:
        return Speedrun(names, data or out / "data", None, more, 64, 16, 512)
    lists = sudoku / "sudoku-lists"
    hard = [str(lists / f"{name}.csv.gz") for name in ("forum_hardest_1905_11plus", "top1465")]
    make = ("import", str(sudoku / "sudoku-extreme-1k" / "train1k.csv"), "--test", "5000")
    make += ("--test-hard", *hard, "--test-seventeen", str(lists / "17_clue.csv.gz"))
    return Speedrun(names, out / "data", make, more, 64, 16, 512)


def maze_plan(out: Path, toy: bool, maze: Path | None, steps: int | None, train: str) -> Speedrun:
    """The speed recipe on mazes, not searched: 64 segments of 16 starts would outlast a chunk.
    A toy's are generated unless there are some to import; without any else, none are made."""
    more = _training(steps, train)
    folder = out / f"{_MAZE}data"
    make = None if maze is None else ("import", str(maze))
    if toy:
        make = make or ("maze", "--kind", "unique", "--size", "7", "--train", "24", "--test", "8")
        return Speedrun(("attractor-speed-mini",), folder, make, (*_TOY, *more), 0, 0, 0, _MAZE)
    # A step is 768 grids of 900 cells: seconds of work, and too much memory all at once. A stop
    # waits for a log line or a held-out evaluation: neither may take the 30 seconds it is given.
    # (Nor closer lines: the first step after each is metered, which runs it uncompiled.)
    ours = ("--compile", "--micro-batch", "96", "--log-every", "5", "--evaluate-every", "500")
    ours += ("--evaluate-puzzles", "256", "--checkpoint-every", "100")
    return Speedrun(("attractor-speed-7m",), folder, make, (*ours, *more), 0, 0, 0, _MAZE)


def _training(steps: int | None, train: str) -> tuple[str, ...]:
    """Options of a training: its steps, and further ones as one text."""
    more = tuple(shlex.split(train))
    if steps is None:
        return more
    # The speed recipes average over the last three eighths.
    return ("--steps", str(steps), "--ema.start", str(steps * 5 // 8), *more)
