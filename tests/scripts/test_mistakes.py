"""What careless hands give a command: refused in one line, before time is spent, nothing lost."""

import json
import os
import shutil
import socket

import pytest

from puzzles import sources
from puzzles.dataset import read_split, write_dataset
from reasoning.names import LARGEST_SEED
from reasoning.pretraining.generation import Sampling
from reasoning.pretraining.tokenizer import ByteTokenizer
from reasoning.training.runs import JsonLines, RunError, read_jsonl
from scripts.cli import main
from scripts.commands.solve import read_puzzle
from scripts.runs.recorded import load_config
from scripts.terminal import extras
from scripts.terminal.locks import held
from scripts.usage import UsageError, option_value


@pytest.fixture
def refused(capsys):
    def check(arguments, *parts):
        capsys.readouterr()
        assert main([str(a) for a in arguments]) == 2
        said = capsys.readouterr().err
        assert said.startswith("loopbench: ")
        assert said.count("\n") == 1
        for part in parts:
            assert part in said

    return check


def training(data, out, *more):
    words = ["train", "--preset", "trm-mini", "--data", str(data), "--out", str(out)]
    return [*words, "--steps", "1", "--device", "cpu", *more]


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_empty_word_is_no_path(refused, sudokus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["--out", ""], ["--out="]):
        refused([*training(sudokus, "run"), *words], "--out: is empty")
    refused(["corpus", "build", "", "--out", "corpus"], "an argument is empty")
    refused(["data", "sudoku", "--size", "4", "--out", ""], "--out: is empty")
    assert not list(tmp_path.iterdir())
    # Continuing from nothing is a wish: what is refused is the folder.
    refused(["generate", "none", "--prompt", ""], "none: no such folder")


def test_a_run_that_another_command_trains_is_left_to_it(refused, trained, sudokus, tmp_path):
    """Two at once would write into one another's logs."""
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    before = content(run)
    told = "another command trains this run; wait until it is done"
    with held(run):
        refused(["train", "--resume", run, "--steps", "40"], f"{run}: {told}")
    with held(tmp_path / "new"):
        refused(training(sudokus, tmp_path / "new"), told)
    assert content(run) == before
    assert not (tmp_path / "new").exists()


def test_of_an_option_given_twice_the_last_counts(refused, sudokus, mazes, tmp_path):
    assert option_value(["--a", "1", "--a=2"], "--a") == "2"
    refused(training(sudokus, tmp_path / "run", "--preset", "nonesuch"), "'nonesuch'")
    run = tmp_path / "maze"
    assert main(training(sudokus, run, "--data", str(mazes), "--evaluate-puzzles", "2")) == 0
    assert load_config(run)[1]["kind"] == "maze"


def test_a_run_is_not_written_into_a_folder_of_another_kind(refused, trained, sudokus, tmp_path):
    data, corpus = tmp_path / "data", tmp_path / "corpus"
    shutil.copytree(sudokus, data)
    ByteTokenizer().save(corpus)
    before = content(data) | content(corpus)
    released = tmp_path / "weights.pt"
    pretrain = ["pretrain", "--preset", "attractor-mini", "--corpus", corpus, "--out"]
    for command in (
        training(data, data),
        [*pretrain, data],
        ["import-released", released, "--model", "trm", "--out", data],
        ["compare", trained, "--data", data, "--out", data],
    ):
        refused(command, f"{data}: is a folder of puzzles; choose another --out")
    refused(training(data, corpus), f"{corpus}: is a tokenizer")
    refused([*pretrain, trained], f"{trained}: is a run on puzzles")
    refused(["compare", trained, "--out", trained], f"{trained}: is a run on puzzles")
    assert content(data) | content(corpus) == before
    assert len(read_split(data, "train")) == 48


