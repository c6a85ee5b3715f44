"""`loopbench pretrain` end to end at toy size: what it writes and refuses, runs opened again."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from reasoning.pretraining.build import TextFiles, build_corpus
from reasoning.pretraining.flops import published_rule
from reasoning.pretraining.loop import Pretrainer
from reasoning.pretraining.packing import validation_rows
from reasoning.pretraining.shards import Corpus
from reasoning.pretraining.tokenizer import ByteTokenizer
from reasoning.pretraining.validation import validate
from reasoning.training.distribution import World
from reasoning.training.runs import read_jsonl
from scripts.cli import main
from scripts.models.lm_models import LANGUAGE_PRESETS, build_language_model
from scripts.models.lm_presets import (
    VOCABULARY,
    describe_language_preset,
    language_preset,
)
from scripts.runs.lm_session import open_language_run

TINY = "--steps 4 --context 32 --batch 4 --lanes 2 --log-every 2 --checkpoint-every 2"
SMALL = "--model.width 16 --model.head-width 8 --validation.rows 4 --jacobian-every 0"


def corpus_of(folder: Path, seed: int) -> Path:
    draw = random.Random(seed)
    words = ["loop", "solve", "point", "fixed", "again", "until"]
    texts = [" ".join(draw.choices(words, k=draw.randint(5, 60))) for _ in range(120)]
    folder.mkdir()
    (folder / "text.txt").write_text("\n\n".join(texts))
    files = TextFiles([folder / "text.txt"], split_on="\n\n", held_out=0.2, shards=2)
    build_corpus(folder / "corpus", ByteTokenizer(), files)
    return folder / "corpus"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return corpus_of(tmp_path_factory.mktemp("text") / "a", 0)


def words(preset: str, corpus: Path, out: Path, *more: str) -> list[str]:
    start = ["pretrain", "--preset", preset, "--corpus", str(corpus), "--out", str(out)]
    return [*start, "--device", "cpu", *TINY.split(), *SMALL.split(), *more]


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "attractor"
    assert main(words("attractor-mini", corpus, run, "--jacobian-every", "2")) == 0
    return run


def refused(capsys, arguments, *parts):
    assert main([str(a) for a in arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for part in parts:
        assert part in said


def test_a_run_records_losses_solves_and_both_flop_rules(trained):
    records = read_jsonl(trained / "metrics.jsonl")
    training = [r for r in records if r["split"] == "train"]
    assert [r["step"] for r in training] == [2, 4]
    for name in ("loss", "lr", "evaluations", "evaluations_p95", "residual", "residual_p95",
                 "converged", "proposal_norm", "displacement", "jacobian_norm",
                 "flops_published_rule", "flops_matmul_rule"):  # fmt: skip
        assert training[-1][name] > 0, name
    validation = [r for r in records if r["split"] == "validation"]
    assert [(r["step"], r["max_evaluations"]) for r in validation] == [(4, None), (4, 0)]
    config = json.loads((trained / "config.json").read_text())
    assert config["vocabulary"] == 257
    assert config["config"]["model"]["width"] == 16


def test_an_opened_run_is_the_model_that_was_validated(trained, corpus):
    run = open_language_run(trained, torch.device("cpu"))
    assert run.step == 4
    assert not run.model.training
    assert run.tokenizer.decode(run.tokenizer.encode(["loop"])[0]) == "loop"
    rows = validation_rows(Corpus(corpus), 32, 4)
    alone = World(0, 1, torch.device("cpu"))
    sizes = run.tokenizer.token_bytes
    seen = validate(run.model, rows, sizes, run.config.validation, alone)
    written = [r for r in read_jsonl(trained / "metrics.jsonl") if r["split"] == "validation"]
    for ours, theirs in zip(seen, written, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("preset", "more", "warned"),
    [
        ("attractor-mini", "--model.solver.tolerance 1e-4", True),
        ("attractor-mini", "--model.solver.tolerance 0.02", False),
        ("transformer-mini", "", False),
    ],
)
def test_a_tolerance_finer_than_bf16_is_told_and_recorded(
    preset, more, warned, corpus, tmp_path, capsys
):
    out = tmp_path / "run"
    assert main(words(preset, corpus, out, "--precision", "bf16", *more.split())) == 0
    assert ("above the solver's tolerance of 0.0001" in capsys.readouterr().err) == warned
    assert ("residual_in_bf16" in json.loads((out / "config.json").read_text())) == warned
    if preset == "attractor-mini":  # as it says: no token meets the one, all the other
        last = next(r for r in read_jsonl(out / "metrics.jsonl") if r["split"] == "validation")
        assert last["converged"] == (0 if warned else 1)
        assert not warned or 1e-4 < last["residual"] < 0.01


@pytest.mark.parametrize(
    "preset", ["transformer-mini", "transformer-looped-mini", "parcae-mini", "deq-mini"]
)
def test_every_model_trains(preset, corpus, tmp_path):
    out = tmp_path / "run"
    assert main(words(preset, corpus, out)) == 0
    losses = [r["loss"] for r in read_jsonl(out / "metrics.jsonl") if r["split"] == "train"]
    assert len(losses) == 2
    assert np.isfinite(losses).all()


def test_a_finished_run_resumes_to_nothing_and_only_on_its_own_corpus(
    trained, corpus, tmp_path, capsys
):
    before = (trained / "metrics.jsonl").read_bytes()
    assert main(["pretrain", "--resume", str(trained)]) == 0
    assert "is finished" in " ".join(capsys.readouterr().err.split())
    assert (trained / "metrics.jsonl").read_bytes() == before
    for flag, value in (("--seed", 0), ("--optimizer.lr", 2e-3)):  # the second is the preset's
        refused(capsys, ["pretrain", "--resume", trained, flag, value], "give it alone")
    other = corpus_of(tmp_path / "b", 1)
    config = json.loads((trained / "config.json").read_text())
    config["config"]["corpus"] = str(other)
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps(config))
    (run / "tokenizer.json").write_bytes((trained / "tokenizer.json").read_bytes())
    refused(capsys, ["pretrain", "--resume", run], str(other), "is not the corpus")


def test_a_finished_run_can_be_trained_longer(trained, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    before = (run / "metrics.jsonl").read_bytes()
    steps = json.loads((run / "config.json").read_text())["config"]["steps"]
    refused(capsys, ["pretrain", "--resume", run, "--steps", steps - 1], f"is at step {steps}")
    assert main(["pretrain", "--resume", str(run), "--steps", str(2 * steps)]) == 0
    record = json.loads((run / "config.json").read_text())
    change = {"at_step": steps, "steps_before": steps, "steps": 2 * steps}
    assert (record["config"]["steps"], record["extended"]) == (2 * steps, [change])
    assert (run / "metrics.jsonl").read_bytes().startswith(before)
    last = [r for r in read_jsonl(run / "metrics.jsonl") if r["split"] == "train"][-1]
    assert last["step"] == 2 * steps


def test_a_run_killed_before_its_first_checkpoint_resumes_from_its_beginning(
    corpus, tmp_path, dies_at, capsys
):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    late = ("--checkpoint-every", "4")
    assert main(words("transformer-mini", corpus, whole, *late)) == 0
    with dies_at(Pretrainer, 3):
        main(words("transformer-mini", corpus, killed, *late))
    assert [r["step"] for r in read_jsonl(killed / "metrics.jsonl")] == [2]
    for name in ("environment.json", "tokenizer.json"):
        (killed / name).unlink()  # killed even earlier
    capsys.readouterr()
    assert main(["pretrain", "--resume", str(killed)]) == 0
    assert "starts from step 0 again" in " ".join(capsys.readouterr().err.split())
    for name in ("metrics.jsonl", "tokenizer.json"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert (killed / "environment.json").exists()


def test_validation_text_of_one_document_has_no_standard_error(tmp_path, capsys):
    (tmp_path / "train.txt").write_text("one two three four " * 400)
    (tmp_path / "held.txt").write_text("two three one " * 40)
    words = ["corpus", "build", tmp_path / "train.txt", "--validation", tmp_path / "held.txt"]
    assert main([str(w) for w in (*words, "--shards", 4, "--out", tmp_path / "corpus")]) == 0
    words = ["pretrain", "--preset", "attractor-mini", "--corpus", tmp_path / "corpus"]
    words += ["--out", tmp_path / "run", "--steps", 1, "--context", 32, "--batch", 4]
    words += ["--validation.rows", 2, "--device", "cpu"]
    assert main([str(w) for w in words]) == 0
    line = read_jsonl(tmp_path / "run" / "metrics.jsonl")[-1]
    assert (line["split"], line["stderr"], line["documents"]) == ("validation", None, 1)
    assert main(["runs", str(tmp_path / "run")]) == 0
    asked = ["evaluate-lm", tmp_path / "run", "--corpus", tmp_path / "corpus", "--device", "cpu"]
    assert main([str(w) for w in asked]) == 0
    assert "of 1 document" in capsys.readouterr().out.replace("\n", " ")


def test_validation_rows_that_were_not_asked_for_are_those_there(tmp_path, capsys):
    (tmp_path / "text.txt").write_text("much text to learn from " * 99)
    for name, size in (("small", 19 * 33 + 5), ("tiny", 9)):
        (tmp_path / f"{name}.txt").write_text("x" * size)
        files = TextFiles([tmp_path / "text.txt"], [tmp_path / f"{name}.txt"], held_out=None)
        build_corpus(tmp_path / name, ByteTokenizer(), files)
    out = tmp_path / "run"
    start = words("transformer-mini", tmp_path / "small", out)
    at = start.index("--validation.rows")
    unasked = start[:at] + start[at + 2 :]
    refused(capsys, [*unasked, "--validation.rows", 64], "64 validation rows", "19 there")
    assert main(unasked) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("too little validation text for 64 rows of 33 tokens") == 1
    assert "held-out losses are over 19" in said
    record = json.loads((out / "config.json").read_text())["config"]
    assert record["validation"]["rows"] == 19
    scored = [r for r in read_jsonl(out / "metrics.jsonl") if r["split"] == "validation"]
    assert [r["rows"] for r in scored] == [19]
    assert main(["pretrain", "--resume", str(out)]) == 0
    tiny = [word.replace("small", "tiny") for word in unasked]
    tiny[tiny.index(str(out))] = str(tmp_path / "none")
    capsys.readouterr()
    refused(capsys, tiny, "validation rows of 33 tokens", "0 there")


def test_bad_input_is_one_line_before_any_step(trained, corpus, tmp_path, capsys):
    out = tmp_path / "run"
    start = ["pretrain", "--corpus", corpus, "--out", out]
    refused(capsys, start, "--preset", "`loopbench presets` lists all")
    refused(
        capsys, [*start, "--preset", "attractor-9b"], "attractor-9b", "did you mean attractor-60m?"
    )
    refused(capsys, ["pretrain", "--preset", "parcae-mini", "--out", out], "--corpus DIR")
    refused(capsys, words("deq-mini", tmp_path / "none", out), str(tmp_path / "none"))
    refused(capsys, words("deq-mini", corpus, trained), "already holds a run")
    refused(capsys, words("deq-mini", corpus, out, "--context", "999"), "longer than model.context")
    refused(capsys, words("deq-mini", corpus, out, "--lanes", "4"), "4 lanes", "--shards")
    refused(capsys, words("deq-mini", corpus, out, "--validation.rows", "999"), "999", "rows")
    refused(
        capsys, words("deq-mini", corpus, out, "--optimizer.muonlr", "1"), "--optimizer.muon-lr"
    )
    more = ("--jacobian-every", "2")
    refused(capsys, words("transformer-mini", corpus, out, *more), "jacobian_every", "set it to 0")
    refused(capsys, ["pretrain", "--resume", tmp_path], str(tmp_path))
    assert not out.exists()


# Presets


@pytest.mark.parametrize("name", list(LANGUAGE_PRESETS))
def test_every_preset_is_whole(name):
    config = language_preset(name)
    assert config.preset == name
    assert config.model.context >= config.context
    if not name.endswith("mini"):
        assert config.tokens_per_step == 524_288
        assert config.optimizer.clip == 1.0


def test_published_sizes_tokens_and_exaflops_come_together():
    """Figure 4, from the models themselves."""
    tokens = {"140m": 11.2e9, "370m": 29.6e9, "770m": 61.6e9}
    published = {
        "140m": (9.2, 15.2, 11.3),
        "370m": (71.5, 123.5, 92.9),
        "770m": (305.2, 545.8, 377.4),
    }
    for size, row in published.items():
        for family, exaflops in zip(("transformer", "parcae", "attractor"), row, strict=True):
            config = language_preset(f"{family}-{size}")
            assert config.steps * config.tokens_per_step == pytest.approx(tokens[size], rel=1e-4)
            with torch.device("meta"):
                cost = build_language_model(config.model, VOCABULARY, 0).cost()
            each = published_rule(cost, 2048, config.model.published_passes())
            assert round(each * tokens[size] / 1e18, 1) == exaflops


def test_a_preset_describes_itself():
    row = describe_language_preset("attractor-770m")
    assert row["parameters"] == 769_493_760
    assert (row["width"], row["layers"], row["core_layers"]) == (1280, 37, 2)
    assert "AdamW 0.005, Muon 0.006, 117,492 steps" in row["recipe"]
    assert language_preset("parcae-140m").model.gradient_passes().backward == 4
    # its own backward pass, and half of one for each of the adjoint solve's least six products
    assert language_preset("attractor-770m").model.gradient_passes().backward == 1 + 6 / 2
