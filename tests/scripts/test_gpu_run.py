"""`scripts/gpu_run` at toy size: chunks that resume, what is kept, device checks, wheels."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from puzzles.dataset import read_split
from puzzles.maze.rules import format_grid
from scripts import (
    bench,
    cli,
    data,
    device_checks,
    evaluate,
    gpu_process,
    gpu_run,
    pretrained,
    train,
    usage,
    wheels,
)
from scripts.device_checks import Check, difference
from scripts.gpu_run import Progress, Task, benches, correctness, run_chunk, speedruns
from scripts.gpu_tasks import Speedrun, maze_plan, sudoku_plan

ROOT = Path(__file__).parent.parent.parent
QUIET = Console(quiet=True)
MODULES = {"scripts.cli": cli.main, "scripts.device_checks": device_checks.main}


def here(module, words, seconds, log):
    """Start a task in this process: quicker than one of its own."""
    return MODULES[module](list(words))


def interrupted_once_it_logs(module, words, seconds, log):
    """The same, a training interrupted as soon as it has written a line."""
    if words[0] == "train" and "--resume" not in words:
        lines = Path(words[words.index("--out") + 1]) / "metrics.jsonl"

        def interrupt():
            while not (lines.exists() and lines.stat().st_size):
                time.sleep(1e-3)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=interrupt, daemon=True).start()
    return here(module, words, seconds, log)


def published(folder, puzzles):
    """A puzzle set's two splits as CSVs, as Maze-Hard is published; the folder."""
    folder.mkdir()
    for split in ("train", "test"):
        part = read_split(puzzles, split)
        pairs = zip(part.inputs, part.labels, strict=True)
        lines = [f"{format_grid(question)},{format_grid(answer)}" for question, answer in pairs]
        (folder / f"{split}.csv").write_text("\n".join(["question,answer", *lines]) + "\n")
    return folder


def test_everything_at_toy_size_through_interrupts(tmp_path, mazes, capsys):
    out = tmp_path / "gpu"
    out.mkdir()
    make = ("sudoku", "--size", "4", "--train", "48", "--test", "12")
    few = ("--supervision.segments", "8", "--evaluate-puzzles", "4")
    train = ("--steps", "40", "--evaluate-every", "20", "--checkpoint-every", "20", *few)
    plan = Speedrun(("trm-mlp-speed-mini",), out / "data", make, train, 4, 2, 4)
    shared = published(tmp_path / "maze-hard", mazes)
    maze = maze_plan(out, True, shared, None, " ".join(few))
    sudoku_tasks, maze_tasks = speedruns(out, "cpu", plan), speedruns(out, "cpu", maze)
    tasks = [benches(out, "cpu", toy=True)[1], *sudoku_tasks, *maze_tasks]
    run_chunk(tasks, out, 9, Progress(out), QUIET, interrupted_once_it_logs)
    first = Progress(out)
    assert statuses(first, tasks) == ["done", "done", "stopped", *["to do"] * 7]
    with pytest.raises(SystemExit) as left:
        gpu_run.finish(tasks, out, first, QUIET)
    assert left.value.code == 3

    run_chunk(tasks, out, 9, Progress(out), QUIET, interrupted_once_it_logs)
    assert statuses(Progress(out), maze_tasks) == ["done", "stopped", "to do", "to do"]
    run_chunk(tasks, out, 9, Progress(out), QUIET, here)
    last = Progress(out)
    assert set(statuses(last, tasks)) == {"done"}
    gpu_run.finish(tasks, out, last, Console(width=140))
    said = capsys.readouterr().out
    assert "all done" in said
    assert "step 40" in said
    record = json.loads((out / "results.json").read_text())
    points = record["curves"]["trm-mlp-speed-mini"]
    assert [p["step"] for p in points] == [20, 40]
    assert 0 < points[0]["flops"] < points[1]["flops"]
    assert points[1]["minutes"] > points[1]["training_minutes"] > points[0]["training_minutes"] > 0
    # The same command wrote both to one place.
    found = [record[f"{what}-trm-mlp-speed-mini"] for what in ("evaluate", "search")]
    assert [f["segments"] for f in found] == [8, 4]
    assert [f["search"]["breadth"] for f in found] == [1, 2]
    assert [f["metrics"]["exact"]["n"] for f in found] == [12, 4]
    assert [p["step"] for p in record["curves"]["maze-attractor-speed-mini"]] == [10, 20]
    assert record["evaluate-maze-attractor-speed-mini"]["metrics"]["exact"]["n"] == 12
    # The imported rows are those that were published.
    imported = read_split(out / "maze-data", "train")
    assert (imported.labels == read_split(mazes, "train").labels).all()
    for name, file in (
        ("trm-mlp-speed-mini", "sudoku-4"),
        ("maze-attractor-speed-mini", "maze-7"),
    ):
        weights = load_file(out / "weights" / name / f"{file}.safetensors")
        assert {value.dtype for value in weights.values()} == {torch.bfloat16}


