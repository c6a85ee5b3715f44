"""The `loopbench data` commands as tyro calls them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tyro

from puzzles.check import check_dataset
from puzzles.dataset import read_split
from puzzles.errors import DataError
from puzzles.sudoku import generator, rules
from scripts.cli import main
from scripts.commands.data import COMMANDS

SHARED = os.environ.get("LOOPBENCH_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="LOOPBENCH_SHARED is not set")


def run(command: str, *args: object) -> None:
    tyro.cli(COMMANDS[command], args=[str(arg) for arg in args])


def write_csv(path: Path, rows: int, size: int = 6) -> Path:
    pairs = zip(*generator.generate(rows, size, seed=0), strict=True)
    lines = [f"{rules.format_grid(p)},{rules.format_grid(s)}" for p, s in pairs]
    path.write_text("\n".join(["question,answer", *lines]) + "\n")
    return path


def test_sudoku_writes_a_folder_that_checks(tmp_path, capsys):
    out = tmp_path / "set"
    run("sudoku", "--size", 4, "--train", 30, "--test", 10, "--seed", 3, "--out", out)
    assert "train" in capsys.readouterr().out
    assert (len(read_split(out, "train")), len(read_split(out, "test"))) == (30, 10)
    record = json.loads((out / "loopbench.json").read_text())
    assert (record["command"], record["seed"], record["options"]["size"]) == ("sudoku", 3, 4)
    run("check", out)
    assert "every row is right" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("options", [("--kind", "hard"), ("--kind", "unique", "--openings", 0.05)])
def test_maze_writes_a_folder_that_checks(tmp_path, options, capsys):
    out = tmp_path / "set"
    run("maze", *options, "--size", 9, "--train", 6, "--test", 3, "--seed", 1, "--out", out)
    run("check", out)
    assert "first shortest path" in capsys.readouterr().out
    report = check_dataset(out)
    assert report.first_paths == report.puzzles == {"train": 6, "test": 3}


def test_import_reads_a_path(tmp_path):
    path, out = write_csv(tmp_path / "a.csv", 30), tmp_path / "set"
    run("import", path, "--out", out, "--test", 10, "--subsample", 15, "--seed", 2)
    report = check_dataset(out)
    assert report.puzzles == {"train": 15, "test": 10}


def test_a_file_of_test_puzzles_is_imported_to_evaluate_on(tmp_path, capsys):
    path, out = write_csv(tmp_path / "a.csv", 8), tmp_path / "set"
    assert main(["data", "import", str(path), "--out", str(out), "--test", "all"]) == 0
    assert len(read_split(out, "test")) == 8
    assert main(["data", "check", str(out)]) == 0
    capsys.readouterr()
    train = ["train", "--preset", "trm-mini", "--data", str(out), "--out", str(tmp_path / "run")]
    assert main(train) == 2
    said = capsys.readouterr().err
    assert f"{out}/train: holds no puzzles" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()
    for words in (["--test", "al"], []):
        assert main(["data", "import", str(path), "--out", str(tmp_path / "b"), *words]) == 2
    assert "--test all" in capsys.readouterr().err


def test_import_builds_a_held_out_mix(tmp_path):
    path = write_csv(tmp_path / "a.csv", 8, size=9)
    hard, out = write_csv(tmp_path / "hard.csv", 30, size=9), tmp_path / "set"
    run("import", path, "--out", out, "--test", 8, "--test-hard", hard)
    record = json.loads((out / "loopbench.json").read_text())
    assert record["composition"]["test"] == {"hard": 6, "random": 2, "seventeen": 0}
    assert record["overlap"]["solution_grids"] == 0
    assert check_dataset(out).puzzles == {"train": 8, "test": 8}


def test_the_same_command_gives_the_same_bytes(tmp_path):
    for name in "ab":
        run("sudoku", "--size", 6, "--train", 20, "--test", 5, "--out", tmp_path / name)
    first, second = ((tmp_path / name / "loopbench.json").read_bytes() for name in "ab")
    assert first == second  # it holds the hash of every array


def test_an_existing_folder_is_refused_before_the_work(tmp_path):
    out = tmp_path / "set"
    out.mkdir()
    (out / "mine").touch()
    for command, args in (
        ("sudoku", ("--train", 10**9)),
        ("maze", ("--train", 10**9)),
        ("import", (tmp_path / "nowhere.csv",)),
    ):
        with pytest.raises(DataError, match="already exists"):
            run(command, *args, "--out", out)


@pytest.mark.parametrize(
    ("command", "args", "reason"),
    [
        ("import", (), "name either a path"),
        ("import", ("a.csv", "--hub", "maze-hard"), "name either a path"),
        ("import", ("--hub", "sudoku-extreme", "--test-hard", "a.csv"), "leave the test lists out"),
        ("import", ("nowhere.csv", "--test", 5), "no such file or folder"),
        ("sudoku", ("--train", 0), "train is 0"),
        ("maze", ("--kind", "unique", "--min-path", 9), "min_path belongs to"),
    ],
)
def test_bad_arguments_write_nothing(tmp_path, command, args, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        run(command, *args, "--out", tmp_path / "set")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_check_fails_at_a_wrong_row(tmp_path):
    out = tmp_path / "set"
    run("sudoku", "--size", 4, "--train", 30, "--test", 10, "--out", out)
    labels = np.load(out / "train" / "all__labels.npy")
    labels[7] = labels[7][::-1]
    np.save(out / "train" / "all__labels.npy", labels)
    with pytest.raises(DataError, match="sha256"):
        run("check", out)
    (out / "loopbench.json").unlink()
    with pytest.raises(DataError, match=r"row 7 \(from 0\)"):
        run("check", out)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_flag_is_explained(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(command, "--help")
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert COMMANDS[command].__doc__.split("\n")[0].split(":")[0][:30] in text
    flags = [line for line in text.splitlines() if line.strip(" │").startswith("--")]
    assert flags or command == "check"


@needs_shared
def test_the_published_thousand_with_a_held_out_mix(tmp_path):
    data, out = Path(SHARED) / "data", tmp_path / "set"
    lists = data / "sudoku-lists"
    hard, seventeen = lists / "hardest_1106.csv.gz", lists / "17_clue.csv.gz"
    table = data / "sudoku-extreme-1k" / "train1k.csv"
    mix = ("--test-hard", hard, lists / "top1465.csv.gz", "--test-seventeen", seventeen)
    run("import", table, "--out", out, "--test", 400, *mix)
    record = json.loads((out / "loopbench.json").read_text())
    assert record["composition"]["test"] == {"hard": 292, "random": 100, "seventeen": 8}
    assert (record["overlap"]["solution_grids"], len(read_split(out, "train"))) == (0, 1000)
