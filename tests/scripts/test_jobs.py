"""Runs of a study, one at a time and side by side: equal to the byte, and each on its own feet."""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from rich.console import Console

from puzzles.dataset import read_split
from reasoning.training.distribution import World
from scripts.cli import main
from scripts.models.lm_presets import language_preset
from scripts.models.presets import preset
from scripts.studies import jobs as module
from scripts.studies import lanes as lanes_module
from scripts.studies.jobs import Job, run_jobs
from scripts.studies.lanes import Lanes, choose_lanes
from scripts.studies.plan import lanes_of
from scripts.terminal.memory import available_memory
from scripts.usage import UsageError

ALONE = World(0, 1, torch.device("cpu"))
ONE, TWO = Lanes(1, True), Lanes(2, True)
HERE = Path(__file__).parent


@pytest.fixture
def standins(monkeypatch):
    """A module that a run's process finds too."""
    monkeypatch.syspath_prepend(HERE)
    import job_standins

    return job_standins


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def done(works, tmp_path, lanes):
    """How the works ended, by place, and what was said."""
    said = io.StringIO()
    jobs = [Job(tmp_path / f"run{i}", work) for i, work in enumerate(works)]
    console = Console(file=said, width=200)
    ended = {e.place: e for e in run_jobs(jobs, lanes, ALONE, console, lambda progress: {})}
    return ended, said.getvalue()


def files(out: Path) -> dict[str, bytes]:
    """The runs' logs and weights."""
    names = ("metrics.jsonl", "weights.safetensors", "ema.safetensors")
    found = [path for name in names for path in out.rglob(name)]
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


def test_runs_side_by_side_equal_those_one_at_a_time_to_the_byte(sudokus, tmp_path, two_threads):
    outs = tmp_path / "one", tmp_path / "two"
    words = ["compare", "--presets", "attractor-mini,transformer-mini", "--data", str(sudokus)]
    words += ["--seeds", "1", "--device", "cpu", "--steps", "4"]
    for out, jobs in zip(outs, "12", strict=True):
        assert main([*words, "--out", str(out), "--jobs", jobs]) == 0
    assert torch.get_num_threads() == 2
    one, two = map(files, outs)
    assert len(one) == 2 * 3
    assert one == two
    groups = [json.loads((out / "comparison.json").read_text()) for out in outs]
    assert list(groups[0]) == list(groups[1]) == ["attractor-mini", "transformer-mini"]
    for first, second in zip(*(g.values() for g in groups), strict=True):
        assert first["metrics"] == second["metrics"]
        assert "training_flops" in first
    for out, beside in zip(outs, (1, 2), strict=True):
        for run in out.glob("*seed0"):
            assert json.loads((run / "environment.json").read_text())["cpu_threads"] == 1
            assert json.loads((run / "config.json").read_text())["runs_beside"] == beside
    # The same command, with a seed more: what is finished stays, what is new is trained.
    assert main([*words, "--seeds", "2", "--out", str(outs[1]), "--jobs", "2"]) == 0
    more = files(outs[1])
    assert len(more) == 4 * 3
    assert {name: more[name] for name in two} == two


@pytest.mark.parametrize("lanes", [ONE, TWO], ids=["one", "two"])
def test_a_failed_run_does_not_take_the_others_along(lanes, standins, tmp_path):
    works = [standins.diverges, partial(standins.ends, "b"), standins.asks_too_much]
    ended, said = done([*works, partial(standins.ends, "d")], tmp_path, lanes)
    assert ended[0].failure == "the loss is nan at step 3"
    assert ended[2].failure.startswith("out of memory: ")
    assert [ended[place].value[0] for place in (1, 3)] == ["b", "d"]
    threads, beside = zip(*(ended[place].value[2:] for place in (1, 3)), strict=True)
    assert (threads, beside) == ((1, 1), (lanes.at_once,) * 2)
    apart = {ended[place].value[1] for place in (1, 3)} - {os.getpid()}
    assert len(apart) == (0 if lanes is ONE else 2)
    lines = said.splitlines()
    assert f"{tmp_path}/run0: failed: the loss is nan at step 3" in lines
    assert {"begins b", "begins d"} <= set(lines)


