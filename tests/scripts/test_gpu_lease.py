"""`scripts/gpu_lease` at toy size: a whole run, landing, times, what a kill leaves, refusals."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from scripts import cli
from scripts.gpu import (
    device_checks,
    device_processes,
    device_rates,
    gpu_lease,
    gpu_process,
    lease_finish,
    lease_land,
    lease_results,
)
from scripts.gpu.lease_tasks import PARTS, TOY, read_recipe, shares, tasks, warming
from scripts.runs.pretrained import read_card
from scripts.runs.train_words import read_words
from scripts.usage import UsageError, parse

ROOT = Path(__file__).parent.parent.parent
MODULES = {
    "scripts.cli": cli.main,
    "scripts.gpu.device_checks": device_checks.main,
    "scripts.gpu.device_processes": device_processes.main,
    "scripts.gpu.device_rates": device_rates.main,
    "scripts.gpu.lease_finish": lease_finish.main,
}


def here(module, words, end, grace, log, watch):
    """Run a task in this process, a training for two seconds: quicker than one of its own."""
    words = list(words)
    if "--for" in words:
        words[words.index("--for") + 1] = "2s"
    watch()
    try:
        return MODULES[module](words)
    except SystemExit as left:
        return left.code


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The folder of a whole run at toy size. Checks of models and processes, and rates, are left to
    other tests: an item of the rates stands for them, and one that finds no memory."""
    out = tmp_path_factory.mktemp("lease") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu_lease.work_through, "__defaults__", (None, here))
        patch.setitem(MODULES, "scripts.gpu.device_processes", lambda words: 0)
        patch.setattr(device_rates, "items", lambda sizes, device: [RATE, OUT_OF_MEMORY])
        patch.setattr(device_checks, "model_checks", lambda device, full: iter(()))
        with pytest.raises(SystemExit) as left:
            gpu_lease.main(["run", "--toy", "--device", "cpu", "--minutes", "3", "--out", str(out)])
    assert left.value.code == 1  # for an item of the rates failed
    return out


def no_memory():
    raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 91 GiB")


ROW = {"preset": "trm-7m", "mode": "compiled", "seconds_per_step": 0.5, "peak_bytes": 2**30}
ROW |= {"segments_per_second": 1536.0, "of_matmul_rate": 0.41}
RATE = device_rates.Item("trm-7m", "training", 0.0, lambda: [ROW])
OUT_OF_MEMORY = device_rates.Item("memory", "memory", 0.0, no_memory)


def test_what_comes_back_is_eight_flat_files_at_most_with_everything_in_them(results):
    names = {path.name for path in lease_results.outgoing(results)}
    weights = {"sudoku-4.safetensors", "sudoku-4.json"}
    assert names == {"results.json", "summary.md", "log.txt", "curves.png", *weights}
    record = json.loads((results / "results.json").read_text())
    states = {row["name"]: row["status"] for row in record["tasks"]}
    assert states.pop("rates") == "failed"
    assert set(states.values()) == {"done"}
    assert record["rates"]["failed"] == {
        "memory": "OutOfMemoryError: CUDA out of memory. Tried to allocate 91 GiB"
    }
    assert all(check["passed"] for check in record["checks"]["checks"])
    assert record["checks"]["complete"]
    steps = record["run"]["deadline"]["steps"]
    assert record["curve"][-1]["step"] == steps
    flops = [point["flops"] for point in record["curve"]]
    assert flops == sorted(flops)
    assert flops[0] > 0
    card = read_card(results / "sudoku-4.json")
    assert card.steps == steps
    assert record["finish"]["one pass"]["metrics"] == card.accuracy
    assert record["finish"]["deep"]["segments"] == TOY.depth
    assert {v.dtype for v in load_file(results / "sudoku-4.safetensors").values()} == {
        torch.bfloat16
    }
    said = (results / "summary.md").read_text()
    for part in ("| trm-7m: of the matmul rate | 0.41 | >= 0.4 | met |", "### The speedrun"):
        assert part in said
    assert "* FAILED: memory: OutOfMemoryError: CUDA out of memory" in said
    assert "not measured" in said


@pytest.fixture
def checkout(tmp_path):
    """What landing writes to."""
    for name in ("README.md", "RESULTS.md"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "reasoning" / "weights").mkdir(parents=True)
    return tmp_path


