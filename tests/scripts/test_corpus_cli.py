"""`loopbench tokenizer` and `loopbench corpus` as a user types them."""

import json

import pytest

from scripts.cli import main

TEXT = "\n\n".join(
    f"Paragraph {i} tells of {i * 37 % 101} owls and {i % 7} rivers." for i in range(400)
)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def told(capsys) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_from_text_to_a_checked_corpus(tmp_path, text, capsys):
    made, out = str(tmp_path / "tok"), str(tmp_path / "corpus")
    split = ["--split-on", r"\n\n"]
    assert (
        main(["tokenizer", "train", str(text), *split, "--vocabulary", "300", "--out", made]) == 0
    )
    assert "│ vocabulary │ 300 │" in told(capsys)
    assert main(["corpus", "build", str(text), *split, "--tokenizer", made, "--out", out]) == 0
    shown = told(capsys)
    assert "400 documents read; 0 empty ones left out" in shown
    manifest = json.loads((tmp_path / "corpus" / "corpus.json").read_text())
    assert manifest["splits"]["validation"]["documents"] == 4
    assert manifest["plan"]["shards"]["train"] >= 8
    assert main(["corpus", "check", out]) == 0
    assert "every shard is right" in told(capsys)
    assert main(["tokenizer", "info", out, "--text", str(text), *split]) == 0
    tokens = sum(counts["tokens"] - counts["documents"] for counts in manifest["splits"].values())
    size = sum(counts["bytes"] for counts in manifest["splits"].values())
    assert f"{size:,} bytes, {tokens:,} tokens: {size / tokens:.3f} bytes per token" in told(capsys)


def test_parts_of_a_single_document_in_both_splits_are_told_of(tmp_path, text, capsys):
    words = ["corpus", "build", str(text), "--tokenizer", "bytes", "--out"]
    assert main([*words, str(tmp_path / "one")]) == 0
    assert "the text is one document, so parts of it are held out" in told(capsys)
    assert main([*words, str(tmp_path / "many"), "--split-on", r"\n\n"]) == 0
    assert "one document" not in told(capsys)


def test_without_a_tokenizer_it_takes_bytes_and_says_so(tmp_path, text, capsys):
    words = ["corpus", "build", str(text), "--split-on", r"\n\n", "--out"]
    assert main([*words, str(tmp_path / "default")]) == 0
    assert "tokenizer: bytes, as none was named" in told(capsys)
    assert main([*words, str(tmp_path / "named"), "--tokenizer", "bytes"]) == 0
    said = told(capsys)
    assert "tokenizer: bytes" in said
    assert "none was named" not in said
    made = [(tmp_path / name / "corpus.json").read_bytes() for name in ("default", "named")]
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tokenizer"], "tokenizer needs a command; there are train, info"),
        (["corpus", "make"], "no corpus command is called 'make'"),
        (["corpus", "build", "--tokenizer", "bytes", "--out", "{}/c"], "paths to read or --hub"),
        (
            ["corpus", "build", "{}/none.txt", "--tokenizer", "bytes", "--out", "{}/c"],
            "no such file",
        ),
        (
            ["corpus", "build", "{}/text.txt", "--tokenizer", "{}/t", "--out", "{}/c"],
            "cannot be read",
        ),
        (
            ["corpus", "build", "{}/text.txt", "--tokenizer=bytes", "--out={}/c", "--held-out=2"],
            "--held-out is 2.0",
        ),
        (
            ["corpus", "build", "{}/text.txt", "--out", "{}/c", "--split-on", "a\udcff"],
            "--split-on: character 1 is no text",
        ),
        (["corpus", "check", "{}"], "not a whole corpus"),
        (["tokenizer", "train", "--out", "{}/t"], "name files or folders"),
        (
            ["tokenizer", "train", "{}/text.txt", "--out", "{}/t", "--vocabulary", "99"],
            "256 to 65536",
        ),
        (["tokenizer", "train", "{}/text.txt", "--out", "{}/t"], "not 32768. Give more text"),
    ],
)
def test_bad_words_are_one_line(tmp_path, text, capsys, words, told):
    assert main([word.replace("{}", str(tmp_path)) for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("loopbench: ")
    assert error.count("\n") == 1
    assert told in error
    assert not (tmp_path / "c").exists()
    if "Give more text" not in told:
        assert not (tmp_path / "t").exists()
