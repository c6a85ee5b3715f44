"""`--tensorboard` and `--wandb`: the run's own numbers, once each, resumed runs included."""

import json
import struct
import sys
import time

import numpy as np
import pytest

from reasoning.pretraining.build import TextFiles, build_corpus
from reasoning.pretraining.tokenizer import ByteTokenizer
from reasoning.records import log_histogram
from reasoning.training.loop import Trainer
from scripts.cli import main
from scripts.terminal import extras


def logged(run, kind="scalars"):
    """The points of the log: name to {step: value}, each step once."""
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="needs the extra `tensorboard`",
    )
    every = {"scalars": 0, "histograms": 0}  # else all but the last histogram is dropped
    read = event_accumulator.EventAccumulator(str(run / "tensorboard"), size_guidance=every)
    read.Reload()
    found = {}
    for name in read.Tags()[kind]:
        points = read.Scalars(name) if kind == "scalars" else read.Histograms(name)
        assert len({point.step for point in points}) == len(points)
        found[name] = {
            point.step: point.value if kind == "scalars" else point.histogram_value
            for point in points
        }
    return found


def sent(folder):
    """The points of an offline run of Weights & Biases, as in `logged`."""
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    until, records = time.monotonic() + 60, []
    # Its process may still be writing when the run has been finished.
    while not any(record.HasField("exit") for record in records):
        assert time.monotonic() < until, "the file has no end"
        records = list(wandb_records(path.read_bytes()))
    found = {}
    for record in records:
        items = {" ".join(item.nested_key): item.value_json for item in record.history.item}
        for name, value in items.items():
            found.setdefault(name, {})[json.loads(items["_step"])] = json.loads(value)
    return found


def wandb_records(content):
    """What is whole in such a file: a log in the form of LevelDB's, of protocol buffers."""
    from wandb.proto.wandb_internal_pb2 import Record

    at, whole = 7, b""
    while at + 7 <= len(content):
        if 2**15 - at % 2**15 < 7:  # too little of a block is left for a head
            at += 2**15 - at % 2**15
            continue
        _, length, part = struct.unpack_from("<IHB", content, at)
        at += 7
        if at + length > len(content):
            return
        whole += content[at : at + length]
        at += length
        if part in (1, 4):  # whole, or the last of several
            yield Record.FromString(whole)
            whole = b""


def read_lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_killed_and_resumed_run_logs_its_metrics_once_each(sudokus, tmp_path, dies_at):
    pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")
    run = tmp_path / "run"
    words = ["train", "--preset", "transformer-mini", "--data", str(sudokus), "--out", str(run)]
    words += ["--steps", "20", "--checkpoint-every", "5", "--evaluate-every", "10"]
    with dies_at(Trainer, 13):
        main([*words, "--device", "cpu", "--tensorboard"])
    assert main(["train", "--resume", str(run), "--tensorboard"]) == 0
    lines = read_lines(run)
    found = logged(run)
    for split, name, of in (
        ("train", "loss", lambda line: line["loss"]),
        ("test", "exact", lambda line: line["exact"]["mean"]),
    ):
        expected = {line["step"]: of(line) for line in lines if line["split"] == split}
        assert found[f"{split}/{name}"] == pytest.approx(expected)


def test_a_run_that_goes_on_without_it_is_told(sudokus, tmp_path, capsys):
    pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")
    run = tmp_path / "run"
    words = ["train", "--preset", "transformer-mini", "--data", str(sudokus), "--out", str(run)]
    assert main([*words, "--steps", "5", "--device", "cpu", "--tensorboard"]) == 0
    assert "warning" not in capsys.readouterr().err
    more = ["train", "--resume", str(run), "--steps", "10"]
    assert main(more) == 0
    assert f"{run}/tensorboard gets no events from here on" in capsys.readouterr().err
    assert max(logged(run)["train/loss"]) == 5


