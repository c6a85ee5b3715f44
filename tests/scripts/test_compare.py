"""Comparisons of runs that failed: each is listed, the others are compared. And by processes."""

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
import torch

from puzzles import sources
from puzzles.dataset import read_split, write_dataset
from reasoning.training.loop import Trainer
from reasoning.training.runs import read_jsonl
from scripts import compare
from scripts.cli import main
from scripts.models.presets import build_model
from scripts.models.variants import merged
from scripts.reports import figures
from scripts.runs.opened import text_of
from scripts.runs.recorded import load_config
from scripts.studies.ablations import ABLATIONS, configuration
from scripts.studies.comparison import run_folder
from scripts.usage import UsageError


def test_compare_lists_a_run_that_is_out_of_memory_and_goes_on(
    sudokus, tmp_path, capsys, monkeypatch
):
    def too_large(config, shape):
        if config.preset == "trm-mini":
            torch.empty(2**50)  # the allocator's own error
        if config.preset == "hrm-mini":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return build_model(config, shape)

    monkeypatch.setattr("scripts.runs.train.build_model", too_large)
    out = tmp_path / "table"
    command = ["compare", "--presets", "trm-mini,hrm-mini,transformer-mini", "--data", str(sudokus)]
    assert main([*command, "--seeds", "1", "--steps", "5", "--out", str(out)]) == 0
    groups = json.loads((out / "comparison.json").read_text())
    assert [group["failed"] for group in groups.values()] == [1, 1, 0]
    assert "out of memory" in groups["trm-mini"]["runs"][0]["failure"]
    assert "20.00 GiB" in groups["hrm-mini"]["runs"][0]["failure"]
    capsys.readouterr()
    monkeypatch.setattr("scripts.studies.budget.build_model", too_large)
    assert main([*command, "--budget", "flops", "--out", str(tmp_path / "flops")]) == 1
    assert "trm-mini: out of memory" in capsys.readouterr().err


def test_a_finished_run_is_not_scored_on_other_puzzles_in_its_folder(sudokus, tmp_path, capsys):
    data, out = shutil.copytree(sudokus, tmp_path / "data"), tmp_path / "table"
    command = ["compare", "--presets", "transformer-mini", "--data", str(data), "--steps", "5"]
    assert main([*command, "--seeds", "1", "--out", str(out)]) == 0
    assert main([*command, "--seeds", "1", "--out", str(out)]) == 0  # as they were
    config = json.loads((out / "transformer-mini-seed0" / "config.json").read_text())
    config["puzzles_sha256"] = "0" * 64  # as if they had been others
    (out / "transformer-mini-seed0" / "config.json").write_text(json.dumps(config))
    capsys.readouterr()
    assert main([*command, "--seeds", "1", "--out", str(out)]) == 2
    assert "holds other puzzles than those that" in " ".join(capsys.readouterr().err.split())


def test_other_errors_of_a_training_are_not_taken_for_failures(sudokus, tmp_path, monkeypatch):
    def broken(config, shape):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr("scripts.runs.train.build_model", broken)
    command = ["compare", "--presets", "trm-mini", "--data", str(sudokus), "--steps", "5"]
    with pytest.raises(RuntimeError, match="mat1"):
        main([*command, "--out", str(tmp_path / "table")])


def test_compare_goes_on_with_a_run_killed_before_its_first_checkpoint(
    sudokus, tmp_path, dies_at, capsys
):
    out = tmp_path / "table"
    command = ["compare", "--presets", "trm-mini", "--data", str(sudokus), "--seeds", "1"]
    command += ["--steps", "6", "--out", str(out)]
    with dies_at(Trainer, 3):
        main(command)
    capsys.readouterr()
    assert main(command) == 0
    assert "starts from step 0 again" in " ".join(capsys.readouterr().out.split())
    # A checkpoint that lost its manifest is no reason to start over.
    run = out / "trm-mini-seed0"
    before = (run / "metrics.jsonl").read_bytes()
    (run / "checkpoints" / "step-00000006" / "manifest.json").unlink()
    assert main(command) == 2
    assert "has no manifest.json" in capsys.readouterr().err
    assert (run / "metrics.jsonl").read_bytes() == before


