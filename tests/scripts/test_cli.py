"""The command line end to end at toy size: what it writes, what it refuses, its exit codes."""

import codecs
import io
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from puzzles.dataset import Record, read_split, write_dataset
from puzzles.sudoku.rules import format_grid, from_tokens
from puzzles.sudoku.rules import parse as parse_digits
from puzzles.sudoku.solver import two_solutions
from reasoning.training.loop import Trainer
from reasoning.training.runs import read_jsonl
from scripts import entry
from scripts.cli import COMMANDS, main, usage
from scripts.commands import data
from scripts.commands import presets as preset_table
from scripts.models.lm_models import LANGUAGE_PRESETS
from scripts.models.presets import preset_names

ROOT = Path(__file__).parent.parent.parent


def words(preset: str, data: Path, out: Path, *more: str) -> list[str]:
    return ["train", "--preset", preset, "--data", str(data), "--out", str(out), *more]


def refused(capsys, arguments, *parts):
    """The command ends with 2 and one line on standard error that holds every part."""
    assert main([str(a) for a in arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("loopbench: ")
    assert said.count("\n") == 1
    for part in parts:
        assert part in said


def test_usage_lists_every_command(capsys):
    assert main([]) == 0
    said = capsys.readouterr().out
    assert said == usage() + "\n"
    assert all(name in said for name in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train"],
        ["evaluate"],
        ["compare"],
        ["solve"],
        ["presets"],
        ["data", "sudoku"],
        ["data", "maze"],
        ["data", "import"],
        ["data", "check"],
    ],
)
def test_help_explains_every_option(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert "usage: loopbench " + " ".join(arguments) in said


def test_help_names_what_a_command_takes_first(capsys):
    assert main(["--help"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  data ")]
    named = line.split(":")[0].removeprefix("  data ").replace("|", " ").split()
    assert set(named) == set(data.COMMANDS)
    with pytest.raises(SystemExit):
        main(["presets", "--help"])
    assert "presets NAME` prints one as YAML" in " ".join(capsys.readouterr().out.split())


def test_train_help_shows_units_and_defaults_of_nested_fields(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--preset", "attractor-cpu", "--help"])
    said = capsys.readouterr().out
    for flag in ("--model.solver.tolerance", "--optimizer.lr", "--supervision.segments", "--wandb"):
        assert flag in said
    assert "relative residual at which a sample stops (default: 0.001)" in " ".join(
        line.strip(" │") for line in said.splitlines()
    )


def test_presets_as_json(capsys):
    assert main(["presets", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    rows = {row["preset"]: row for row in listed if row["task"] == "puzzles"}
    assert list(rows) == preset_names()
    assert rows["trm-7m"]["parameters"] == {"sudoku_9x9": 6_828_034, "maze_30x30": 6_822_914}
    # T (n + 1) with n 6 and 4 (TRM's paper).
    assert rows["trm-7m"]["net_calls_per_segment"] == {"sudoku_9x9": "21", "maze_30x30": "15"}
    assert "muon 0.02" in rows["trm-mlp-speed-7m"]["recipe"]
    assert rows["trm-mlp-7m"]["parameters"]["maze_30x30"] is None
    language = {row["preset"]: row for row in listed if row["task"] == "language"}
    assert list(language) == list(LANGUAGE_PRESETS)
    assert language["attractor-140m"]["parameters"] == 134_237_184
    assert language["transformer-1.3b"]["parameters"] == 1_333_868_544


def test_presets_of_both_kinds_are_shown(capsys):
    assert main(["presets"]) == 0
    said = capsys.readouterr().out
    assert "6,828,034" in said
    assert "769,493,760" in said


def test_a_run_records_what_made_it(trained):
    config = json.loads((trained / "config.json").read_text())
    assert config["config"]["steps"] == 20
    assert config["grid"] == {
        "kind": "sudoku",
        "size": 4,
        "cells": 16,
        "vocabulary": 6,
        "puzzles": 1,
    }
    environment = json.loads((trained / "environment.json").read_text())
    assert {"commit", "packages", "command", "machine"} <= set(environment)
    records = read_jsonl(trained / "metrics.jsonl")
    assert [r["step"] for r in records if r["split"] == "train"] == [5, 10, 15, 20]
    held_out = records[-1]
    assert held_out["split"] == "test"
    assert held_out["exact"]["n"] == 20


def test_evaluate_scores_every_held_out_puzzle_and_writes_it(trained, sudokus, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    assert main(["evaluate", str(run), "--data", str(sudokus), "--segments", "3"]) == 0
    record = json.loads((run / "evaluation-sudoku4.json").read_text())
    assert record["segments"] == 3
    assert record["metrics"]["valid"]["n"] == 20
    assert len(record["by_segment"]) == 3
    assert record["by_segment"][-1]["cell"] == pytest.approx(record["metrics"]["cell"]["mean"])
    assert sum(b["metrics"]["exact"]["n"] for b in record["by_difficulty"]["bins"]) == 20
    assert "exact %" in capsys.readouterr().out


@pytest.mark.parametrize("preset", ["trm-mini", "trm-mlp-mini", "hrm-mini", "transformer-mini"])
def test_every_model_trains_on_sudoku(preset, sudokus, tmp_path):
    assert (
        main(
            words(
                preset,
                sudokus,
                tmp_path / "run",
                "--steps",
                "4",
                "--log-every",
                "2",
                "--checkpoint-every",
                "4",
            )
        )
        == 0
    )
    assert read_jsonl(tmp_path / "run" / "metrics.jsonl")[-1]["step"] == 4


def test_mazes_train_and_report_valid_shortest(mazes, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(words("attractor-mini", mazes, run, "--steps", "5")) == 0
    assert main(["evaluate", str(run), "--data", str(mazes)]) == 0
    record = json.loads((run / "evaluation-maze7.json").read_text())
    assert set(record["metrics"]) == {"cell", "exact", "valid", "valid_shortest"}


def test_solve_says_whether_the_answer_is_valid_by_its_exit_code(
    trained, sudokus, capsys, monkeypatch, tmp_path
):
    test = read_split(sudokus, "test")
    text = format_grid(from_tokens(test.inputs[0]))
    code = main(["solve", str(trained), text])
    said = capsys.readouterr().out
    assert code in (0, 1)
    assert ("NOT valid" in said) == (code == 1)
    assert "residual" in said
    # The same from a file; and a model that answers with the label is told valid.
    (tmp_path / "puzzle.txt").write_text(text + "\n")
    (tmp_path / "marked.txt").write_bytes(codecs.BOM_UTF8 + text.encode() + b"\r\n")
    capsys.readouterr()
    for name in ("puzzle.txt", "marked.txt"):
        assert main(["solve", str(trained), str(tmp_path / name)]) == code
        assert capsys.readouterr().out == said
    marked = io.BytesIO((tmp_path / "marked.txt").read_bytes())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(marked, encoding="utf-8"))
    assert main(["solve", str(trained), "-"]) == code
    assert capsys.readouterr().out == said
    (tmp_path / "puzzle.txt").write_bytes(b"1\xff")
    refused(capsys, ["solve", trained, tmp_path / "puzzle.txt"], "txt: invalid UTF-8 at byte 1")

    import scripts.runs.solve as module

    real = module.search_one

    def right(*arguments):
        said = real(*arguments)
        said.tokens[:, -1, -1] = test.labels[0]
        return said

    monkeypatch.setattr(module, "search_one", right)
    assert main(["solve", str(trained), text]) == 0
    capsys.readouterr()


def test_solve_answers_by_the_first_start_that_claims(trained, sudokus, capsys, monkeypatch):
    test = read_split(sudokus, "test")
    text = format_grid(from_tokens(test.inputs[0]))
    import scripts.runs.solve as module

    real, plans = module.search_one, []

    def second(run, question, segments, plan, world):
        plans.append(plan)
        said = real(run, question, segments, plan, world)
        said.halt[:] = -1
        said.tokens[0, 1] = test.labels[0]
        said.halt[0, 1, 1:] = 1
        return said

    monkeypatch.setattr(module, "search_one", second)
    assert main(["solve", str(trained), text, "--starts", "3", "--segments", "4"]) == 0
    said = capsys.readouterr().out
    assert (plans[0].breadth, plans[0].until_claimed) == (3, True)
    assert "after segment 2;" in said
    assert "3 starts" in said
    refused(capsys, ["solve", trained, text, "--starts", "0"], "--starts: must be at least 1")
    one = ["solve", trained, text, "--starts", "2", "--segments", "1"]
    refused(capsys, one, "--starts: an answer stands, to be claimed, from the second segment on")


def test_solve_answers_a_puzzle_with_two_solutions_and_says_where_they_differ(trained, capsys):
    grids = two_solutions(parse_digits("12343412" + "." * 8))
    assert main(["solve", str(trained), "12343412" + "." * 8]) in (0, 1)
    said = " ".join(capsys.readouterr().out.split())
    cell = int(np.flatnonzero(grids[0] != grids[1])[0])
    place = f"row {cell // 4 + 1} column {cell % 4 + 1} ({grids[0][cell]} or {grids[1][cell]})"
    assert f"more than one solution; two of them differ at {place}" in said
    assert main(["solve", str(trained), "1234341221434321"]) in (0, 1)
    assert "more than one" not in capsys.readouterr().out


def test_version_is_that_of_the_package(capsys):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"loopbench {project['version']}\n"


def test_the_nearest_name_is_suggested(sudokus, tmp_path, capsys):
    out = tmp_path / "run"
    for flag, meant in (("--lr", "--optimizer.lr"), ("--witdh", "--model.width")):
        refused(capsys, words("trm-mini", sudokus, out, flag, "0.1"), f"did you mean {meant}?")
    refused(capsys, words("trm-mni", sudokus, out), "did you mean trm-mini?", "`loopbench presets`")
    lm = ["pretrain", "--preset", "atractor-mini", "--corpus", tmp_path, "--out", out]
    refused(capsys, lm, "did you mean attractor-mini?")
    refused(capsys, ["reproduce", "tabel2"], "did you mean table2?")
    refused(capsys, ["data", "sudku"], "did you mean sudoku?")


def test_a_folder_of_another_kind_is_named_with_the_command_that_takes_it(
    trained, sudokus, tmp_path, capsys
):
    text, corpus, lm = tmp_path / "a.txt", tmp_path / "corpus", tmp_path / "lm"
    text.write_text("one two three four\n" * 4000)
    built = ["corpus", "build", str(text), "--tokenizer", "bytes", "--out", str(corpus)]
    assert main([*built, "--shards", "8"]) == 0
    lm.mkdir()
    (lm / "config.json").write_text('{"config": {}, "tokenizer": "", "corpus": ""}')
    capsys.readouterr()
    out, none = tmp_path / "out", tmp_path / "none"
    for command in (["evaluate", lm, "--data", sudokus], ["compare", lm], ["solve", lm, "1..."]):
        refused(capsys, command, f"{lm}: is a pretraining run", "`evaluate-lm`")
    refused(capsys, ["train", "--resume", lm], "is a pretraining run", "pretrain --resume")
    for command in (
        ["evaluate-lm", trained, "--corpus", corpus],
        ["generate", trained, "--prompt", "a"],
        ["pretrain", "--resume", trained],
    ):
        refused(capsys, command, f"{trained}: is a run on puzzles", "`train --resume`")
    pretrain = ["pretrain", "--preset", "attractor-mini", "--out", out, "--corpus"]
    refused(capsys, [*pretrain, sudokus], "is a folder of puzzles", "train --data")
    refused(capsys, [*pretrain, none], f"{none}: no such folder", "corpus build")
    refused(capsys, words("trm-mini", corpus, out), "is a corpus of text", "pretrain --corpus")
    refused(capsys, ["evaluate", trained, "--data", trained], "is a run on puzzles")
    refused(capsys, ["evaluate", none, "--data", sudokus], "no such folder", "loopbench train")
    assert not out.exists()


def test_wandb_without_a_key_is_refused_before_training(sudokus, tmp_path, capsys, monkeypatch):
    import wandb

    def init(**settings):
        assert settings["mode"] == "online"
        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.setattr(wandb, "init", init)
    out = tmp_path / "run"
    asked = words("trm-mini", sudokus, out, "--wandb", "online")
    refused(capsys, asked, "No API key configured", "wandb login", "--wandb offline")
    assert not out.exists()


def test_ctrl_c_while_the_libraries_load_is_one_line(monkeypatch, capsys):
    def pressed(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(entry.importlib, "import_module", pressed)
    assert entry.main() == 130
    assert capsys.readouterr().err == "loopbench: interrupted\n"


def test_a_finished_run_says_so_and_can_be_trained_longer(trained, sudokus, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    before = (run / "metrics.jsonl").read_bytes()
    assert main(["train", "--resume", str(run)]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert f"{run}: is finished (20 steps); to train it longer: --resume {run} --steps 40" in said
    assert (run / "metrics.jsonl").read_bytes() == before
    refused(capsys, ["train", "--resume", run, "--steps", "10"], "is at step 20", "--steps 21")
    assert main(["train", "--resume", str(run), "--steps", "40"]) == 0
    assert "planned for 40 steps instead of 20, from step 20 on" in capsys.readouterr().err
    record = json.loads((run / "config.json").read_text())
    assert record["config"]["steps"] == 40
    assert record["extended"] == [{"at_step": 20, "steps_before": 20, "steps": 40}]
    longer = (run / "metrics.jsonl").read_bytes()
    assert longer.startswith(before)
    assert read_jsonl(run / "metrics.jsonl")[-1]["step"] == 40
    assert main(["train", "--resume", str(run)]) == 0
    assert (run / "metrics.jsonl").read_bytes() == longer


def test_bad_input_is_refused_in_one_line(trained, sudokus, mazes, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    refused(capsys, ["trian"], "trian", "train")
    refused(capsys, words("attractor-mini", sudokus, out, "--model.widht", "3"), "--model.width")
    refused(capsys, words("attractor-mini", sudokus, out, "--model.width", "33"), "width 33")
    refused(
        capsys,
        words("attractor-mini", sudokus, out, "--model.solver.tolerance", "0"),
        "tolerance",
        "greater than 0",
    )
    idle = words("attractor-mini", sudokus, out, "--model.gradient.kind", "unrolled")
    refused(capsys, idle, "unrolled", "evaluations 1 or more")  # the curriculum begins with none
    for flag, value in (("optimizer.lr", "nan"), ("loss.halting", "inf"), ("ema.decay", "nan")):
        wrong = words("attractor-mini", sudokus, out, f"--{flag}", value)
        refused(capsys, wrong, *flag.split("."), "finite number")
    refused(capsys, words("attractor-mini", sudokus, out, "--batch", "49"), "49", "48")
    refused(capsys, words("attractor-mini", sudokus, out, "--steps", "many"), "--steps", "many")
    between = words("attractor-mini", sudokus, out, "--log-every", "4", "--evaluate-every", "6")
    refused(capsys, [*between, "--checkpoint-every", "8"], "evaluate_every 6", "log_every 4")
    refused(capsys, words("nonesuch-7m", sudokus, out), "nonesuch-7m", "trm-7m")
    refused(capsys, words("attractor-mini", tmp_path / "none", out), "none")
    refused(capsys, words("attractor-mini", sudokus, trained), "--resume")
    least = words("attractor-mini", sudokus, tmp_path / "r", "--model.solver.min-evaluations", "9")
    refused(capsys, least, "min_evaluations 9 is more than")
    refused(capsys, ["train", "--resume", tmp_path], "is not a run")
    for flag, value in (("--seed", 0), ("--optimizer.lr", 4e-3)):  # both the mini presets'
        refused(capsys, ["train", "--resume", trained, flag, value], "give it alone")
    monkeypatch.setenv("CXX", "no-such-compiler")
    refused(capsys, words("trm-mini", sudokus, out, "--compile", "--device", "cpu"), "CXX")
    refused(capsys, ["evaluate", trained, "--data", mazes], "maze of size 7", "sudoku of size 4")
    refused(capsys, ["evaluate", trained, "--data", sudokus, "--segments", "0"], "at least 1")
    refused(capsys, ["compare", "--presets", "trm-mini"], "--data")
    refused(capsys, ["compare"], "--presets")
    presets = ["compare", "--presets", "trm-mini", "--data", sudokus, "--out", out]
    refused(capsys, [*presets, "--steps", "0"], "--steps", "at least 1", "0")
    refused(capsys, ["compare", trained, "--steps", "10"], "--steps", "--presets")
    refused(capsys, ["solve", trained, "12"], "expected 16")
    refused(capsys, ["solve", trained, "11" + "." * 14], "no right answer", "digit 1 stands twice")
    refused(capsys, ["solve", trained, "puzzle.txt"], "puzzle.txt: no such file")
    refused(capsys, ["solve", "--pretrained", "sudoku", "lists/one.csv"], "no such file")
    assert not out.exists()


def test_a_run_with_a_checkpoint_cut_in_half_is_refused(trained, sudokus, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    for name in ("ema.safetensors", "state.pt"):
        path = sorted(copy.glob(f"checkpoints/*/{name}"))[-1]
        path.write_bytes(path.read_bytes()[:100])
        if name.startswith("ema"):
            refused(capsys, ["evaluate", copy, "--data", sudokus], name, "delete")
        else:
            refused(capsys, ["train", "--resume", copy], "ema.safetensors", "delete")


def test_compare_lists_every_run_with_a_spread(sudokus, tmp_path, capsys):
    out = tmp_path / "table"
    presets = ["--presets", "attractor-mini,transformer-mini", "--data", str(sudokus)]
    short = ["--seeds", "2", "--steps", "10", "--out", str(out), "--device", "cpu"]
    assert main(["compare", *presets, *short]) == 0
    groups = json.loads((out / "comparison.json").read_text())
    assert list(groups) == ["attractor-mini", "transformer-mini"]
    runs = groups["attractor-mini"]["runs"]
    assert [r["seed"] for r in runs] == [0, 1]
    values = [r["cell"]["mean"] for r in runs]
    spread = groups["attractor-mini"]["metrics"]["cell"]
    assert spread["mean"] == pytest.approx(np.mean(values))
    assert spread["sd"] == pytest.approx(np.std(values, ddof=1))
    assert (out / "curves.png").stat().st_size > 10_000
    # Data order is the same for every model: both saw the batches of the same seed.
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("manifest.json")}
    assert main(["compare", *presets, *short]) == 0  # nothing is trained again
    assert stamps == {p: p.stat().st_mtime_ns for p in out.rglob("manifest.json")}
    listed = [str(out / f"{name}-seed{s}") for name in groups for s in (0, 1)]
    again = tmp_path / "again"
    assert main(["compare", *listed, "--out", str(again)]) == 0
    assert json.loads((again / "comparison.json").read_text()) == groups
    capsys.readouterr()


def test_a_run_killed_mid_training_resumes_to_the_same_bytes(sudokus, tmp_path):
    settings = ["--steps", "60", "--checkpoint-every", "10", "--device", "cpu"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = [sys.executable, "-m", "scripts.cli"]
    single = {"cwd": ROOT, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    process = subprocess.Popen(
        [*command, *words("trm-mini", sudokus, killed, *settings)],
        stderr=subprocess.DEVNULL,
        **single,
    )
    wait_for(killed / "checkpoints" / "step-00000020" / "manifest.json", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert read_jsonl_leniently(killed / "metrics.jsonl")[-1]["step"] < 60
    subprocess.run([*command, "train", "--resume", str(killed)], check=True, **single)
    subprocess.run([*command, *words("trm-mini", sudokus, whole, *settings)], check=True, **single)
    assert (whole / "metrics.jsonl").read_bytes() == (killed / "metrics.jsonl").read_bytes()
    for name in ("weights", "ema"):
        a, b = (
            load_file(run / "checkpoints" / "step-00000060" / f"{name}.safetensors")
            for run in (whole, killed)
        )
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])


def test_a_run_killed_before_its_first_checkpoint_resumes_from_its_beginning(
    sudokus, tmp_path, dies_at, capsys
):
    settings = ["--steps", "8", "--log-every", "2", "--checkpoint-every", "8", "--device", "cpu"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(words("trm-mini", sudokus, whole, *settings)) == 0
    with dies_at(Trainer, 5):
        main(words("trm-mini", sudokus, killed, *settings))
    assert [r["step"] for r in read_jsonl(killed / "metrics.jsonl")] == [2, 4]
    (killed / "environment.json").unlink()  # killed even earlier
    capsys.readouterr()
    assert main(["train", "--resume", str(killed)]) == 0
    assert "starts from step 0 again" in " ".join(capsys.readouterr().err.split())
    assert (killed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert (killed / "environment.json").exists()
    # A checkpoint that lost its manifest is no reason to start over.
    (killed / "checkpoints" / "step-00000008" / "manifest.json").unlink()
    refused(capsys, ["train", "--resume", killed], "has no manifest.json")
    assert (killed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_an_interrupt_saves_and_says_how_to_go_on(sudokus, tmp_path):
    run = tmp_path / "run"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "scripts.cli",
            *words("trm-mini", sudokus, run, "--steps", "100000", "--device", "cpu"),
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(run / "metrics.jsonl", process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in said
    step = json.loads(sorted(run.glob("checkpoints/*/manifest.json"))[-1].read_text())["step"]
    assert "saving after this step (Ctrl-C again: stop without)" in said
    log_every = json.loads((run / "config.json").read_text())["config"]["log_every"]
    assert 0 <= step - read_jsonl(run / "metrics.jsonl")[-1]["step"] < log_every


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() or not path.stat().st_size:
        assert process.poll() is None, "the process ended early"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def read_jsonl_leniently(path: Path) -> list[dict]:
    lines = path.read_text().splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def test_what_a_library_raises_is_shown_with_its_traceback(monkeypatch, capsys):
    def broken(words):
        return np.array([[1], [1, 2]])  # numpy's ValueError

    monkeypatch.setattr(preset_table, "main", broken)
    assert main(["presets"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("loopbench: setting an array element")


def test_identifiers_that_the_training_puzzles_lack_are_refused_before_training(
    sudokus, tmp_path, capsys
):
    train, test = (read_split(sudokus, split) for split in ("train", "test"))
    data = tmp_path / "data"
    write_dataset(data, train, replace(test, puzzle_ids=test.puzzle_ids + 1), Record("test", None))
    arguments = words("trm-mini", data, tmp_path / "run")
    refused(capsys, arguments, str(data), "2 puzzle identifiers")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["train", "compare", "evaluate-lm"])
def test_the_old_form_of_a_command_says_the_new_one_and_works(command, monkeypatch, capsys):
    old = f"scripts.{command.replace('-', '_')}"
    monkeypatch.setattr(sys, "argv", [f"{old}.py", "--nonesuch"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(old, run_name="__main__")
    assert ended.value.code == 2
    warned, refused = capsys.readouterr().err.splitlines()
    assert f"python -m scripts {command}" in warned
    assert main([command, "--nonesuch"]) == 2
    assert capsys.readouterr().err.splitlines() == [refused]
