"""`loopbench evaluate-lm` on a small bundle and a model that is a fixed table."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from reasoning.pretraining.protocol import LMOutput
from reasoning.pretraining.tokenizer import ByteTokenizer
from scripts.cli import main

CORE = """icl_tasks:
- {label: choose, dataset_uri: ab/choose.jsonl, num_fewshot: [1], icl_task_type: multiple_choice}
- {label: lambada_openai, dataset_uri: ab/say.jsonl, num_fewshot: [0],
   icl_task_type: language_modeling}
"""
META = """Eval Task,Task Category,Task Type,#shots,Random baseline
choose,ab,multiple choice,1,50
lambada_openai,ab,language modeling,0,0
gone,ab,multiple choice,0,50
"""


class Leaning(nn.Module):
    """Prefers 'b' always, and the more so the more it may iterate."""

    vocabulary, context = 257, 64

    def forward(self, tokens, budget, seeds=None, cache=None):
        logits = torch.zeros(*tokens.shape, 257)
        evaluations = 2 if budget.max_evaluations is None else budget.max_evaluations
        logits[..., ord("b")] = 1.0 + evaluations
        shape = tokens.shape
        residual = torch.full(shape, float("inf") if evaluations == 0 else 0.5)
        spent = torch.full(shape, float(evaluations))
        return LMOutput(logits, {"evaluations": spent, "residual": residual})


class Bytes:
    bos, vocabulary, identity = 256, 257, "bytes"
    token_bytes = np.array([1] * 256 + [0])

    def encode(self, texts):
        return [list(text.encode()) for text in texts]


@pytest.fixture
def bundle(tmp_path) -> Path:
    folder = tmp_path / "bundle"
    data = folder / "eval_data" / "ab"
    data.mkdir(parents=True)
    (folder / "core.yaml").write_text(CORE)
    (folder / "eval_meta_data.csv").write_text(META)
    # 'b' is the answer to three items of four.
    asked = [{"query": "q", "choices": ["a", "b"], "gold": int(i % 4 > 0)} for i in range(8)]
    said = [{"context": "q", "continuation": "b"}, {"context": "q", "continuation": "a"}]
    for name, records in (("choose", asked), ("say", said)):
        (data / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    pretend_run(folder, monkeypatch, context=64)
    return folder


def pretend_run(folder: Path, monkeypatch, context: int, precision: str = "fp32") -> None:
    """Let every run be this folder's: rows of `context` tokens in training, a tolerance of 1e-3."""
    opened = SimpleNamespace(
        folder=folder,
        model=Leaning(),
        tokenizer=Bytes(),
        config=SimpleNamespace(
            context=context, precision=precision, model=SimpleNamespace(tolerance=lambda: 1e-3)
        ),
        step=7,
        corpus="that of its training",
    )
    session = SimpleNamespace(open_language_run=lambda run, device: opened)
    monkeypatch.setitem(sys.modules, "scripts.runs.lm_session", session)


def results(run):
    found = sorted(run.glob("evaluation-lm/*/results*.json"), key=lambda p: p.stat().st_mtime_ns)
    return json.loads(found[-1].read_text()), len(found)


def test_scores_a_run_and_records_what_made_them(run, bundle, capsys):
    words = ["evaluate-lm", str(run), "--bundle", str(bundle), "--device", "cpu"]
    assert main(words) == 0
    record, _ = results(run)
    choose, say = record["bundle"]["tasks"]
    assert (choose["accuracy"], choose["centered"]) == (0.75, 0.5)
    assert (say["n"], say["accuracy"]) == (2, 0.0)  # ' b': the space is not what it prefers
    assert record["bundle"]["core"]["score"] == pytest.approx(25.0)
    space = np.log(np.exp(3) + 256)
    mean = space + (space - 3 + space) / 2
    assert record["bundle"]["lambada"]["perplexity"] == pytest.approx(np.exp(mean), rel=1e-5)
    assert record["settings"]["step"] == 7
    assert record["settings"]["precision"] == "fp32"  # the run's
    assert record["settings"]["tokenizer"] == "bytes"
    assert set(record["settings"]["bundle"]) == {"core.yaml", "eval_meta_data.csv"}
    assert record["bundle"]["seeds"] == [1234]
    assert len(choose["sha256"]) == 64
    printed = capsys.readouterr().out
    assert "CORE: 25.00" in printed
    assert "75.0" in printed
    answers = list(run.glob("evaluation-lm/*/answers/*.json"))
    assert [path.name for path in sorted(answers)] == ["choose-1234.json", "lambada_openai-0.json"]


