"""Tokenizers: exact round trips, raw byte counts, and BPE against one written out by hand."""

import codecs
import copy
import json
import pickle
import random
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, models
from tokenizers import Tokenizer as LibraryTokenizer

from reasoning.pretraining import tokenizer as tokenizer_module
from reasoning.pretraining.tokenizer import (
    BOS,
    BPETokenizer,
    ByteTokenizer,
    TokenizerError,
    load_tokenizer,
    train_bpe,
)

SAMPLE = [
    f"The {animal} who'd {verb} in 19{i:02d} couldn't {verb} 12345x — naïve café №{i}, 日本語!\n"
    for i in range(50)
    for animal in ("badger", "heron", "otter")
    for verb in ("wander", "whistle", "remember")
]
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.fixture(scope="module")
def bpe() -> BPETokenizer:
    return train_bpe(SAMPLE, 360)


@pytest.fixture(scope="module", params=["bytes", "bpe"])
def tokenizer(request, bpe):
    return ByteTokenizer() if request.param == "bytes" else bpe


@given(texts=st.lists(text | st.sampled_from([*SAMPLE, "<|bos|>", "a<|bos|>b"]), max_size=5))
def test_text_comes_back_and_every_byte_is_counted(tokenizer, texts):
    encoded = tokenizer.encode(texts)
    for original, ids in zip(texts, encoded, strict=True):
        assert tokenizer.decode(ids) == original
        assert tokenizer.token_bytes[ids].sum() == len(original.encode())
        assert all(0 <= token < tokenizer.bos for token in ids)


def test_ids_end_with_bos_which_is_no_text(tokenizer):
    assert tokenizer.bos == tokenizer.vocabulary - 1
    assert tokenizer.token_bytes.shape == (tokenizer.vocabulary,)
    assert tokenizer.token_bytes[tokenizer.bos] == 0
    assert (tokenizer.token_bytes[: tokenizer.bos] > 0).all()
    (ids,) = tokenizer.encode(["word"])
    assert tokenizer.decode([tokenizer.bos, *ids]) == "word"


def test_a_token_that_is_no_utf8_counts_its_own_bytes(tokenizer):
    (ids,) = tokenizer.encode(["\U0001f9a6"])  # 4 bytes that no merge joins
    assert tokenizer.token_bytes[ids].tolist() == [1, 1, 1, 1]
    assert b"".join(map(tokenizer.piece, ids)) == "\U0001f9a6".encode()
    assert tokenizer.decode(ids[:2]) == "\ufffd"


def test_saved_and_loaded_it_is_the_same(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "made")
    for place in (tmp_path / "made", tmp_path / "made" / "tokenizer.json"):
        again = load_tokenizer(place)
        assert type(again) is type(tokenizer)
        assert again.identity == tokenizer.identity
        assert again.encode(SAMPLE) == tokenizer.encode(SAMPLE)
    assert load_tokenizer("bytes").identity == ByteTokenizer().identity


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))],
    ids=["copied", "copied deep", "pickled"],
)
def test_copies_keep_bos_out_of_text(tokenizer, again):
    """The library's own copies take the name of BOS in a text for BOS."""
    made = again(tokenizer)
    (ids,) = made.encode(["a<|bos|>b"])
    assert [ids] == tokenizer.encode(["a<|bos|>b"])
    assert made.bos not in ids
    assert b"".join(map(made.piece, ids)) == b"a<|bos|>b"
    assert made.identity == tokenizer.identity