def test_without_options_the_parts_that_need_puzzles_are_left_out(tmp_path, monkeypatch, capsys):
    started = []

    def nothing(tasks, out, minutes, progress, console):
        for task in tasks:
            started.append(task.name)
            progress.note(task, "done", 60.0, 0)

    monkeypatch.setattr(gpu_run, "run_chunk", nothing)
    monkeypatch.setenv("COLUMNS", "140")
    assert gpu_run.main(["--out", str(tmp_path / "g")]) == 0
    assert started[0] == "correctness"
    assert len(started) > 5
    assert all(name.startswith("bench-") for name in started[1:])
    *table, done, speedrun, maze = capsys.readouterr().out.strip().splitlines()
    rows = ["trm-mlp-speed-7m", "attractor-speed-7m", "maze-attractor-speed-7m"]
    for name in rows:
        [row] = [line for line in table if f" train {name} " in line]
        assert "not run" in row
    assert "not run" not in next(line for line in table if "correctness" in line)
    assert done.startswith("all done")
    assert speedrun.startswith("left out: the speedrun")
    assert "--sudoku DIR" in speedrun
    assert maze.startswith("left out: the maze")
    assert "--maze DIR" in maze


def test_the_device_checks_pass_here_and_are_told(tmp_path):
    out = tmp_path
    [task] = correctness(out, "cpu", toy=True)
    run_chunk([task], out, 9, Progress(out), QUIET, here)
    assert Progress(out).status(task) == "done"
    record = gpu_run.gather([task], out, Progress(out))
    names = [check["name"] for check in record["checks"]["checks"]]
    for part in ("Anderson + Adjoint", "Picard + Unrolled", "bf16", "gradients, fp32", "(text)"):
        assert any(part in name for name in names), part


def test_a_difference_is_found_and_fails():
    a, b = torch.randn(50), torch.randn(3, 3)
    assert difference([a, b], [a, b]) == 0
    assert difference([1.01 * a, 1.01 * b], [a, b]) == pytest.approx(0.01, rel=1e-4)
    assert not Check("", difference([1.01 * a], [a]), 1e-4).passed
    assert not Check("", float("nan"), 1.0).passed


def test_a_wrong_gradient_ends_the_checks_with_1(tmp_path, monkeypatch):
    honest = device_checks._implicit
    calls = []

    def wrong_first(*given):
        calls.append(given)
        numbers = honest(*given)
        return [1.001 * n for n in numbers] if len(calls) == 1 else numbers

    monkeypatch.setattr(device_checks, "_implicit", wrong_first)
    monkeypatch.setattr(device_checks, "model_checks", lambda *given: iter(()))
    with pytest.raises(SystemExit) as left:
        device_checks.main(["--device", "cpu", "--json", str(tmp_path / "c.json")])
    assert left.value.code == 1
    record = json.loads((tmp_path / "c.json").read_text())["checks"]
    assert [check["passed"] for check in record] == [False] + [True] * (len(record) - 1)


class Script:
    """A start that answers from a script, and the clock it runs by."""

    def __init__(self, monkeypatch, *answers):
        self.now, self.started, self.answers = 0.0, [], list(answers)
        monkeypatch.setattr(gpu_run.time, "monotonic", lambda: self.now)

    def __call__(self, module, words, seconds, log):
        self.started.append(words[0])
        code, taken = self.answers.pop(0)
        self.now += min(taken, seconds)
        return code if taken < seconds else -signal.SIGTERM


def statuses(progress, tasks):
    return [progress.status(task) for task in tasks]


def test_a_chunk_ends_on_time_and_the_next_goes_on(tmp_path, monkeypatch):
    tasks = [Task(name, "m", (name,), least=2.0) for name in "abc"]
    script = Script(monkeypatch, (0, 200), (0, 9999), (0, 100), (0, 100))
    progress = Progress(tmp_path)
    run_chunk(tasks, tmp_path, 9, progress, QUIET, script)
    assert statuses(progress, tasks) == ["done", "stopped", "to do"]
    assert script.now == 9 * 60 - gpu_process.GRACE
    progress = Progress(tmp_path)  # from its file, as another chunk would
    run_chunk(tasks, tmp_path, 9, progress, QUIET, script)
    assert statuses(progress, tasks) == ["done"] * 3
    assert script.started == ["a", "b", "b", "c"]
    assert progress.tasks["b"]["seconds"] == pytest.approx(310 + 100)