def landed(results, checkout, capsys):
    assert gpu_lease.main(["land", str(results), "--into", str(checkout)]) == 0
    texts = [(checkout / name).read_text() for name in ("README.md", "RESULTS.md")]
    return (*texts, capsys.readouterr().out)


def test_landing_writes_rows_and_weights_and_a_second_one_changes_nothing(
    results, checkout, capsys
):
    before = (checkout / "README.md").read_text().splitlines()
    readme, page, said = landed(results, checkout, capsys)
    new = [line for line in readme.splitlines() if line not in before]
    card = read_card(results / "sudoku-4.json")
    exact = card.accuracy["exact"]
    assert len(new) == 1
    cells = [cell.strip() for cell in new[0].strip("|").split("|")]
    assert cells[:3] == ["toy puzzles (ships)", "attractor-speed-mini", "one CPU"]
    assert cells[4].split()[0] == f"{100 * exact['mean']:.1f}"
    assert cells[6] == "20"
    assert [line for line in readme.splitlines() if line not in new] == before
    elsewhere, section = (ROOT / "RESULTS.md").read_text().rstrip(), "\n## Does it run on a GPU?\n"
    assert page.startswith(elsewhere.split(section)[0])
    assert page.count("## Does it run on a GPU?") == page.count("<!-- gpu rates -->") == 1
    assert "| trm-7m | compiled | 500.0 | 1,536 | 41.0 | 1.0 |" in page
    assert "weights: placed" in said
    weights = checkout / "reasoning" / "weights" / "sudoku-4.safetensors"
    assert weights.read_bytes() == (results / "sudoku-4.safetensors").read_bytes()
    assert landed(results, checkout, capsys)[:2] == (readme, page)


def changed(results, to, **parts):
    """A copy of a results folder with other parts of its record."""
    shutil.copytree(results, to)
    record = json.loads((to / "results.json").read_text())
    for name, value in parts.items():
        if value is None:
            del record[name]
        else:
            record[name] = value
    (to / "results.json").write_text(json.dumps(record))
    return to


def test_a_landing_replaces_only_the_parts_that_it_has(results, checkout, tmp_path, capsys):
    _, page, _ = landed(results, checkout, capsys)
    record = json.loads((results / "results.json").read_text())
    rows = [row for row in record["tasks"] if row["part"] == "rates"]
    rates = {"training": [ROW | {"of_matmul_rate": 0.5}]}
    parts = {"tasks": rows, "rates": rates, "checks": None, "finish": None, "curve": None}
    later = changed(results, tmp_path / "later", **parts)
    _, after, _ = landed(later, checkout, capsys)
    assert "| trm-7m | compiled | 500.0 | 1,536 | 50.0 | 1.0 |" in after
    for heading in ("### The device against the CPU", "### The speedrun"):
        body = [text.split(heading)[1].split("<!--")[0] for text in (page, after)]
        assert body[0] == body[1] != ""


@pytest.mark.parametrize(("shipped", "verdict"), [(0.0, "placed"), (1.0, "kept out")])
def test_weights_land_only_if_better_than_what_ships(
    results, checkout, tmp_path, capsys, shipped, verdict
):
    old = checkout / "reasoning" / "weights" / "sudoku-4.safetensors"
    old.write_bytes(b"before")
    found = json.loads((results / "results.json").read_text())["finish"]
    score = {"mean": shipped, "stderr": 0.0, "n": 20}
    found["one pass"]["metrics"]["exact"]["mean"] = 0.5
    found["shipped"] = {"metrics": {"exact": score}, "segments": 16}
    readme, _, said = landed(changed(results, tmp_path / "r", finish=found), checkout, capsys)
    assert f"weights: {verdict}, 50.0 ± " in said
    assert (old.read_bytes() == b"before") == (verdict == "kept out")
    assert ("toy puzzles (ships)" in readme) == (verdict == "placed")