def test_compare_lists_a_run_without_a_checkpoint(trained, sudokus, tmp_path, capsys):
    begun, out = tmp_path / "begun", tmp_path / "table"
    shutil.copytree(trained, begun, ignore=shutil.ignore_patterns("checkpoints"))
    assert main(["compare", str(begun), str(trained), "--out", str(out)]) == 0
    (group,) = json.loads((out / "comparison.json").read_text()).values()
    assert group["failed"] == 1
    assert "no checkpoint" in group["runs"][0]["failure"]
    assert group["metrics"]["exact"]["n"] == 1
    capsys.readouterr()
    for words, said in (
        ([begun], "no run has a checkpoint"),
        ([tmp_path, trained], "is not a run"),
    ):
        assert main(["compare", *map(str, words), "--out", str(out)]) == 2
        assert said in capsys.readouterr().err


def test_a_run_whose_weights_give_nan_is_listed_and_solves_nothing(
    trained, sudokus, tmp_path, capsys
):
    lost, out = tmp_path / "lost", tmp_path / "table"
    words = ["train", "--preset", "trm-mini", "--data", str(sudokus), "--out", str(lost)]
    diverges = ["--optimizer.lr", "1e30", "--optimizer.warmup", "0", "--steps", "1"]
    assert main([*words, *diverges, "--device", "cpu"]) == 0  # its one loss came before its update
    assert main(["compare", str(lost), str(trained), "--out", str(out)]) == 0
    groups = json.loads((out / "comparison.json").read_text())
    assert [group["failed"] for group in groups.values()] == [1, 0]
    failure = next(iter(groups.values()))["runs"][0]["failure"]
    assert str(lost) in failure
    assert "give NaN" in failure
    capsys.readouterr()
    assert main(["solve", str(lost), ".4.1.......4..2."]) == 2
    assert "give NaN" in capsys.readouterr().err


def test_compare_says_which_runs_are_unfinished_or_have_no_training(trained, sudokus, tmp_path):
    cut, out = shutil.copytree(trained, tmp_path / "cut"), tmp_path / "table"
    config = json.loads((cut / "config.json").read_text())
    config["config"]["steps"] = 40
    (cut / "config.json").write_text(json.dumps(config))
    bare = shutil.copytree(trained, tmp_path / "bare")  # as imported weights are
    for log in ("metrics.jsonl", "timing.jsonl"):
        (bare / log).unlink()
    times = (cut / "timing.jsonl").read_text().splitlines(keepends=True)
    (cut / "timing.jsonl").write_text("".join(times[:-1]))  # killed between its two last lines
    assert main(["compare", str(cut), str(trained), str(bare), "--out", str(out)]) == 0
    (group,) = json.loads((out / "comparison.json").read_text()).values()
    assert group["unfinished"] == 1
    assert "1 (3 runs), 1 unfinished" in (text := (out / "comparison.md").read_text())
    assert "| 20 of 40 |" in text
    assert group["training_flops"] is None  # of a mean that one has no part in
    assert [bool(run["cost"]) for run in group["runs"]] == [True, True, False]


# The second process's clock runs three times as fast, and it may write no file.
_PROCESS = """
import os, sys, time
from pathlib import Path
from scripts.cli import main
from scripts.studies.comparison import run_folder
if os.environ["RANK"] == "1":
    clock = time.perf_counter
    time.perf_counter = lambda: 3 * clock()
    Path.write_text = None
sys.exit(main(sys.argv[1:]))
"""


def test_processes_agree_on_a_time_budget_and_the_first_alone_writes_and_prints(sudokus, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    out = tmp_path / "table"
    words = ["compare", "--presets", "transformer-mini", "--data", str(sudokus), "--seeds", "1"]
    words += ["--budget", "time", "--amount", "0.01", "--out", str(out), "--device", "cpu"]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS, *words],
            env=os.environ | place | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0]
    assert "transformer-mini" in said[0]
    assert said[1] == ""
    (kept,) = json.loads((out / "budget.json").read_text())
    steps = read_jsonl(out / "transformer-mini-seed0" / "metrics.jsonl")[-1]["step"]
    assert kept["steps"] == steps
    (group,) = json.loads((out / "comparison.json").read_text()).values()
    assert group["runs"][0]["steps"] == steps