def test_what_needs_more_time_than_is_left_waits(tmp_path, monkeypatch):
    tasks = [Task("a", "m", ("a",)), Task("b", "m", ("b",), least=5.0)]
    script = Script(monkeypatch, (0, 300))
    progress = Progress(tmp_path)
    run_chunk(tasks, tmp_path, 9, progress, QUIET, script)
    assert statuses(progress, tasks) == ["done", "to do"]


def test_failures_are_passed_over_until_asked_again(tmp_path, monkeypatch):
    tasks = [Task(name, "m", (name,)) for name in "ab"]
    script = Script(monkeypatch, (2, 10), (0, 9999), (0, 1), (0, 1))
    progress = Progress(tmp_path)
    run_chunk(tasks, tmp_path, 9, progress, QUIET, script)
    # b had nearly the whole chunk: another would be as short.
    assert statuses(progress, tasks) == ["failed", "failed"]
    with pytest.raises(SystemExit) as left:
        gpu_run.finish(tasks, tmp_path, progress, QUIET)
    assert left.value.code == 1
    run_chunk(tasks, tmp_path, 9, progress, QUIET, script)
    assert script.started == ["a", "b"]
    progress.forget_failures(tasks)
    run_chunk(tasks, tmp_path, 9, progress, QUIET, script)
    assert statuses(progress, tasks) == ["done", "done"]


def test_what_was_begun_with_other_words_is_refused(tmp_path, monkeypatch):
    run = tmp_path / "run"
    task = Task("train a", "m", ("train", "--steps", "5"), run=run)
    other = replace(task, words=("train", "--steps", "9"))
    progress = Progress(tmp_path)
    run.mkdir()
    (run / "config.json").write_text("{}")  # a training that failed before its first checkpoint
    run_chunk([task], tmp_path, 9, progress, QUIET, Script(monkeypatch, (2, 10)))
    progress = Progress(tmp_path)
    progress.check([task])
    with pytest.raises(usage.UsageError, match=r"begun with other options .*--steps 5"):
        progress.check([other])
    progress.forget_failures([other])
    progress.check([other])  # nothing of the failed one is left to go on from
    assert not run.exists()
    assert other.command() == other.words


def test_data_that_an_interrupted_chunk_had_made_are_done(tmp_path, monkeypatch):
    plan = Speedrun(("trm-mini",), tmp_path / "data", ("sudoku",), (), 4, 2, 0)
    tasks = speedruns(tmp_path, "cpu", plan)
    plan.data.mkdir()
    (plan.data / "loopbench.json").write_text("{}")
    script = Script(monkeypatch, (0, 1), (0, 1), (0, 1))
    monkeypatch.setattr(gpu_run.shutil, "copy", lambda *paths: None)
    progress = Progress(tmp_path)
    run_chunk(tasks, tmp_path, 9, progress, QUIET, script)
    assert statuses(progress, tasks) == ["done"] * 4
    assert script.started == ["train", "evaluate", "package"]