def test_weights_that_no_longer_ship_lose_the_word(results):
    card = read_card(results / "sudoku-4.json").model_copy(update={"size": 9})
    readme = ROOT / "README.md"
    row = "| sudoku 6x6 (ships)"
    text = readme.read_text().replace(row, f"| sudoku 9x9, a mix (ships) | a |\n{row}")
    for preset in ("b", "c"):  # landed one after the other
        cells = ["Sudoku-Extreme's mix (ships)", preset]
        text = lease_land.with_row(text, cells, card, readme)
    rows = [line for line in text.splitlines() if line.startswith(("| sudoku 9x9", "| Sudoku-Ex"))]
    assert [line for line in rows if "ships" in line.split("|")[1]] == [
        "| Sudoku-Extreme's mix (ships) | c |"
    ]
    assert "| sudoku 9x9, a mix | a |" in rows
    assert "| sudoku 6x6 (ships) |" in text


def test_damaged_results_are_refused_and_nothing_is_written(results, checkout, tmp_path, capsys):
    cut = shutil.copytree(results, tmp_path / "cut")
    (cut / "sudoku-4.safetensors").write_bytes(b"short")
    many = shutil.copytree(results, tmp_path / "many")
    for i in range(5):
        (many / f"more-{i}").write_text("")
    old = changed(results, tmp_path / "old", format=0)
    none = shutil.copytree(results, tmp_path / "none")
    (none / "results.json").write_text('{"toy": ')
    files = {path: path.read_bytes() for path in checkout.glob("R*.md")}
    for folder, part in (
        (cut, "sudoku-4.safetensors: missing or not as it was packaged"),
        (many, "11 files"),
        (old, "has format 0"),
        (none, "not readable as results"),
    ):
        with pytest.raises(UsageError, match=part):
            gpu_lease.main(["land", str(folder), "--into", str(checkout)])
    with pytest.raises(UsageError, match="rehearsal at toy size"):
        gpu_lease.main(["land", str(results)])
    assert files == {path: path.read_bytes() for path in files}


def test_the_weights_that_ship_are_scored_on_the_same_puzzles(results, trained, sudokus, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lease_finish, "shipped", lambda: {"sudoku": [4]})
        ship = lease_finish.load_pretrained
        patch.setattr(lease_finish, "load_pretrained", lambda *given: ship(*given, results))
        words = [str(trained), "--data", str(sudokus), "--out", str(tmp_path), "--depth", "2"]
        assert lease_finish.main([*words, "--device", "cpu"]) == 0
    found = json.loads((tmp_path / "finish.json").read_text())
    card = read_card(results / "sudoku-4.json")  # of as many puzzles, drawn by the same seed
    assert found["shipped"]["metrics"] == card.accuracy
    assert found["shipped"]["preset"] == "attractor-speed-mini"
    assert found["one pass"]["metrics"] == read_card(tmp_path / "sudoku-4.json").accuracy


# ------------------------------------------------------------------------------------------ times


def test_shares_fill_the_time_and_leave_the_most_to_the_speedrun():
    whole = 9.5 * 60
    assert shares(PARTS, whole) == {"correctness": 60, "rates": 90, "speedrun": whole - 150}
    short = shares(PARTS, 120.0)
    assert short["speedrun"] >= max(short["rates"], short["correctness"])
    for parts in (
        PARTS,
        ("rates",),
        ("speedrun",),
        ("correctness", "rates"),
        ("rates", "speedrun"),
    ):
        assert sum(shares(parts, 300.0).values()) == pytest.approx(300)
        assert set(shares(parts, 300.0)) == set(parts)


def plan(minutes=9.5, parts=PARTS):
    return tasks(parts, minutes, Path("work"), "cuda", False, TOY, Path("puzzles"))


@pytest.mark.parametrize("minutes", [2.0, 3.5, 8.5, 9.5])
def test_tasks_follow_one_another_and_end_before_the_minutes_do(minutes):
    ends = [task.end for task in plan(minutes)]
    assert ends == sorted(ends)
    assert ends[0] > 0
    assert ends[-1] < 60 * minutes


class Script:
    """A launch that answers from a script, and the clock that it runs by."""

    def __init__(self, monkeypatch, *answers):
        self.now, self.started, self.answers = 100.0, [], list(answers)
        monkeypatch.setattr(gpu_lease.time, "monotonic", lambda: self.now)

    def __call__(self, module, words, end, grace, log, watch):
        self.started.append((module, words))
        taken, code = self.answers.pop(0)
        cut = self.now + taken >= end
        self.now = end - grace if cut else self.now + taken
        watch()
        return -signal.SIGTERM if cut else code