def test_runs_of_one_preset_on_different_puzzles_are_compared_apart(
    trained, sudokus, tmp_path, monkeypatch
):
    nine, run, out = tmp_path / "nine", tmp_path / "run", tmp_path / "table"
    write_dataset(nine, *sources.sudoku(9, train=16, test=6, seed=0))
    words = ["train", "--preset", "attractor-mini", "--data", str(nine), "--out", str(run)]
    assert main([*words, "--steps", "1", "--device", "cpu"]) == 0
    drawn = {}
    finish = figures.finish

    def keep(axes, *rest):
        drawn[len(axes)] = axes
        finish(axes, *rest)

    monkeypatch.setattr(figures, "finish", keep)
    assert main(["compare", str(trained), str(run), "--out", str(out)]) == 0
    groups = json.loads((out / "comparison.json").read_text())
    assert [len(group["runs"]) for group in groups.values()] == [1, 1]
    panels = [axes.get_legend_handles_labels() for axes in drawn[2]]  # of difficulty
    assert [labels for _, labels in panels] == [[name] for name in groups]


def test_runs_that_share_their_puzzles_do_not_narrow_the_error_bars(tmp_path, monkeypatch):
    exact = {"mean": 0.4, "stderr": 0.03, "n": 250}
    bins = [{"from": 0.0, "to": 2.0, "metrics": {"exact": exact}}]
    record = {"by_difficulty": {"name": "guesses", "bins": bins}}
    drawn = []
    monkeypatch.setattr(figures, "finish", lambda axes, *_: drawn.extend(axes))
    assert figures.plot_difficulty([("trm", record)] * 3, tmp_path / "difficulty.png")
    (((_, _, (bars,)),), _) = drawn[0].get_legend_handles_labels()
    assert bars.get_segments()[0][:, 1] == pytest.approx([37, 43])


def test_run_folders_have_no_commas_and_those_that_have_go_on(tmp_path):
    config = configuration(ABLATIONS["controls"][-1], "mini", tmp_path)
    assert config.preset == "trm-matched, damped"
    assert run_folder(tmp_path, config, 0).name == "trm-matched-damped-seed0"
    for variants in ABLATIONS.values():
        names = [run_folder(tmp_path, configuration(v, "mini", tmp_path), 0).name for v in variants]
        assert len(set(names)) == len(variants)
        assert not re.search(r"[^\w.-]", "".join(names))
    (tmp_path / "trm-matched,-damped-seed0").mkdir()  # begun when such names were given
    assert run_folder(tmp_path, config, 0).name == "trm-matched,-damped-seed0"


def test_the_report_holds_one_puzzle_being_solved(trained, sudokus, tmp_path):
    out = tmp_path / "table"
    assert main(["compare", str(trained), "--out", str(out)]) == 0
    text = (out / "report.html").read_text()
    drawn = base64.b64encode((out / "solving.png").read_bytes()).decode()
    assert text.count(drawn) == 1
    ((recording,),) = map(
        json.loads, map(unescape, re.findall(r'data-recordings="(\[{.*?)"', text))
    )
    (candidate,) = recording["candidates"]
    assert recording["model"] == "attractor-mini"  # as the table calls it, not by its folder
    assert len(candidate["segments"]) == load_config(trained)[0].supervision.segments
    held_out = read_split(sudokus, "test").inputs
    assert recording["question"] in [text_of("sudoku", question) for question in held_out]
    for name in ("date", "command", "data", "steps", "learning rate"):
        assert f"<dt>{name}</dt>" in text
    assert "4x4 sudoku, 48 training and 20 held-out puzzles" in text


def test_settings_are_laid_over_every_preset_and_stand_in_the_labels(sudokus, tmp_path, capsys):
    words = ["compare", "--presets", "trm-mini,transformer-mini", "--data", str(sudokus)]
    words += ["--seeds", "1", "--steps", "2", "--device", "cpu", "--out", str(tmp_path / "table")]
    assert main([*words, "--set", "model.width=24", "optimizer.schedule=constant"]) == 0
    table = json.loads((tmp_path / "table" / "comparison.json").read_text())
    told = "optimizer.schedule=constant model.width=24"
    assert [*table] == [f"trm-mini {told}", f"transformer-mini {told}"]
    for group in table.values():
        kept = json.loads((Path(group["runs"][0]["run"]) / "config.json").read_text())
        assert kept["config"]["model"]["width"] == 24
        assert kept["config"]["optimizer"]["schedule"] == "constant"
    for wrong, said in {
        "steps=3": "use --steps",
        "hints=3": "use --hints",
        "steps.x=3": "use --steps",
        "width": "expected NAME=VALUE",
        "model.widht=24": "widht",
        "model.width=24 model.width=32": "model.width is set before",
        "model.width=24 model={}": "model is set before",
    }.items():
        capsys.readouterr()
        assert main([*words, "--set", *wrong.split()]) == 2
        assert said in capsys.readouterr().err
    with pytest.raises(UsageError, match="--budget"):
        compare(presets="trm-mini", data=sudokus, budget="flop")
    with pytest.raises(TypeError, match="did you mean budget"):
        compare(presets="trm-mini", data=sudokus, budgets="flops")