def test_a_killed_run_is_one_line_with_the_remedy(standins, tmp_path):
    works = [standins.is_killed, standins.leaves, partial(standins.ends, "c")]
    ended, said = done(works, tmp_path, TWO)
    assert ended[2].value[0] == "c"
    for place, part in ((0, "was killed (SIGKILL), as out of memory"), (1, "exit code 7")):
        assert part in ended[place].failure
        assert "fewer --jobs" in ended[place].failure
        (line,) = [line for line in said.splitlines() if f"run{place}: failed" in line]
        assert line == f"{tmp_path}/run{place}: failed: {ended[place].failure}"


@pytest.mark.parametrize("lanes", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize(("work", "kind"), [("refuses", UsageError), ("breaks", KeyError)])
def test_another_error_is_raised_when_the_others_are_done(lanes, work, kind, standins, tmp_path):
    jobs = [Job(tmp_path / "a", getattr(standins, work))]
    jobs += [Job(tmp_path / name, partial(standins.ends, name)) for name in "bc"]
    ended, console = [], Console(file=io.StringIO())
    with pytest.raises(kind):
        ended.extend(run_jobs(jobs, lanes, ALONE, console, lambda progress: {}))
    assert sorted(one.value[0] for one in ended) == ["b", "c"]


def interrupt_when(ready, times=1):
    """Ctrl-C, as it reaches this process alone, when it is ready."""

    def press():
        while not ready():
            time.sleep(0.01)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)

    threading.Thread(target=press, daemon=True).start()


def test_one_interrupt_saves_every_run_and_begins_no_other(standins, tmp_path, capfd):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    works = [partial(standins.saves_when_told, folder) for folder in folders]
    before = signal.getsignal(signal.SIGINT)  # ignored, where a shell began the tests with an &
    interrupt_when(lambda: all((folder / "begun").exists() for folder in folders))
    with pytest.raises(KeyboardInterrupt):
        done([*works, partial(standins.ends, "c")], tmp_path, TWO)
    assert all((folder / "saved").exists() for folder in folders)
    assert capfd.readouterr().err.count("saving after this step") == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_whose_command_is_gone_is_saved(standins, tmp_path):
    code = f"""
import os, signal
from functools import partial
from pathlib import Path
from rich.console import Console
import job_standins
import torch
from reasoning.training.distribution import World
from scripts.studies.jobs import Job, run_jobs
from scripts.studies.lanes import Lanes
where = Path({str(tmp_path)!r})
jobs = [Job(where, partial(job_standins.saves_when_told, where))]
list(run_jobs(jobs, Lanes(2, True), World(0, 1, torch.device("cpu")), Console(), lambda p: {{}}))
"""
    paths = os.pathsep.join((str(HERE), str(HERE.parents[1])))
    command = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths}, text=True
    )
    try:
        wait_for(tmp_path / "begun")
    finally:
        command.kill()
        command.wait()
    wait_for(tmp_path / "saved")


def wait_for(path: Path) -> None:
    until = time.monotonic() + 300
    while not path.exists():
        assert time.monotonic() < until, path
        time.sleep(0.02)


def test_every_run_tells_how_far_it_is(standins, tmp_path, monkeypatch):
    monkeypatch.setattr("scripts.terminal.progress.FIRST", 0.0)
    monkeypatch.setattr("scripts.terminal.progress.EVERY", 0.0)
    said = io.StringIO()
    jobs = [Job(tmp_path / name, partial(standins.ends, name)) for name in "ab"]

    def newest(progress):
        return {} if progress.training is None else {"loss": str(progress.training["loss"])}

    list(run_jobs(jobs, TWO, ALONE, Console(file=said, width=200), newest))
    lines = said.getvalue().splitlines()
    for name in "ab":
        assert f"{name}: 2 of 2  loss 0.5" in lines
        assert f"{name}: puzzles: 1 of 2" in lines