def test_a_seed_that_no_generator_takes_is_refused(refused, trained, sudokus, tmp_path):
    out, seed = tmp_path / "run", LARGEST_SEED + 1
    refused(training(sudokus, out, "--seed", str(seed)), "--seed", "less than or equal")
    pretrain = ["pretrain", "--preset", "attractor-mini", "--corpus", tmp_path, "--out", out]
    refused([*pretrain, "--seed", seed], "--seed", "less than or equal")
    refused(["evaluate", trained, "--data", sudokus, "--seed", seed], "seed", "less than or equal")
    with pytest.raises(ValueError, match="seed must be"):
        Sampling(seed=seed)
    assert not out.exists()
    Sampling(seed=LARGEST_SEED)
    largest = training(sudokus, out, "--seed", str(LARGEST_SEED), "--evaluate-puzzles", "2")
    assert main(largest) == 0


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("kind", "chess", "kind"),
        ("size", 5, "size 5"),
        ("size", 9, "81 cells"),
        ("cells", -1, "16 cells"),
        ("vocabulary", 99, "vocabulary of 6"),
        ("puzzles", 0, "puzzles"),
    ],
)
def test_a_grid_edited_by_hand_is_refused_with_its_file(
    name, value, said, refused, trained, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    record = json.loads((run / "config.json").read_text())
    record["grid"][name] = value
    (run / "config.json").write_text(json.dumps(record))
    before = content(run)
    for command in (["solve", run, "." * 16], ["train", "--resume", run, "--steps", "21"]):
        refused(command, f"{run}/config.json: grid: ", said)
    assert content(run) == before


def test_a_setting_that_is_missing_is_told_without_the_others(refused, trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    record = json.loads((run / "config.json").read_text())
    del record["config"]["model"]
    (run / "config.json").write_text(json.dumps(record))
    refused(["solve", run, "." * 16], f"{run}/config.json: --model: Field required\n")


def test_a_puzzle_comes_from_a_pipe_and_not_from_a_folder(refused, trained, sudokus):
    refused(["solve", trained, sudokus], f"{sudokus}: is a folder")
    read, write = os.pipe()
    os.write(write, b"1234\n")
    os.close(write)
    assert read_puzzle(f"/dev/fd/{read}") == "1234\n"
    os.close(read)


def test_package_refuses_before_it_scores(refused, trained, sudokus, tmp_path, monkeypatch):
    monkeypatch.setattr("scripts.runs.evaluate.evaluate_run", None)
    command = ["package", trained, "--data", sudokus]
    refused([*command, "--out", tmp_path, "--segments", "0"], "--segments: must be at least 1")
    (tmp_path / "file").touch()
    refused([*command, "--out", tmp_path / "file"], f"{tmp_path}/file: cannot be written")


def test_a_tokenizer_is_refused_before_it_learns(refused, tmp_path, monkeypatch):
    monkeypatch.setattr("scripts.commands.tokenizer.train_bpe", None)
    text = tmp_path / "a.txt"
    text.write_text("one two\n")
    command = ["tokenizer", "train", text, "--vocabulary", "257", "--out"]
    refused([*command, text], f"{text}: cannot be written")
    refused([*command, tmp_path / "tok", "--limit-mb", "nan"], "--limit-mb")
    assert not (tmp_path / "tok").exists()


@pytest.mark.parametrize("hashes", [None, [], "x"])
def test_a_manifest_of_another_shape_is_refused(hashes, refused, trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    manifest = sorted(run.glob("checkpoints/*/manifest.json"))[-1]
    for text in ({"step": 20, "sha256": hashes}, {"step": "20", "sha256": {}}):
        manifest.write_text(json.dumps(text))
        refused(["solve", run, "." * 16], f"{manifest}: not readable", f"delete {manifest.parent}")
    manifest.unlink()
    refused(["solve", run, "." * 16], f"{manifest.parent}: has no manifest.json", "delete")


@pytest.mark.parametrize("line", [b"garbage", b"[1]", b'{"a": 1}', b'{"step": "3"}', b"\xff\xfe"])
def test_a_log_damaged_in_its_middle_loses_nothing(line, trained, tmp_path):
    log = tmp_path / "metrics.jsonl"
    lines = (trained / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    damaged = b"".join([lines[0], line + b"\n", *lines[1:]])
    log.write_bytes(damaged)
    for use in (read_jsonl, lambda path: JsonLines(path, 20)):
        with pytest.raises(RunError, match=rf"{log}: line 2 is no record \(.*delete that line"):
            use(log)
    assert log.read_bytes() == damaged
    log.write_bytes(b"".join(lines) + line)  # as a kill leaves it: no line's end
    JsonLines(log, 20).close()
    assert log.read_bytes() == b"".join(lines)


def test_data_that_could_not_be_written_is_not_generated(refused, tmp_path, monkeypatch):
    monkeypatch.setattr("puzzles.sources.sudoku", None)
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "data", "/proc/none/data"):
        refused(["data", "sudoku", "--size", "4", "--out", out], f"{out}: cannot be written")


def test_a_value_of_no_allowed_type_is_told_shortly(refused):
    words = ["solve", "none", "." * 16, "--segments", "1e9"]
    refused(words, "parsing --segments: '1e9' is no whole number (see loopbench solve --help)")


def test_puzzles_exchanged_under_a_run_are_noticed(refused, tmp_path):
    """Of the same kind and size, so that only their content tells."""
    data, run, words = tmp_path / "data", tmp_path / "run", ["--steps", "4", "--device", "cpu"]
    write_dataset(data, *sources.sudoku(4, train=20, test=4, seed=0))
    train = ["train", "--preset", "attractor-mini", "--data", str(data), "--out", str(run)]
    assert main([*train, *words]) == 0
    shutil.rmtree(data)
    write_dataset(data, *sources.sudoku(4, train=20, test=4, seed=1))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    resume = ["train", "--resume", run, "--steps", "8"]
    refused(resume, f"{data}: holds other puzzles than those that {run} was trained on", "new run")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    shutil.rmtree(data)
    write_dataset(data, *sources.sudoku(4, train=20, test=4, seed=0))
    assert main(["train", "--resume", str(run), "--steps", "8"]) == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("export nowhere --to onnx", "nowhere: no such folder"),
        (
            "export empty --to onnx",
            "empty: is not a run's folder (no config.json); `loopbench train`",
        ),
        ("demo empty", "empty: is not a run's folder"),
        ("demo --pretrained hub:noname", "noname: is not the name of a repository"),
        ("solve --pretrained hub:noname ....", "noname: is not the name of a repository"),
        ("push empty user/name", "empty: is not a run's folder"),
        ("data push nowhere user/name", "nowhere: no such folder"),
        ("data pull noname --out new", "noname: is not the name of a repository"),
        ("train --resume nowhere --tensorboard", "nowhere: no such folder"),
        ("pretrain --resume nowhere --tensorboard", "nowhere: no such folder"),
    ],
)
def test_a_mistake_is_told_before_a_missing_package(refused, tmp_path, monkeypatch, words, says):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    refused(words.split(), says)


def test_a_missing_package_is_installed_as_the_rest_was(tmp_path, monkeypatch):
    def said(clone):
        monkeypatch.setattr(extras, "_CLONE", clone)
        with pytest.raises(UsageError) as refusal:
            extras.need("it", "demo", "no_such_package_is_there")
        return str(refusal.value)

    monkeypatch.chdir(tmp_path)
    assert said(tmp_path).endswith("bring: pip install 'loopbench[demo]'")  # as from a wheel
    (tmp_path / "pyproject.toml").touch()
    assert said(tmp_path).endswith("bring: pip install -e '.[demo]'")
    monkeypatch.chdir("/")
    assert said(tmp_path).endswith(f"bring: pip install -e '{tmp_path}[demo]'")


def test_a_port_that_is_taken_and_a_host_elsewhere_are_told_at_once(refused, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: name)
    monkeypatch.setattr("scripts.runs.opened.open_models", None)  # nothing is opened before
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(["demo", "--port", port], f"--port: 127.0.0.1:{port}: ", "give another, or none")
    refused(["demo", "--host", "192.0.2.1"], "--host: 192.0.2.1: ", "an address of this machine")


def test_a_page_of_more_than_it_shows_is_refused_before_it_is_solved(refused, tmp_path):
    out = tmp_path / "solve.html"
    words = ["demo", "--pretrained", "sudoku", "--export", out]
    for more in (["--segments", "65"], ["--breadth", "4", "--symmetries", "5"]):
        refused([*words, *more], "at most 64 segments, and 16 starts times images")
    assert not out.exists()


def test_a_depth_that_a_model_does_not_read_is_refused(sudokus, tmp_path, refused):
    out = tmp_path / "out"
    for model, field in (
        ("trm", "evaluations"),
        ("attractor", "cycles"),
        ("hrm", "evaluations"),
    ):
        option = f"--supervision.curriculum.0.{field}"
        words = ["train", "--preset", f"{model}-mini", "--data", sudokus, "--out", out, option, 3]
        refused(words, f"{option}: {model} has no {field}; leave it out")
    assert not out.exists()