def test_the_residuals_of_held_out_puzzles_are_a_histogram_in_both(sudokus, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = tmp_path / "run"
    words = ["train", "--preset", "attractor-mini", "--data", str(sudokus), "--out", str(run)]
    words += ["--steps", "10", "--evaluate-every", "5", "--device", "cpu"]
    assert main([*words, "--tensorboard", "--wandb", "offline"]) == 0
    tests = {line["step"]: line for line in read_lines(run) if line["split"] == "test"}
    assert list(tests) == [5, 10]
    board, other = logged(run, "histograms"), sent(tmp_path)
    for step, line in tests.items():
        edges, counts = line["residual_log10"]["edges"], line["residual_log10"]["counts"]
        assert sum(counts) == line["exact"]["n"] == 20
        drawn = board["test/residual_log10"][step]
        assert (drawn.min, drawn.bucket_limit, drawn.bucket) == (edges[0], edges[1:], counts)
        drawn = [other[f"test/residual_log10 {part}"][step] for part in ("_type", "bins", "values")]
        assert drawn == ["histogram", edges, counts]
        assert other["test/exact"][step] == line["exact"]["mean"]


def test_a_language_runs_solver_is_told_in_both(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")
    monkeypatch.setenv("WANDB_SILENT", "true")
    text, corpus, run = tmp_path / "text.txt", tmp_path / "corpus", tmp_path / "run"
    text.write_text("\n\n".join(f"{i} is the point that is fixed, again" for i in range(200)))
    split = TextFiles([text], split_on="\n\n", held_out=0.2, shards=2)
    build_corpus(corpus, ByteTokenizer(), split)
    words = ["pretrain", "--preset", "attractor-mini", "--corpus", str(corpus), "--out", str(run)]
    words += ["--device", "cpu", "--context", "32", "--batch", "4", "--lanes", "2"]
    words += ["--validation.rows", "4", "--model.width", "16", "--model.head-width", "8"]
    words += ["--steps", "4", "--checkpoint-every", "2"]
    words += ["--log-every", "2", "--jacobian-every", "2"]
    assert main([*words, "--tensorboard", "--wandb", "offline"]) == 0
    lines = {line["step"]: line for line in read_lines(run) if line["split"] == "train"}
    board, other = logged(run), sent(tmp_path)
    told = ("evaluations", "evaluations_p95", "evaluations_executed", "residual", "residual_p95")
    for name in (*told, "jacobian_norm", "loss"):
        points = {step: line[name] for step, line in lines.items()}
        assert list(points) == [2, 4]
        assert board[f"train/{name}"] == pytest.approx(points)
        assert other[f"train/{name}"] == pytest.approx(points)
    assert not {"train/step", "test/step"} & (board.keys() | other.keys())  # it is the axis
    held_out = [line for line in read_lines(run) if line["split"] == "validation"]
    own, proposal = (
        next(v for v in held_out if v["max_evaluations"] == most) for most in (None, 0)
    )
    assert board["test/evaluations"][4] == pytest.approx(own["evaluations"])
    assert board["test/loss"][4] == pytest.approx(own["loss"])
    assert board["test/loss_at_0"][4] == pytest.approx(proposal["loss"])
    assert other["test/loss_at_0"][4] == pytest.approx(proposal["loss"])


def test_a_histogram_counts_by_halves_of_powers_of_ten():
    values = np.array([2e-3, 3e-3, 4e-3, 0.5, 0.0, 1e-12, np.inf, np.nan])
    found = log_histogram(values)
    counts, edges = np.histogram(np.log10([2e-3, 3e-3, 4e-3, 0.5, 1e-9, 1e-9]), found["edges"])
    assert found["counts"] == counts.tolist()
    assert edges[[0, -1]].tolist() == [-9.0, 0.0]
    assert set(np.diff(edges)) == {0.5}
    assert log_histogram(np.array([np.inf])) is None


def test_without_the_package_it_is_refused_before_a_step(sudokus, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    run = tmp_path / "run"
    words = ["train", "--preset", "transformer-mini", "--data", str(sudokus), "--out", str(run)]
    assert main([*words, "--steps", "5", "--device", "cpu", "--tensorboard"]) == 2
    assert "[tensorboard]'" in capsys.readouterr().err
    assert not run.exists()


def test_it_is_not_loaded_unless_asked(sudokus, tmp_path):
    sys.modules.pop("torch.utils.tensorboard", None)
    run = tmp_path / "run"
    words = ["train", "--preset", "transformer-mini", "--data", str(sudokus), "--out", str(run)]
    assert main([*words, "--steps", "5", "--device", "cpu"]) == 0
    assert "torch.utils.tensorboard" not in sys.modules
    assert not (run / "tensorboard").exists()