def test_on_a_terminal_a_bar_that_said_something_leaves_a_line(tmp_path):
    said = io.StringIO()
    console = Console(file=said, width=120, force_terminal=True)
    with module.stage_progress(console=console) as show:
        show("a", 1, 2, "loss 0.50")
        show("b", 1, 2, "loss 0.70")
        show("a", 2, 2, "loss 0.25")
        show("rows", 2, 2)
    lines = [line.strip() for line in said.getvalue().splitlines()]
    assert any("a: 2 of 2  loss 0.25" in line for line in lines)


def test_runs_of_one_name_are_told_by_more_of_their_folders(tmp_path):
    folders = [tmp_path / task / "trm" / "trm-seed0" for task in ("sudoku", "maze")]
    assert module._names(folders) == ["sudoku/trm/trm-seed0", "maze/trm/trm-seed0"]
    assert module._names([tmp_path / "a", tmp_path / "x" / "b"]) == ["a", "b"]


def test_lanes_by_cores_memory_size_and_device(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    memory = [8 * 2**30]
    monkeypatch.setattr(lanes_module, "available_memory", lambda: memory[0])

    def lanes(asked, runs, small=True, world=ALONE):
        return choose_lanes(asked, runs, lambda: small, world)

    assert lanes(None, 9) == Lanes(4, True)
    assert lanes(None, 3) == Lanes(3, True)
    assert lanes(None, 1) == lanes(None, 9, small=False) == Lanes(1, False)
    assert lanes(6, 9, small=False) == Lanes(6, True)
    assert lanes(6, 2) == Lanes(2, True)
    assert lanes(1, 9) == Lanes(1, True)
    memory[0] = 4 * 2**30
    assert lanes(None, 9) == Lanes(2, True)
    memory[0] = 0
    assert lanes(None, 9) == Lanes(1, True)
    memory[0] = None
    assert lanes(None, 9) == Lanes(4, True)
    for world in (World(0, 1, torch.device("cuda")), World(0, 2, torch.device("cpu"))):
        assert lanes(None, 9, world=world) == lanes(1, 9, world=world) == Lanes(1, False)
        with pytest.raises(UsageError, match="to itself"):
            lanes(2, 9, world=world)
    with pytest.raises(UsageError, match="at least 1"):
        lanes(0, 9)


def test_the_small_scales_are_small_and_the_published_sizes_are_not(sudokus, tmp_path):
    train = read_split(sudokus, "train")
    for name, beside in (("attractor-cpu", True), ("attractor-1m", True), ("trm-7m", False)):
        runs = [(preset(name, "sudoku"), tmp_path, train)] * 2
        assert lanes_of(None, runs, ALONE).one_thread == beside


def test_memory_is_what_is_free_here_and_in_the_container(tmp_path):
    machine = tmp_path / "meminfo"
    machine.write_text("MemTotal:  900 kB\nMemFree:  1 kB\nMemAvailable:  600 kB\n")
    assert available_memory(machine, tmp_path) == 600 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert available_memory(machine, tmp_path) == 600 * 1024
    (tmp_path / "memory.max").write_text("5000\n")
    assert available_memory(machine, tmp_path) == 4000
    assert available_memory(tmp_path / "none", tmp_path / "none") is None


_MINE = """
from baselines import TRM

class Mine(TRM):
    pass
"""


def test_configurations_reach_another_process_whole(tmp_path, monkeypatch):
    (tmp_path / "of_my_own.py").write_text(_MINE)
    monkeypatch.syspath_prepend(tmp_path)
    configs = [preset("attractor-cpu", "sudoku"), language_preset("attractor-mini")]
    configs += [preset("of_my_own:Mine-mini", "sudoku")]
    for config in configs:
        config = config.model_copy(update={"seed": 3})
        again = pickle.loads(pickle.dumps(config))
        assert again == config
        assert type(again.model) is type(config.model)


def test_jobs_are_refused_where_nothing_is_trained(trained, tmp_path, capsys):
    assert main(["compare", str(trained), "--jobs", "2", "--out", str(tmp_path / "c")]) == 2
    assert "--jobs is for training" in capsys.readouterr().err