def test_an_item_of_a_list_is_set_by_its_number():
    values = {"a": [{"b": 1, "c": 2}, {"b": 3}], "d": (4, 5)}
    changes = {"a": {"0": {"b": 9}}, "d": {"1": 6}}
    assert merged(values, changes) == {"a": [{"b": 9, "c": 2}, {"b": 3}], "d": [4, 6]}
    assert merged(values, {"a": {"2": 0}})["a"] == {"2": 0}  # refused by whoever reads it


def test_what_cannot_be_compared_is_refused(trained, sudokus, mazes, tmp_path, capsys):
    maze, out = tmp_path / "maze", tmp_path / "table"
    words = ["train", "--preset", "trm-mini", "--data", str(mazes), "--out", str(maze)]
    assert main([*words, "--steps", "1", "--device", "cpu"]) == 0
    train = ["--presets", "trm-mini", "--data", str(sudokus)]
    for words, said in (
        ([trained, f"{trained}/"], "twice"),
        ([maze, trained], "no common table"),
        *(
            ([trained, *more], f"{more[0]} is for training")
            for more in (
                ["--seeds", "7"],
                ["--compile"],
                ["--steps", "2"],
                ["--hints", "1"],
                ["--amount", "2"],
                ["--budget", "time"],
            )
        ),
        (["--presets", "trm-mini,trm-mini", "--data", sudokus], "twice"),
        (["--presets", ",", "--data", sudokus], "no name"),
        ([*train, "--budget", "flops", "--amount", "inf"], "--amount"),
        ([*train, "--amount", "0.5"], "--amount"),
    ):
        assert main(["compare", *map(str, words), "--out", str(out)]) == 2
        assert said in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("manifest.json", '{"step": 2'),
        ("manifest.json", "[]"),
        ("metrics.jsonl", "{}}\n"),
        ("timing.jsonl", ""),
        ("environment.json", ""),
        ("config.json", '{"config": {}, "grid": {"kind": "sudoku"}}'),
    ],
)
def test_a_damaged_file_of_a_run_is_named(name, text, trained, sudokus, tmp_path, capsys):
    run, out = tmp_path / "table" / "attractor-mini-seed0", tmp_path / "table"
    shutil.copytree(trained, run)
    newest = max(run.rglob(name), key=str)
    newest.write_text(text)
    again = ["--presets", "attractor-mini", "--data", str(sudokus), "--seeds", "1"]
    for words in ([str(run)], [*again, "--steps", "20", "--device", "cpu"]):
        assert main(["compare", *words, "--out", str(out)]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert str(newest) in said


def test_a_report_that_cannot_be_written_is_known_before_the_work(
    trained, sudokus, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("scripts.studies.comparison.cost_of", None)  # neither measured
    monkeypatch.setattr("scripts.studies.one_run.evaluate_run", None)  # nor scored
    out = tmp_path / "file"
    out.touch()
    presets = ["--presets", "trm-mini", "--data", str(sudokus), "--budget", "flops"]
    for words in (presets, [str(trained)]):
        assert main(["compare", *words, "--out", str(out)]) == 2
        assert "choose another --out" in capsys.readouterr().err


def test_another_configuration_is_named(sudokus, tmp_path, capsys):
    words = ["compare", "--presets", "trm-mini", "--data", str(sudokus), "--seeds", "1"]
    words += ["--out", str(tmp_path / "table")]
    assert main([*words, "--steps", "1"]) == 0
    capsys.readouterr()
    assert main([*words, "--steps", "2"]) == 2
    assert "holds another run (steps 1, not 2)" in capsys.readouterr().err


def test_modules_of_commands_run_by_themselves():
    for name in ("compare", "reproduce"):
        words = [sys.executable, "-m", f"scripts.{name}", "--no-such-option"]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 2
        assert done.stderr.startswith("loopbench: ")