def record_of(planned):
    return gpu_lease.begin(9.5, True, TOY, {}, planned)


def test_a_task_that_ends_early_leaves_its_time_and_one_that_does_not_is_cut_off(
    monkeypatch, tmp_path
):
    planned = plan()
    script = Script(monkeypatch, (10, 0), (5, 1), (999, 0), (50, 0), (999, 0))
    record, out = record_of(planned), tmp_path / "out"
    out.mkdir()
    failed = gpu_lease.work_through(planned, record, tmp_path, out, 100.0, None, script)
    assert failed == ["processes"]
    states = [row["status"] for row in record["tasks"]]
    assert states == ["done", "failed", "cut off", "done", "cut off"]
    ends = {task.name: task.end for task in planned}
    assert record["tasks"][2]["allowed"] == pytest.approx(ends["rates"] - 15)
    train = script.started[3][1]
    seconds = float(train[train.index("--for") + 1].removesuffix("s"))
    # It has what is left of its share, less the start's and the end's.
    left = ends["train"] - (ends["rates"] - planned[2].grace)
    assert left - 20 < seconds < left - planned[3].grace


def test_what_has_no_time_left_is_not_begun_and_is_said(monkeypatch, tmp_path):
    planned = plan(parts=("rates", "speedrun"))
    out = tmp_path / "out"
    out.mkdir()
    record = record_of(planned)
    script = Script(monkeypatch, (1, 0))
    late = 100.0 - planned[1].end + 3
    gpu_lease.work_through(planned, record, tmp_path, out, late, None, script)
    assert [row["status"] for row in record["tasks"]] == ["no time left"] * 2 + ["done"]
    assert "| train | no time left |" in (out / "summary.md").read_text()


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
    monkeypatch.setattr(gpu_process, "_TICK", 0.1)
    seen = []
    end = time.monotonic() + 3.0
    log = tmp_path / "log"
    assert gpu_process.launch("stubborn", (), end, 1.0, log, lambda: seen.append(1)) == code
    assert log.read_text() == "ready\n"
    assert len(seen) > 3


FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def test_what_runs_alongside_ends_with_its_block_children_and_all(tmp_path, monkeypatch):
    (tmp_path / "family.py").write_text(FAMILY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    log = tmp_path / "log"
    with gpu_process.alongside("family", (), log):
        while not log.read_text().endswith("\n"):
            time.sleep(0.02)
        child = Path("/proc") / log.read_text().strip()
        assert child.exists()
    deadline = time.monotonic() + 10
    while child.exists() and "Z" not in (child / "stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_the_rates_measure_is_compiled_beside_the_checks_and_not_beside_the_rates(
    monkeypatch, tmp_path
):
    module, words = warming(PARTS, "cuda", False)
    given = parse(device_rates.measure, words, "")
    assert given.keywords["warm_up"]
    assert module == "scripts.gpu.device_rates"
    assert warming(("rates", "speedrun"), "cuda", False) is None
    assert warming(PARTS, "cpu", True) is None
    told = []

    @contextmanager
    def alongside(module, words, log):
        told.append("begun")
        yield
        told.append("ended")

    def start(module, words, end, grace, log, watch):
        told.append(module)
        return 0

    monkeypatch.setattr(gpu_lease, "alongside", alongside)
    planned, out = plan(parts=("correctness", "rates")), tmp_path / "out"
    out.mkdir()
    beside, now = (module, words), time.monotonic()
    gpu_lease.work_through(planned, record_of(planned), tmp_path, out, now, beside, start)
    checks = ["scripts.gpu.device_checks", "scripts.gpu.device_processes"]
    assert told == ["begun", *checks, "ended", "scripts.gpu.device_rates"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_kill_leaves_what_was_measured_readable(tmp_path, how):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "scripts.gpu.gpu_lease", "run", "--toy", "--device", "cpu"]
    command += ["--minutes", "2", "--parts", "correctness", "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    options = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **options, start_new_session=True)

    def checks():
        path = out / "results.json"
        found = json.loads(path.read_text()) if path.exists() else {}
        return found.get("checks", {}).get("checks", [])

    try:
        while not checks():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(how)
        process.wait()
        record = json.loads((out / "results.json").read_text())
        assert checks()
        summary = (out / "summary.md").read_text()  # perhaps of two seconds before
        assert summary.startswith("# 2 minutes, a rehearsal at toy size on ")
        assert summary.endswith("\n")
        if how == signal.SIGTERM:
            assert "### The device against the CPU" in summary
            assert process.returncode == 130
            assert record["tasks"][0]["status"] in ("cut off", "done")  # nothing is running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


# --------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["run", "--minutes", "1.9"], "--minutes: from 2 to 9.5"),
        (["run", "--minutes", "9.6"], "--minutes: from 2 to 9.5"),
        (["run", "--minutes", "3", "--device", "cpu"], "with --toy"),
        (["run", "--minutes", "3", "--folder", "/nowhere/at/all"], "there is no /nowhere/at/all"),
        (["run", "--minutes", "3", "--toyy"], "--toy"),
        (["run", "--minutes", "3", "--recipe", "/nowhere.toml"], "/nowhere.toml: not readable"),
        (["run", "--minutes", "3", "--parts", "rate"], "parts"),
        (["prepare"], "--sudoku DIR"),
        (["prepare", "--sudoku", "/nowhere/at/all"], "there is no folder /nowhere/at/all"),
        (["land", "/nowhere/at/all"], "there is no folder /nowhere/at/all"),
        (["lend"], "prepare, run, land"),
    ],
)
def test_refusals_are_one_line(words, part, tmp_path, capsys):
    out = tmp_path / "o"
    more = ["--out", str(out)] if words[0] == "run" else []
    assert gpu_lease.guarded([*words, *more]) == 2
    said = capsys.readouterr().err
    assert part in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_a_folder_with_results_is_not_written_over(tmp_path, capsys):
    (tmp_path / "results.json").write_text("{}")
    assert gpu_lease.guarded(["run", "--minutes", "3", "--toy", "--out", str(tmp_path)]) == 2
    assert "is not an empty folder" in capsys.readouterr().err


