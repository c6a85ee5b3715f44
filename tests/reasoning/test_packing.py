"""The stream of training rows: full, lossless, best fit, the same for any number of processes."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.pretraining import packing
from reasoning.pretraining.build import TextFiles, build_corpus
from reasoning.pretraining.corpus import CorpusError
from reasoning.pretraining.packing import TokenStream, validation_rows
from reasoning.pretraining.shards import Corpus
from reasoning.pretraining.tokenizer import ByteTokenizer


def write(folder: Path, lengths: list[int], shards: int) -> Corpus:
    """A corpus of random text documents of so many bytes."""
    rng = np.random.default_rng(len(lengths))
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", np.uint8)
    texts = [bytes(rng.choice(letters, length)).decode() for length in lengths]
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", texts), ("held", [*texts[:4], "held"])):
        lines = (json.dumps({"text": text}) for text in part)
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    files = TextFiles(
        [folder / "train.jsonl"], [folder / "held.jsonl"], held_out=None, shards=shards
    )
    build_corpus(folder / "corpus", ByteTokenizer(), files)
    return Corpus(folder / "corpus")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    rng = np.random.default_rng(0)
    return write(tmp_path_factory.mktemp("packing"), rng.integers(1, 200, 400).tolist(), shards=9)


def documents_of(corpus: Corpus, lane: int, lanes: int) -> list[list[int]]:
    documents = []
    for shard in corpus.shards("train")[lane::lanes]:
        tokens, offsets = corpus.read(shard)
        documents += [part.tolist() for part in np.split(tokens, offsets[1:-1])]
    return documents


def reference_rows(documents: list[list[int]], capacity: int, count: int, buffered: int):
    """The rule, with lists: best fit from a buffer, one document cropped when none fits."""
    waiting, buffer, rest, rows = list(documents), [], None, []
    order = {id(document): i for i, document in enumerate(documents)}
    for _ in range(count):
        row, rest = (rest[:capacity], rest[capacity:] or None) if rest else ([], None)
        while len(row) < capacity:
            if not buffer and not waiting:
                waiting = list(documents)
            while len(buffer) < buffered and waiting:
                buffer.append(waiting.pop(0))
            buffer.sort(key=lambda document: order[id(document)])
            room = capacity - len(row)
            fitting = [document for document in buffer if len(document) <= room]
            too_long = [document for document in buffer if len(document) > capacity]
            if fitting:
                chosen = max(fitting, key=len)  # the first of equals
            else:
                chosen = too_long[0] if too_long else min(buffer, key=len)
            buffer = [document for document in buffer if document is not chosen]
            row, rest = row + chosen[:room], chosen[room:] or None
        rows.append(row)
    return rows


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.sampled_from([8, 70]).flatmap(  # many of equal length, and many longer than a row
        lambda top: st.lists(st.integers(1, top), min_size=20, max_size=60)
    ),
    capacity=st.integers(2, 50),
    buffered=st.integers(1, 12),
)
def test_rows_equal_best_fit_by_brute_force(tmp_path_factory, lengths, capacity, buffered):
    corpus = write(tmp_path_factory.mktemp("fit"), lengths, shards=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "BUFFERED", buffered)
        stream = TokenStream(corpus, capacity - 1, batch=1, lanes=1)
        rows = np.concatenate([stream.next() for _ in range(60)])
    expected = reference_rows(documents_of(corpus, 0, 1), capacity, 60, buffered)
    assert rows.tolist() == expected


def split_at_bos(tokens: np.ndarray, bos: int) -> list[list[int]]:
    return [part.tolist() for part in np.split(tokens, np.flatnonzero(tokens == bos))[1:]]


@pytest.mark.parametrize("context", [7, 64, 500])
def test_an_epoch_gives_every_document_whole_and_once(corpus, context):
    """A rest follows its beginning, so a lane's rows in a line are whole documents in a line."""
    lanes, seen = 3, []
    for lane in range(lanes):
        documents = documents_of(corpus, lane, lanes)
        total = sum(map(len, documents))
        stream = TokenStream(corpus, context, lanes, lanes, rank=lane, world=lanes)
        rows = [stream.next() for _ in range(2 * total // (context + 1) + 1)]
        line = np.concatenate(rows).reshape(-1)
        assert stream.epoch >= 1
        for epoch in (line[:total], line[total : 2 * total]):
            assert sorted(split_at_bos(epoch, corpus.bos)) == sorted(documents)
        seen += documents
    assert sorted(seen) == sorted(documents_of(corpus, 0, 1))  # disjoint shards, all of them


def test_best_fit_leaves_most_documents_whole(tmp_path):
    lengths = np.random.default_rng(1).integers(1, 150, 1500).tolist()
    corpus = write(tmp_path, lengths, shards=1)
    stream = TokenStream(corpus, 299, batch=1, lanes=1)
    rows = np.concatenate([stream.next() for _ in range(100)])  # far from the buffer's end
    assert (rows[:, 0] == corpus.bos).mean() > 0.9  # cropped rows would begin without


def test_a_document_longer_than_the_buffer_of_rows_spans_them(tmp_path):
    corpus = write(tmp_path, [3_000_000], shards=1)
    documents = documents_of(corpus, 0, 1)
    stream = TokenStream(corpus, 2048, batch=8, lanes=1)
    count = sum(map(len, documents)) // (8 * 2049)
    line = np.concatenate([stream.next() for _ in range(count)]).reshape(-1)
    assert np.array_equal(line, np.concatenate(documents)[: len(line)])


def test_rows_are_int64_and_of_the_asked_shape(corpus):
    rows = TokenStream(corpus, 31, batch=8, lanes=4, rank=1, world=2).next()
    assert (rows.dtype, rows.shape) == (np.int64, (4, 32))


@pytest.mark.parametrize("world", [2, 4])
def test_the_batch_does_not_depend_on_the_number_of_processes(corpus, world):
    whole = TokenStream(corpus, 40, batch=8, lanes=4)
    parts = [TokenStream(corpus, 40, 8, 4, rank, world) for rank in range(world)]
    for _ in range(100):
        assert np.array_equal(whole.next(), np.concatenate([part.next() for part in parts]))
    assert whole.epoch == min(part.epoch for part in parts) >= 0


def test_it_goes_on_exactly_where_it_was_at_every_step(corpus):
    stream = TokenStream(corpus, 100, batch=6, lanes=3)
    for _ in range(150):
        state = json.loads(json.dumps(stream.state()))
        rows = stream.next()
        again = TokenStream(corpus, 100, batch=6, lanes=3)
        again.restore(state)
        assert np.array_equal(again.next(), rows)
        assert again.state() == stream.state()
    assert stream.epoch >= 1


def test_two_processes_go_on_from_the_position_of_one(corpus):
    whole = TokenStream(corpus, 50, batch=4, lanes=4)
    for _ in range(7):
        whole.next()
    states = whole.state()
    halves = [TokenStream(corpus, 50, 4, 4, rank, 2) for rank in range(2)]
    for rank, half in enumerate(halves):
        half.restore(states[2 * rank : 2 * rank + 2])
    for _ in range(30):
        assert np.array_equal(whole.next(), np.concatenate([half.next() for half in halves]))


def test_a_position_of_another_stream_is_refused(corpus, tmp_path):
    state = TokenStream(corpus, 50, 4, 4).state()
    with pytest.raises(CorpusError, match="of lanes 4, not 2"):
        TokenStream(corpus, 50, 4, 2).restore(state[:2])
    with pytest.raises(CorpusError, match="of lane 1, not 0"):
        TokenStream(corpus, 50, 4, 4).restore([state[1], *state[1:]])
    with pytest.raises(CorpusError, match="4 saved lanes for the 2 of this process"):
        TokenStream(corpus, 50, 4, 4, 0, 2).restore(state)
    other = write(tmp_path, [30] * 50, shards=4)
    with pytest.raises(CorpusError, match="of corpus"):
        TokenStream(other, 50, 4, 4).restore(state)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 5}, "5 rows does not divide among 4 lanes"),
        ({"world": 3}, "4 lanes do not divide among 3 processes"),
        ({"lanes": 16, "batch": 16}, "16 lanes need as many training shards, there are 9"),
        ({"context": 0}, "context is 0"),
        ({"rank": 2, "world": 2}, "rank 2"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(corpus, changes, words):
    with pytest.raises(ValueError, match=words):
        TokenStream(corpus, **{"context": 32, "batch": 8, "lanes": 4, **changes})


def test_validation_rows_are_fixed_full_and_whole(corpus):
    every = validation_rows(corpus, 15).tokens
    tokens = corpus.counts("validation").tokens
    assert every.shape == (tokens // 16, 16)
    assert every[0, 0] == corpus.bos
    found, _ = corpus.read(corpus.shards("validation")[0])
    spare = len(found) - every.size
    counts = np.bincount(found, minlength=257) - np.bincount(every.reshape(-1), minlength=257)
    assert (counts >= 0).all()
    assert counts.sum() == spare < 16
    with pytest.raises(CorpusError, match=f"{len(every) + 1} validation rows of 16 tokens"):
        validation_rows(corpus, 15, len(every) + 1)
    with pytest.raises(CorpusError, match=f"1 validation rows of {tokens + 1} tokens.*0 there"):
        validation_rows(corpus, tokens)


@pytest.mark.parametrize("count", [1, 2, 3, 7, None])
def test_few_validation_rows_are_evenly_spaced(corpus, count):
    every = validation_rows(corpus, 15)
    some = validation_rows(corpus, 15, count)
    n = len(every)
    wanted = n if count is None else count
    # The middle row of each of `wanted` equal parts: of one that is torn between two, the later.
    middles = [int((i + 0.5) * n / wanted) for i in range(wanted)]
    assert len(set(middles)) == len(some) == wanted
    for rows in ("tokens", "documents"):
        assert np.array_equal(getattr(some, rows), getattr(every, rows)[middles])


def test_validation_rows_tell_the_document_of_each_token(corpus):
    rows = validation_rows(corpus, 15)
    tokens, offsets = corpus.read(corpus.shards("validation")[0])
    documents = np.split(tokens, offsets[1:-1])
    seen = np.unique(rows.documents)
    for number in seen:  # no token is lost but at the end of the split
        own = rows.tokens[rows.documents == number]
        assert np.array_equal(own, documents[number][: len(own)])
    assert len(seen) >= len(documents) - 1 > 3


@pytest.mark.parametrize("split", ["train", "validation"])
def test_an_id_outside_the_vocabulary_is_told_by_its_file_and_place(tmp_path, split):
    corpus = write(tmp_path, [90] * 40, shards=4)
    shard = corpus.shards(split)[-1]
    path = corpus.folder / f"{shard.name}.tokens.npy"
    tokens = np.load(path)
    tokens[101] = 40_000
    np.save(path, tokens)
    again = Corpus(corpus.folder)

    def read() -> None:
        if split == "validation":
            validation_rows(again, 15)
        stream = TokenStream(again, 15, 4, 4)
        for _ in range(2 * shard.tokens // 16):
            stream.next()

    with pytest.raises(CorpusError, match=f"{path}: token 40000 at 101 .* of 257. Build the"):
        read()