def test_a_byte_order_mark_is_no_part_of_a_tokenizer(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert load_tokenizer(path).identity == tokenizer.identity


def reference_bpe(word: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """Merge the pair learnt first, everywhere from the left, until no learnt pair is left."""
    parts = list(word)
    while len(parts) > 1:
        rank, place = min(
            (ranks.get(pair, len(ranks)), i) for i, pair in enumerate(pairwise(parts))
        )
        if rank == len(ranks):
            return parts
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts


@settings(max_examples=50)
@given(sample=st.lists(st.sampled_from(" ".join(SAMPLE[:40]).split(" ")), max_size=8).map(" ".join))
def test_bpe_equals_one_written_out(bpe, sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bpe")
    bpe.save(folder)
    written = json.loads((folder / "tokenizer.json").read_text())["model"]
    ranks = {tuple(pair): rank for rank, pair in enumerate(written["merges"])}
    library = LibraryTokenizer.from_file(str(folder / "tokenizer.json"))
    words = [word for word, _ in library.pre_tokenizer.pre_tokenize_str(sample)]
    expected = [written["vocab"][part] for word in words for part in reference_bpe(word, ranks)]
    assert bpe.encode([sample]) == [expected]
    assert library.encode(sample, add_special_tokens=False).ids == expected


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ("I'LL pay 12345", ["I", "'LL", " pay", " ", "12", "34", "5"]),
        ("don't  stop", ["don", "'t", " ", " stop"]),
        ("a\n\n b !!\nc", ["a", "\n\n", " b", " !!\n", "c"]),
        ("(x)y, ", ["(x", ")y", ",", " "]),
    ],
)
def test_text_is_split_as_gpt4_splits_it(bpe, tmp_path, sample, words):
    bpe.save(tmp_path)
    library = LibraryTokenizer.from_file(str(tmp_path / "tokenizer.json"))
    found = library.pre_tokenizer.pre_tokenize_str(sample)
    assert [sample[start:end] for _, (start, end) in found] == words


def test_the_smallest_vocabulary_holds_every_text():
    smallest = train_bpe(["only ascii"], 256)
    assert smallest.vocabulary == 256
    everything = "".join(map(chr, [*range(0x800), 0xFFFF, 0x10FFFF]))
    assert smallest.decode(smallest.encode([everything])[0]) == everything


def test_training_gives_the_same_file_in_another_process(bpe):
    code = (
        "import sys; from reasoning.pretraining.tokenizer import train_bpe; "
        "print(train_bpe(sys.stdin.read().split('\\0'), 360).identity)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input="\0".join(SAMPLE), text=True, capture_output=True
    )
    assert done.stdout.strip() == bpe.identity, done.stderr


def test_a_long_unbroken_word_is_learnt_in_pieces_and_encoded_whole(bpe, monkeypatch):
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefgh", range(1, 9), k=60_000)), " \n" * 30_000]
    begun = time.process_time()
    made = train_bpe([*words, *SAMPLE], 360)
    assert time.process_time() - begun < 5  # whole it took the square: half a minute
    word = words[0][:700]
    merges = json.loads(made._text)["model"]["merges"]
    vocabulary = json.loads(made._text)["model"]["vocab"]
    ranks = {tuple(pair): rank for rank, pair in enumerate(merges)}
    assert made.encode([word]) == [[vocabulary[part] for part in reference_bpe(word, ranks)]]
    # Nothing else changes for it.
    monkeypatch.setattr(tokenizer_module, "MAX_LEARNT", 100_000)
    assert train_bpe(SAMPLE, 360).identity == bpe.identity


@pytest.mark.parametrize("vocabulary", [255, 65537])
def test_a_vocabulary_out_of_range_is_refused(vocabulary):
    with pytest.raises(ValueError, match="256 to 65536"):
        train_bpe(SAMPLE, vocabulary)


def test_too_little_text_is_refused():
    with pytest.raises(TokenizerError, match=r"gives 2\d\d tokens, not 300"):
        train_bpe(["abab"], 300)


def test_files_that_are_no_tokenizer_are_refused(tmp_path):
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: cannot be read"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerError, match="not a tokenizer's file"):
        load_tokenizer(tmp_path)
    library = LibraryTokenizer.from_str(train_bpe(["x"], 256)._text)
    library.add_special_tokens(["<|end|>"])
    library.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(TokenizerError, match="expected the last of 257"):
        load_tokenizer(tmp_path)
    for model, message in (
        (models.WordLevel({"a": 0, "\u2581the": 1}, "a"), "its tokens are not bytes"),
        (models.WordLevel({"a": 0, "b": 2}, "a"), "its tokens are not bytes"),
        (models.BPE(), "has no token for byte 0"),
    ):
        library = LibraryTokenizer(model)
        library.add_special_tokens([AddedToken(BOS, special=True)])
        library.save(str(tmp_path / "tokenizer.json"))
        with pytest.raises(TokenizerError, match=message):
            load_tokenizer(tmp_path)


def test_identity_tells_tokenizers_apart(bpe):
    others = [ByteTokenizer(), train_bpe(SAMPLE, 361), train_bpe(SAMPLE[1:] * 2, 360)]
    assert len({bpe.identity, *(other.identity for other in others)}) == 4
    assert np.array_equal(bpe.token_bytes, train_bpe(SAMPLE, 360).token_bytes)
