"""A data set pushed and pulled, with a folder standing in for the hub."""

import json
import shutil

import numpy as np
import pytest
import yaml

from puzzles.dataset import read_split
from scripts.cli import main

hub_library = pytest.importorskip("huggingface_hub", reason="needs the extra `hub`")
NAME = "someone/small-sudokus"


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_data_set_comes_back_as_it_was_pushed_and_trains(sudokus, stand_in, tmp_path, capsys):
    own = shutil.copytree(sudokus, tmp_path / "own")
    (own / "notes.txt").write_text("mine alone")
    (own / "train" / "notes.json").write_text("mine alone")
    assert main(["data", "push", str(own), NAME]) == 0
    assert f"loopbench data pull {NAME} --out DIR" in capsys.readouterr().out
    for i, name in enumerate((NAME, f"hub:{NAME}")):
        out = tmp_path / f"pulled-{i}"
        assert main(["data", "pull", name, "--out", str(out)]) == 0
        assert contents(out) == contents(sudokus)
        assert not any(path.is_symlink() for path in out.rglob("*"))
    words = ["train", "--preset", "transformer-mini", "--data", str(out), "--steps", "1"]
    assert main([*words, "--device", "cpu", "--out", str(tmp_path / "run")]) == 0
    pushed = contents(stand_in / "dataset" / NAME)
    assert pushed.keys() == {"README.md", *contents(sudokus)}


def test_the_card_tells_what_is_in_it_and_what_made_it(sudokus, mazes, stand_in):
    assert main(["data", "push", str(sudokus), NAME]) == 0
    assert main(["data", "push", str(mazes), "someone/mazes"]) == 0
    text = (stand_in / "dataset" / NAME / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["size_categories"] == ["n<1K"]
    assert hub_library.DatasetCard(text).data.tags == ["loopbench", "sudoku"]
    hardest = read_split(sudokus, "test").difficulty
    low, median, high = np.quantile(hardest, [0.25, 0.5, 0.75])
    numbers = f"{hardest.mean():.2f} | {low:.2f}, {median:.2f}, {high:.2f} | {hardest.max():.2f}"
    assert f"| test | 20 | 20 | {numbers} |" in body
    rows = [line for line in body.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert len({row.count("|") for row in rows}) == 1
    shared = json.loads((sudokus / "loopbench.json").read_text())["overlap"]
    assert f"{shared['equivalent_puzzles']} that are equivalent" in body
    assert "`loopbench data sudoku`, seed 0, size 4, train 48, test 20, search_rounds 0." in body
    assert f"loopbench data pull {NAME} --out small-sudokus" in body
    assert "labels of test are the first" not in body  # a sudoku has one answer
    maze = (stand_in / "dataset" / "someone/mazes" / "README.md").read_text()
    assert "12 labels of test are the first of them" in maze


def test_what_is_not_right_is_neither_pushed_nor_kept(sudokus, stand_in, tmp_path, capsys):
    broken, out = shutil.copytree(sudokus, tmp_path / "broken"), tmp_path / "out"
    assert main(["data", "push", str(sudokus), NAME]) == 0

    def refused(said, *words):
        capsys.readouterr()
        assert main(["data", *words]) == 2
        told = capsys.readouterr().err
        assert said in told
        assert told.count("\n") == 1
        assert not out.exists()

    labels = np.load(broken / "test" / "all__labels.npy")
    labels[3, 0] = labels[3, 1]
    np.save(broken / "test" / "all__labels.npy", labels)
    refused("all__labels.npy", "push", str(broken), "someone/broken")
    assert not (stand_in / "dataset" / "someone/broken").exists()
    refused("user/name", "push", str(sudokus), "one")
    refused("no such repository", "pull", "no/one", "--out", str(out))
    refused("is not a data set", "pull", made_model(stand_in), "--out", str(out))
    record = stand_in / "dataset" / NAME / "loopbench.json"
    made = json.loads(record.read_text())
    record.write_text(json.dumps(made | {"kind": "absent.module:Puzzle"}))
    refused("of a kind of their own", "pull", NAME, "--out", str(out))
    record.write_text(json.dumps(made))
    shutil.copy(broken / "test" / "all__labels.npy", record.parent / "test")
    refused("all__labels.npy", "pull", NAME, "--out", str(out))
    capsys.readouterr()
    assert main(["data", "pull", NAME, "--out", str(sudokus)]) == 2
    assert "already exists" in capsys.readouterr().err


def made_model(stand_in):
    (stand_in / "dataset" / "someone" / "else").mkdir(parents=True)
    return "someone/else"


def test_a_name_of_the_hub_in_place_of_a_folder_is_told_how_to_fetch_it(tmp_path, capsys):
    words = ["train", "--preset", "trm-mini", "--data", f"hub:{NAME}", "--out", str(tmp_path / "x")]
    assert main(words) == 2
    assert f"`loopbench data pull {NAME} --out DIR`" in capsys.readouterr().err