def test_what_leaves_the_machine_is_a_few_flat_files(tmp_path):
    out, to = tmp_path / "out", tmp_path / "there"
    for name in ("results.json", "train-a.log", "a/config.json", "a/metrics.jsonl", "a/x/big.pt"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(name)
    for name in ("sudoku-4.safetensors", "sudoku-4.md"):
        (out / "weights" / "a").mkdir(parents=True, exist_ok=True)
        (out / "weights" / "a" / name).write_text(name)
    gpu_run.copy_results(out, to)
    weights = {"a-sudoku-4.safetensors", "a-sudoku-4.md"}
    assert {path.name for path in to.iterdir()} == {"results.json", "logs.tar.gz", *weights}
    with tarfile.open(to / "logs.tar.gz") as tar:
        found = set(tar.getnames())
    assert found == {"results.json", "train-a.log", "a/config.json", "a/metrics.jsonl"}


CHUNK = """
import sys
from scripts import gpu_run
gpu_run.correctness = lambda out, device, toy: [gpu_run.Task("a", "stubborn", ())]
sys.exit(gpu_run.run_guarded(gpu_run.main, sys.argv[1:]))
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_chunk_that_is_ended_leaves_no_task_that_another_would_repeat(tmp_path, how):
    (tmp_path / "stubborn.py").write_text(STUBBORN.format(handler="lambda *_: sys.exit(130)"))
    out = tmp_path / "out"
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{tmp_path}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHUNK, "--parts", "correctness", "--device", "cpu"]
    chunks = []

    def begin():
        words = [*command, "--out", str(out)]
        options = {"env": environment, "stderr": subprocess.PIPE, "start_new_session": True}
        chunks.append(subprocess.Popen(words, text=True, **options))
        return chunks[-1]

    def wait_for_task(number):
        log = out / "a.log"
        while not (log.exists() and log.read_text() == number * "ready\n"):
            assert chunks[-1].poll() is None
            time.sleep(0.05)

    try:
        first = begin()
        wait_for_task(1)
        first.send_signal(how)
        first.communicate()
        second = begin()
        if how == signal.SIGTERM:  # the task ended with its chunk: it is begun again
            wait_for_task(2)
        else:  # the task is still at work
            assert "is at work there" in second.communicate()[1]
            assert second.returncode == 2
    finally:
        for chunk in chunks:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(chunk.pid, signal.SIGKILL)


STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, {handler})
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("handler", "code"),
    [("lambda *_: sys.exit(130)", 130), ("signal.SIG_IGN", -signal.SIGKILL)],
)
def test_a_task_past_its_time_is_asked_then_made_to_stop(tmp_path, monkeypatch, handler, code):
    (tmp_path / "stubborn.py").write_text(STUBBORN.format(handler=handler))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(gpu_process, "GRACE", 1.0)
    assert gpu_process.launch("stubborn", (), 2.0, tmp_path / "log") == code
    assert (tmp_path / "log").read_text() == "ready\n"


def test_wheels_are_installed_only_where_missing_or_older(tmp_path):
    there = tmp_path / "pytest-1.0-py3-none-any.whl"
    newer = tmp_path / "pytest-1000.0-py3-none-any.whl"
    absent = tmp_path / "no_such_package-1.0-py3-none-any.whl"
    assert wheels.missing([there, newer, absent]) == [newer, absent]
    ordered = ("1", "1.0.1", "1.2", "1.10", "2.13.0+cpu", "10.0")
    assert sorted(map(wheels.release, ordered[::-1])) == list(map(wheels.release, ordered))
    assert wheels.release("1.0.0") == wheels.release("1.0") == (1,)
    found = wheels.needed(wheels.declared())
    assert {"pydantic", "pydantic-core", "tyro", "safetensors"} <= set(found)
    assert not set(found) & set(wheels.PRESENT)
    assert wheels.package("Typing_Extensions>=4; python_version < '4'") == "typing-extensions"


def test_a_machine_without_wheels_is_told_what_it_lacks(monkeypatch, capsys):
    monkeypatch.setattr(wheels, "is_here", lambda name: name not in ("pydantic", "tyro"))
    monkeypatch.setattr(wheels, "WHEELS", Path("/nowhere"))
    assert wheels.install() == 2
    said = capsys.readouterr().err
    assert "lacks pydantic, tyro" in said
    assert "prepare" in said


def test_the_commands_for_the_gpu_are_understood(tmp_path, sudokus, mazes):
    """None is run: what a GPU's minutes go to must not end in a misspelt option."""
    out = tmp_path / "gpu"
    plan = sudoku_plan(out, False, None, sudokus, None, 5, "--model.cycles 3")
    assert plan.presets == ("trm-mlp-speed-7m", "attractor-speed-7m")
    plan = replace(plan, presets=("trm-mlp-speed-7m",))
    maze = replace(maze_plan(out, False, tmp_path, 5, ""), data=mazes)
    runs = (*speedruns(out, "cuda", plan), *speedruns(out, "cuda", maze))
    forms = {"bench": bench.bench, "evaluate": evaluate.evaluate, "package": pretrained.package}
    models = []
    for task in (*benches(out, "cuda", False), *runs):
        command, *words = task.words
        if command == "train":
            config = train.read_words(words).config
            assert (config.compile, config.steps, config.ema.start) == (True, 5, 3)
            models.append(config.model)
        elif command == "data":
            usage.parse(data.COMMANDS[words[0]], words[1:], "")
        else:
            usage.parse(forms[command], words, "")
    assert models[0].cycles == 3
    assert (models[1].kind, models[1].mixer) == ("attractor", "attention")  # of 900 cells
    for task in correctness(out, "cuda", False):
        usage.parse(device_checks.check, task.words, "")
    shared = sudoku_plan(out, False, None, None, tmp_path, None, "")
    usage.parse(data.COMMANDS["import"], [*shared.make_data[1:], "--out", str(out)], "")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--minutes", "0.5"], "--minutes"),
        (["--parts", "speedrun"], "--data"),
        (["--presets", "trm-7m"], "--presets: the speedrun needs puzzles too, --data"),
        (["--maze-train", "x"], "--maze-train: the maze needs puzzles too, --maze DIR"),
        (["--maze", "/nowhere/at/all"], "/nowhere/at/all"),
        (["--toyy"], "--toy"),
    ],
)
def test_refusals(words, part, tmp_path, capsys):
    assert cli.run_guarded(gpu_run.main, [*words, "--out", str(tmp_path / "o")]) == 2
    assert part in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_the_script_is_sound_shell_and_executable():
    path = ROOT / "scripts" / "gpu_run"
    assert path.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(path)], check=True)
    said = subprocess.run(
        [path, "--help"],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--toy" in said.stdout
