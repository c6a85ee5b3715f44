"""What a command answers before there is work does not wait for torch, nor for numba."""

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

from puzzles.dataset import read_split
from scripts.cli import main
from scripts.commands import COMMANDS, data
from scripts.commands.reproduce import TABLES
from scripts.models.preset_sizes import describe_presets
from scripts.models.presets import preset
from scripts.terminal.choices import PRESETS_FILE

ROOT = Path(__file__).parent.parent.parent
# Runs commands in one fresh process; tells the exit code of each, and the first after which torch
# or numba had been loaded.
_RUN = """
import json, sys
from scripts.entry import main
codes = []
for words in json.loads(sys.argv[1]):
    try:
        codes.append(main(words))
    except SystemExit as end:
        codes.append(end.code)
    if set(sys.argv[2:]) & sys.modules.keys():
        break
print(json.dumps(codes), file=sys.stderr)
"""


def codes_without_torch(
    commands: list[list[str]], heavy: tuple[str, ...] = ("torch", "numba")
) -> list[int]:
    """Exit codes of commands, up to the one that loaded torch or numba: its code is the last."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN, json.dumps(commands), *heavy],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stderr.splitlines()[-1])


def test_help_and_version_do_without_torch():
    helped = ["evaluate", "solve", "package", "import-released", "bench", "evaluate-lm"]
    helped += ["generate", "presets", "data", "tokenizer", "corpus", "export", "push", "runs"]
    helped += ["completion", "claims", "tables", "record", "demo", "quickstart", "compare"]
    asked = [
        ["--help"],
        ["--version"],
        ["presets"],
        ["claims"],
        ["tables", "--check"],
        *([name, "--help"] for name in helped),
        ["reproduce", "--help"],
        *(["reproduce", name, "--help"] for name in ("table2", "real", "controls", "table1")),
    ]
    assert codes_without_torch(asked) == [0] * len(asked)


def test_refusals_do_without_torch(tmp_path):
    none, out = str(tmp_path / "none"), str(tmp_path / "out")
    language_run = tmp_path / "language"
    language_run.mkdir()
    (language_run / "config.json").write_text('{"tokenizer": "", "corpus": ""}')
    refusals = [
        ["trian"],
        ["quickstart", "--stps", "3"],
        ["quickstart", "--seeds", "0"],
        ["--helo"],
        ["evaluate", none, "--data", none],
        ["evaluate", none, "--data", none, "--segmints", "3"],
        ["compare", none],
        ["compare", "--presets", "trm-mini,trm-mini", "--data", str(tmp_path)],
        ["compare", "--presets", "trm-mini", "--data", none],
        ["compare", none, "--sed", "3"],
        ["solve", none, "1..."],
        ["solve", "--pretrained", "sudoku", "lists/one.csv"],
        ["solve", "--pretraind", "sudoku", "1..."],
        ["solve", "--pretrained", "nonesuch", "1..."],
        ["export", none, "--to", "torch"],
        ["export", none, "--to", "onx"],
        ["push", none, "user/name"],
        ["push", none, "name"],
        ["runs", none],
        ["runs", none, "--jason"],
        ["completion", "fish"],
        ["demo", none],
        ["demo", "--pretrained", "nonesuch"],
        ["demo", "--expot", out],
        ["demo", "--puzzle", "1..."],
        ["demo", "--export", str(tmp_path)],
        ["demo", "--breadth", "0"],
        ["presets", "trm-mini", "--tsk", "maze"],
        ["package", none, "--data", none],
        ["package", none, "--data", none, "--sgments", "3"],
        ["import-released", none, "--model", "trm", "--out", out],
        ["import-released", none, "--model", "trm", "--out", out, "--hads", "2"],
        ["bench", "--runs", none],
        ["bench", "--quik"],
        ["evaluate-lm", none, "--corpus", none],
        ["evaluate-lm", none, "--corpis", none],
        ["evaluate-lm", str(language_run), "--bundle", none],
        ["generate", none],
        ["generate", none, "--promt", "a"],
        ["presets", "--jason"],
        ["reproduce", "tabel2"],
        ["reproduce", "table2", "--out", out, "--maze", none],
        ["reproduce", "table2", "--out", out, "--scael", "mini"],
        ["reproduce", "real", "--task", "maze", "--out", out, "--data", none],
        ["reproduce", "real", "--task", "maze", "--out", out, "--data", none, "--for", "6x"],
        ["reproduce", "controls", "--out", out, "--data", none],
        ["reproduce", "controls", "--out", out, "--sed", "3"],
        ["reproduce", "table1", "--out", out, "--corpus", none],
        ["reproduce", "table1", "--out", out, "--bundle", none],
        ["reproduce", "table1", "--out", out, "--bundel", none],
        ["reproduce", "fig4", "--out", out, "--runs", none],
        ["train", "--preset", "trm-mini", "--data", none, "--out", out],
        ["train", "--config", none, "--out", out],
        ["train", "--resume", none],
        ["pretrain", "--preset", "attractor-mini", "--corpus", none, "--out", out],
        ["pretrain", "--config", none, "--corpus", none, "--out", out],
        ["pretrain", "--resume", none],
        ["data", "sudoku", "--out", out, "--trian", "3"],
        ["data", "check", none],
        ["tokenizer", "info", none],
        ["corpus", "check", none],
        ["corpus", "build", none, "--out", out],
        ["claims", "--run", "15"],
        ["claims", "--results", none],
        ["tables", none],
        ["record", none, "--name", "a"],
    ]
    assert codes_without_torch(refusals) == [2] * len(refusals)
    assert codes_without_torch([["data", "import", none, "--out", out]], ("torch",)) == [2]


def test_unknown_names_and_numbers_that_cannot_be_do_without_torch(sudokus, tmp_path):
    data, out = str(sudokus), str(tmp_path / "out")
    corpus, none = tmp_path / "corpus", str(tmp_path / "none.txt")
    corpus.mkdir()
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text('{"grid": {"kind": "sudoku"}}')
    compare = ["compare", "--data", data, "--out", out, "--presets"]
    table2 = ["reproduce", "table2", "--scale", "mini", "--out", out]
    real = ["reproduce", "real", "--task", "sudoku", "--data", data, "--out", out]
    text = ["--out", out, "--corpus", str(corpus)]
    refusals = [
        *([*compare, names] for names in ("nonesuch-mini", "trm-mini,nonesuch-mini", "trm-huge")),
        [*compare, "trm-mini", "--jobs", "0"],
        [*compare, "trm-mini", "--steps", "0"],
        [*compare, "trm-mini", "--hints", "99"],
        ["compare", str(run), "--hints", "1", "--out", out],
        ["compare", "--data", data, "--presets", "trm-mini", "--out", str(run)],
        ["compare", str(run), str(run), "--out", out],
        [*table2, "--only", "nonesuch"],
        [*table2, "--steps", "0"],
        [*table2, "--jobs", "0"],
        [*table2, "--maze", data],
        ["reproduce", "table2", "--scale", "mini", "--out", str(run)],
        *([*real, "--presets", names] for names in ("nonesuch-mini", "trm-mini,trm-mini", ",")),
        ["reproduce", "real", "--task", "maze", *real[4:], "--presets", "trm-mini"],
        *(
            ["reproduce", name, "--scale", "mini", "--out", out, *wrong]
            for name in ("controls", "layers", "layers-mlp", "gradients", "recipes")
            for wrong in (["--only", "nonesuch"], ["--also", "nonesuch"], ["--also", "trm-cpu"])
        ),
        *(
            ["reproduce", name, *text, *wrong]
            for name in ("table1", "table3", "table4", "table5", "table6", "fig6", "fig7")
            for wrong in (
                *(["--set", word] for word in ("nonesuch", "nonesuch=3", "model.nonesuch=3")),
                *(["--only", "nonesuch"], ["--sizes", "60m"], ["--jobs", "0"], ["--rows", "0"]),
                ["--scale", "full", "--sizes", "nonesuch"],
            )
        ),
        ["reproduce", "table1", "--out", out, "--text", none],
        ["reproduce", "table1", "--out", out],
        *(
            ["reproduce", "fig5", "--out", out, *wrong]
            for wrong in (
                ["--scale", "full", "--sizes", "nonesuch"],
                ["--scale", "full", "--sizes", "140m", "370m"],
                *(["--depths", "0"], ["--set", "nonesuch"], ["--set", "model.nonesuch=3"]),
            )
        ),
        ["bench", "--presets", "trm-mini", "nonesuch-mini"],
        ["bench", "--lm-presets", "nonesuch-mini"],
        ["bench", "--micro-batch", "0"],
        *(
            ["evaluate", str(run), "--data", data, *wrong]
            for wrong in (
                *([flag, "0"] for flag in ("--breadth", "--symmetries", "--segments", "--leave")),
                *(["--noise", "-1"], ["--seed", "-1"], ["--leave", "sometimes"]),
                *([flag, "inf"] for flag in ("--noise", "--leave", "--tolerance")),
            )
        ),
        ["train", "--preset", "trm-mini", "--data", data, "--out", str(run)],
        ["pretrain", "--preset", "deq-mini", "--corpus", str(corpus), "--out", str(run)],
        ["quickstart", "--out", out, "--size", "5"],
        ["quickstart", "--out", out, "--steps", "0"],
        ["quickstart", "--out", out, "--jobs", "0"],
    ]
    assert codes_without_torch(refusals) == [2] * len(refusals)
    assert not (tmp_path / "out").exists()


def test_what_a_runs_model_lacks_does_without_torch(sudokus, tmp_path):
    """Its config.json tells; there need be no weights."""
    puzzles = read_split(sudokus, "train")
    grid = {"kind": "sudoku", "size": puzzles.size, "cells": puzzles.seq_len}
    grid |= {"vocabulary": puzzles.vocab_size, "puzzles": puzzles.num_puzzle_ids}
    for name in ("trm", "attractor"):
        (tmp_path / name).mkdir()
        record = {"grid": grid, "config": preset(f"{name}-mini").model_dump(mode="json")}
        (tmp_path / name / "config.json").write_text(json.dumps(record))
    refusals = [
        ["evaluate", str(tmp_path / name), "--data", str(sudokus), *wrong]
        for name, wrong in (
            ("trm", ["--evaluations", "3"]),
            ("trm", ["--tolerance", "1e-4"]),
            ("trm", ["--leave", "converged"]),
            ("attractor", ["--leave", "converged", "--evaluations", "0"]),
            ("attractor", ["--leave", "claimed", "--segments", "1"]),
        )
    ]
    assert codes_without_torch(refusals) == [2] * len(refusals)


def test_a_wrong_choice_does_without_torch(capsys):
    """Of every option of every command that takes one of several words."""
    parts = {"reproduce": TABLES, "data": data.COMMANDS}
    programs = [[name, part] for name in parts for part in parts[name]]
    programs += [[name] for name in COMMANDS if name not in (*parts, "lm-eval")]
    wrong = []
    for words in programs:
        with contextlib.suppress(SystemExit):
            main([*words, "--help"])
        text = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
        flags = re.findall(r"(--[a-z][a-z.-]*) \[?\{\w[^}]*,", text)
        wrong += [[*words, flag, "nonesuch"] for flag in dict.fromkeys(flags)]
    assert {"evaluate", "compare", "solve", "generate", "bench"} <= {words[0] for words in wrong}
    assert codes_without_torch(wrong) == [2] * len(wrong)


def test_words_of_train_do_without_torch(sudokus, tmp_path):
    start = ["train", "--preset", "trm-mini", "--data", str(sudokus)]
    whole = [*start, "--out", str(tmp_path / "out")]
    models = ("attractor", "hrm", "transformer", "two-step", "attractor-reset")
    refusals = [
        ["train"],
        ["train", "--preset", "nonesuch-mini", "--out", str(tmp_path)],
        start,
        [*whole, "--nonsense", "3"],
        [*whole, "--steps", "many"],
        [*whole, "--steps", "0"],
        [*whole, "--optimizer.name", "sgd"],
        [*whole, "--optimizer.lr", "-1"],
        [*whole, "--batch", "4", "--micro-batch", "8"],
        [*whole, "--model.heads", "3"],
        [*whole, "--for", "2h", "--steps", "3"],
        [*whole, "--supervision.curriculum.0.evaluations", "3"],
        [*whole, "--preset", "attractor-mini", "--supervision.curriculum.0.cycles", "3"],
        [*whole, "--start", str(tmp_path / "none")],
        [*whole, "--wandb", "sometimes"],
        *([*whole, "--preset", f"{model}-mini", "--model.width", "0"] for model in models),
    ]
    assert codes_without_torch(refusals) == [2] * len(refusals)
    assert codes_without_torch([["train", "--help"]]) == [0]
    assert not (tmp_path / "out").exists()


def test_words_of_pretrain_do_without_torch(tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    start = ["pretrain", "--preset", "attractor-mini", "--corpus", str(corpus)]
    whole = [*start, "--out", str(tmp_path / "out")]
    models = ("attractor", "transformer", "transformer-plain", "parcae", "deq", "deq-tied")
    refusals = [
        ["pretrain"],
        ["pretrain", "--preset", "nonesuch-mini", "--out", str(tmp_path)],
        start,
        [*whole, "--nonsense", "3"],
        [*whole, "--steps", "many"],
        [*whole, "--optimizer.lr", "-1"],
        [*whole, "--batch", "4", "--micro-batch", "8"],
        [*whole, "--batch", "6"],
        [*whole, "--context", "512"],
        [*whole, "--checkpoint-every", "7"],
        [*whole, "--parallel", "sharded"],
        [*whole, "--model.gate.initial", "1"],
        [*whole, "--model.head-width", "3"],
        [*whole, "--model.injection", "initial", "--model.start", "zero"],
        [*whole, "--wandb", "sometimes"],
        *([*whole, "--preset", f"{model}-mini", "--model.width", "0"] for model in models),
        *([*whole, "--preset", f"{m}-mini", "--jacobian-every", "10"] for m in models[1:4]),
    ]
    assert codes_without_torch(refusals) == [2] * len(refusals)
    assert codes_without_torch([["pretrain", "--help"]]) == [0]
    assert not (tmp_path / "out").exists()


def test_the_check_itself_sees_torch(tmp_path):
    of_torch = ["train", "--preset", "torch.nn:Nonesuch-mini", "--out", str(tmp_path)]
    assert codes_without_torch([of_torch, ["--version"]]) == [2]


def test_the_presets_shown_are_those_that_are_built():
    shown = json.loads(PRESETS_FILE.read_text())
    assert shown == describe_presets(), "write it anew: python -m scripts.models.preset_sizes"
