"""`loopbench generate`: what it prints, streams, reports and refuses."""

import codecs
import io
import sys
from types import SimpleNamespace

import pytest
import torch

from reasoning.pretraining.protocol import SolveBudget
from scripts.cli import main
from scripts.models.lm_models import build_language_model, language_model_config
from scripts.runs.generate import TextStream


class Bytes:
    """Token b is byte b, 256 the BOS."""

    vocabulary, bos = 257, 256

    def encode(self, texts):
        return [list(text.encode()) for text in texts]

    def decode(self, ids):
        return bytes(i for i in ids if i < 256).decode(errors="replace")


@pytest.fixture
def run(monkeypatch, tmp_path):
    """A run folder that opens as an untrained Attractor over bytes."""
    model = build_language_model(language_model_config("attractor-mini"), 257, seed=0).eval()
    opened = SimpleNamespace(model=model, tokenizer=Bytes())
    (tmp_path / "config.json").write_text("{}")

    def open_language_run(folder, device):
        assert folder == tmp_path
        return opened

    session = SimpleNamespace(open_language_run=open_language_run)
    monkeypatch.setitem(sys.modules, "scripts.runs.lm_session", session)
    return tmp_path, model


def expected(model, text, count):
    """Greedy continuation by the uncached model."""
    ids = [256, *text.encode()]
    with torch.no_grad():
        for _ in range(count):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return Bytes().decode(ids[1:])


def test_it_continues_the_prompt_and_reports(run, capsys):
    folder, model = run
    words = ["generate", str(folder), "--prompt", "ab", "--tokens", "5", "--temperature", "0"]
    assert main([*words, "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert said.out == expected(model, "ab", 5) + "\n"
    assert said.err.startswith("5 tokens in ")
    assert "tokens/s; evaluations per token: mean " in said.err


def test_seed_and_budget_matter(run, capsys):
    def said(*more):
        assert main(["generate", str(run[0]), "--tokens", "9", "--device", "cpu", *more]) == 0
        return capsys.readouterr()

    assert said("--seed", "4").out == said("--seed", "4").out != said("--seed", "5").out
    assert "mean 0.00, most 0" in said("--solver-evaluations", "0").err
    assert "mean 2.00, most 2" in said("--solver-evaluations", "2", "--cache", "solution").err


def stdin(monkeypatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


def test_standard_input_is_the_prompt_without_its_byte_order_mark(run, capsys, monkeypatch):
    said = []
    for data in ("né".encode(), codecs.BOM_UTF8 + "né".encode()):
        stdin(monkeypatch, data)
        words = ["generate", str(run[0]), "--prompt", "-", "--tokens", "3", "--device", "cpu"]
        assert main(words) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert said[0].startswith("né")


def test_prompts_that_are_no_text_are_refused_by_place(run, capsys, monkeypatch):
    stdin(monkeypatch, b"ab\xff")
    for prompt, place in (
        ("-", "standard input: invalid UTF-8 at byte 2"),
        ("ab\udcff", "--prompt: character 2"),
        ("\ud83d", "--prompt: character 0"),
    ):
        assert main(["generate", str(run[0]), "--prompt", prompt, "--device", "cpu"]) == 2
        error = capsys.readouterr().err
        assert place in error
        assert error.count("\n") == 1


def last_positions(model, text, count, budget):
    """(residual, converged) of the position each greedy token is read from, uncached."""
    ids, found = [256, *text.encode()], []
    with torch.no_grad():
        for _ in range(count):
            output = model(torch.tensor([ids]), budget)
            ids.append(int(output.logits[0, -1].argmax()))
            found.append([output.diagnostics[k][0, -1].item() for k in ("residual", "converged")])
    return zip(*found, strict=True)


def test_it_says_what_share_converged_and_what_to_do_about_the_others(run, capsys):
    folder, model = run
    words = ["generate", str(folder), "--prompt", "ab", "--tokens", "8", "--temperature", "0"]

    def said(*more):
        assert main([*words, "--device", "cpu", *more]) == 0
        return capsys.readouterr().err

    residuals, _ = last_positions(model, "ab", 8, SolveBudget(2, 1e-9))
    between = sorted(residuals)[4]  # some meet it within two evaluations, some do not
    _, converged = last_positions(model, "ab", 8, SolveBudget(2, between))
    assert 0 < sum(converged) < 8
    report = said("--solver-evaluations", "2", "--tolerance", str(between))
    assert f"; converged: {100 * sum(converged) / 8:.0f} % of tokens\n" in report
    assert f"\n{8 - sum(converged)} of 8 tokens ran out of evaluations" in report
    assert report.count("\n") == 2

    easy = said("--solver-evaluations", "2", "--tolerance", "1e9")
    assert easy.endswith("converged: 100 % of tokens\n")
    assert easy.count("\n") == 1
    assert "converged" not in said("--solver-evaluations", "0")  # the proposal, read out


@pytest.mark.parametrize("name", ["parcae-mini", "transformer-mini"])
def test_of_models_that_do_not_solve_it_says_nothing_of_convergence(name, run, capsys):
    model = build_language_model(language_model_config(name), 257, seed=0).eval()
    sys.modules["scripts.runs.lm_session"].open_language_run(run[0], None).model = model
    assert main(["generate", str(run[0]), "--tokens", "3", "--device", "cpu"]) == 0
    said = capsys.readouterr().err
    assert "converged" not in said
    assert ("evaluations" in said) == (name == "parcae-mini")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--tokens", "0"], "--tokens"),
        (["--tokens", "300"], "ask for at most 256"),
        (["--temperature", "-1"], "temperature"),
        (["--top-k", "0"], "--top-k"),
        (["--solver-evaluations", "-1"], "--solver-evaluations"),
        (["--tolerance", "0"], "--tolerance"),
        (["--cache", "none"], "cache"),
    ],
)
def test_bad_words_are_refused_in_one_line(run, capsys, words, told):
    assert main(["generate", str(run[0]), "--device", "cpu", *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_character_waits_for_all_its_bytes():
    text = "é→🙂!"
    stream = TextStream(Bytes().decode)
    shown = [stream.push(byte) for byte in text.encode()]
    assert shown == ["", "é", "", "", "→", "", "", "", "🙂", "!"]
    assert stream.finish() == ""
    broken = TextStream(Bytes().decode)
    assert [broken.push(byte) for byte in (0x61, 0xE2, 0x86)] == ["a", "", ""]
    assert broken.finish() == "\N{REPLACEMENT CHARACTER}"
    resumed = TextStream(Bytes().decode)
    assert "".join(map(resumed.push, (0xE2, 0x62, 0xC3, 0xA9))) == "\N{REPLACEMENT CHARACTER}bé"