def test_what_another_call_asked_for_keeps_its_file(run, bundle, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Bytes, "identity", ByteTokenizer().identity)
    text = tmp_path / "text.txt"
    text.write_text("|".join(f"{i} a b b a" * 40 for i in range(60)))
    corpora = [tmp_path / "one", tmp_path / "two"]
    for corpus, part in zip(corpora, ("|", "b|"), strict=True):
        build = ["corpus", "build", str(text), "--split-on", part, "--held-out", "0.1"]
        assert main([*build, "--out", str(corpus)]) == 0
    scored = ["evaluate-lm", str(run), "--device", "cpu", "--bundle", str(bundle)]
    heard = ["evaluate-lm", str(run), "--device", "cpu", "--corpus"]
    calls = {
        "CORE": scored,
        "a limit": [*scored, "--limit", "1"],
        "another": [*scored, "--limit", "2"],
        "a task": [*scored, "--tasks", "choose"],
        "many tasks": [*scored, "--tasks", ",".join(["choose"] * 40)],
        "extended": [*scored, "--extended"],
        "seeds": [*scored, "--few-shot-seeds", "1", "2"],
        "text": [*heard, str(corpora[0])],
        "other text": [*heard, str(corpora[1])],
        "rows": [*heard, str(corpora[0]), "--rows", "2"],
    }
    written: dict[Path, bytes] = {}
    for name, words in calls.items():
        assert main(words) == 0
        files = set(run.glob("evaluation-lm/*/results*.json"))
        assert len(files - written.keys()) == 1, name
        assert all(path.read_bytes() == before for path, before in written.items()), name
        written |= {path: path.read_bytes() for path in files}
    capsys.readouterr()
    assert main([*scored, "--corpus", str(corpora[0])]) == 0  # both at once: the same two files
    said = capsys.readouterr().out
    assert said.count("results.json") == 2
    assert {
        path: path.read_bytes() for path in run.glob("evaluation-lm/*/results*.json")
    } == written
    names = sorted(path.name for path in written)
    assert names.count("results.json") == 3
    assert {"results-limit-1.json", "results-tasks-choose.json", "results-rows-2.json"} < set(names)


def test_another_budget_is_another_evaluation(run, bundle):
    words = ["evaluate-lm", str(run), "--bundle", str(bundle), "--tasks", "choose"]
    nats = []
    for budget in (["--solver-evaluations", "0"], ["--solver-evaluations", "3"]):
        assert main([*words, *budget]) == 0
        record, folders = results(run)
        nats.append(record["bundle"]["tasks"][0]["nats_per_token"])
        assert record["settings"]["max_evaluations"] == int(budget[1])
        assert record["bundle"]["core"] is None
    assert folders == 2
    # a quarter of the answers are 'a', the rest 'b'
    norms = [np.log(np.exp(1 + t) + 256) for t in (0, 3)]
    assert nats == pytest.approx([n - 0.75 * (1 + t) for n, t in zip(norms, (0, 3), strict=True)])


@pytest.mark.parametrize(
    ("precision", "more", "warned"),
    [
        ("bf16", "", "tolerance of 0.001"),
        ("bf16", "--tolerance 1e-4", "tolerance of 0.0001"),
        ("bf16", "--tolerance 0.01", ""),
        ("bf16", "--solver-evaluations 0", ""),
        ("fp32", "", ""),
    ],
)
def test_a_tolerance_finer_than_bf16_is_told(
    run, bundle, monkeypatch, capsys, precision, more, warned
):
    pretend_run(run, monkeypatch, 64, precision)
    words = f"evaluate-lm {run} --bundle {bundle} --device cpu {more}"
    assert main(words.split()) == 0
    printed = capsys.readouterr().out
    assert warned in printed
    assert ("warning" in printed) == bool(warned)


def test_sequences_are_as_long_as_in_training_at_most(run, bundle, monkeypatch):
    words = ["evaluate-lm", str(run), "--bundle", str(bundle)]
    cropped = {}
    for context in (64, 4):
        pretend_run(run, monkeypatch, context)
        assert main(words) == 0
        record, folders = results(run)
        assert record["settings"]["context"] == context
        cropped[context] = [task["cropped"] for task in record["bundle"]["tasks"]]
    assert folders == 2
    assert cropped == {64: [0, 0], 4: [8, 0]}


def test_a_missing_task_of_core_extended_is_listed(run, bundle, capsys):
    words = ["evaluate-lm", str(run), "--bundle", str(bundle), "--extended", "--limit", "1"]
    assert main(words) == 0
    record, _ = results(run)
    assert record["bundle"]["missing"] == {"gone": "no file eval_data/ab/gone.jsonl"}
    assert record["bundle"]["extended"]["stderr"] is None  # one item each
    assert "not scored: gone (no file eval_data/ab/gone.jsonl)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to score: give --bundle DIR, --corpus DIR or both"),
        (["--corpus", "x", "--extended"], "give --bundle DIR"),
        (["--corpus", "x", "--limit", "5"], "give --bundle DIR"),
        (["--corpus", "x", "--few-shot-seeds", "7"], "give --bundle DIR"),
        (["--bundle", "BUNDLE", "--rows", "5"], "give --corpus DIR"),
        (["--bundle", "nowhere"], "nowhere/core.yaml: missing"),
        (["--bundle", "BUNDLE", "--tasks", "chose"], "did you mean choose?"),
        (["--bundle", "BUNDLE", "--tasks", "gone"], "gone.jsonl: missing"),
        (["--bundle", "BUNDLE", "--limit", "-1"], "--limit: must be at least 0 (got -1)"),
        (["--bundle", "BUNDLE", "--solver-evaluations", "-2"], "--solver-evaluations: must be"),
        (["--bundle", "BUNDLE", "--tolerance", "nan"], "--tolerance: must be above 0"),
        (["--bundle", "BUNDLE", "--few-shot-seeds", "1", "1"], "all different"),
        (["--bundle", "BUNDLE", "--rows", "-1"], "--rows: must be at least 0"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(run, bundle, capsys, words, message):
    words = [str(bundle) if word == "BUNDLE" else word for word in words]
    assert main(["evaluate-lm", str(run), *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