def test_a_machine_without_cuda_and_a_small_card_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no CUDA device here"):
        gpu_lease.check_card("cuda", 1)
    card = type("Card", (), {"name": "NVIDIA T4", "total_memory": 15 * 2**30})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    with pytest.raises(UsageError, match=r"NVIDIA T4: has 15 GiB, .* need 40"):
        gpu_lease.check_card("cuda", gpu_lease.LEAST_MEMORY)
    gpu_lease.check_card("cuda", 0)


# ------------------------------------------------------------------------- what a GPU is to be told


def test_the_commands_for_the_gpu_are_understood(sudokus, tmp_path):
    """None is run: what a GPU's minutes go to must not end in a misspelt option."""
    recipe = read_recipe(gpu_lease.RECIPE)
    forms = {
        "scripts.gpu.device_checks": device_checks.check,
        "scripts.gpu.device_processes": device_processes.check,
        "scripts.gpu.device_rates": device_rates.measure,
        "scripts.gpu.lease_finish": lease_finish.finish,
    }
    for task in tasks(PARTS, 9.5, tmp_path, "cuda", False, recipe, sudokus):
        words = task.command(100.0)
        if task.name == "train":
            given = read_words(words[1:])
            assert given.config.compile
            assert given.config.batch == 768
            assert 80 < given.seconds < 100
        else:
            parse(forms[task.module], words, "")


def test_a_recipe_that_is_too_large_or_misspelt_is_refused(sudokus, tmp_path):
    recipe = read_recipe(gpu_lease.RECIPE)
    gpu_lease.check_parameters(recipe, sudokus, tmp_path)
    large = recipe.model_copy(update={"train": "--preset attractor-speed-7m"})
    with pytest.raises(UsageError, match=r"has 4,774,914 parameters, .* 1,000,000"):
        gpu_lease.check_parameters(large, sudokus, tmp_path)
    wrong = recipe.model_copy(update={"train": "--preset attractor-speed-cpu --model.widht 8"})
    with pytest.raises(UsageError, match=r"did you mean --model\.width"):
        gpu_lease.check_parameters(wrong, sudokus, tmp_path)
    path = tmp_path / "r.toml"
    path.write_text(gpu_lease.RECIPE.read_text().replace("depth", "depht"))
    with pytest.raises(UsageError, match=r"r\.toml: --dep"):
        read_recipe(path)
