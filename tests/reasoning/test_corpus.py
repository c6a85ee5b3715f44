"""Readers of text, and token shards: what goes in is what lies there, however often broken off."""

import codecs
import gzip
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.pretraining import build, corpus
from reasoning.pretraining.build import TextFiles, build_corpus, cut_document
from reasoning.pretraining.corpus import CorpusError, read_documents, source_files
from reasoning.pretraining.packing import TokenStream
from reasoning.pretraining.shards import Corpus, check_corpus, token_type, write_shard
from reasoning.pretraining.tokenizer import ByteTokenizer, train_bpe

TEXTS = [f"Document {i} — naïve, 日本語.\nIts {'long ' * (i % 7)}end." for i in range(300)]
SEPARATOR = "\n<end>\n"


def zipped(data: bytes) -> bytes:
    """gzip without the time: test names made of it are the same in every process."""
    return gzip.compress(data, mtime=0)


def write_texts(path: Path, texts: list[str]) -> Path:
    """The texts in the format that the file's name says."""
    kind = path.name.removesuffix(".gz").rsplit(".", 1)[-1]
    if kind == "parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), sink, row_group_size=70)
        data = sink.getvalue().to_pybytes()
    elif kind in ("jsonl", "json"):
        data = "\n\n".join(json.dumps({"text": text, "n": 1}) for text in texts).encode()
    else:
        data = SEPARATOR.join(texts).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zipped(data) if path.name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.json", "a.txt", "enwik8"])
@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("block", [5, 1 << 24])
def test_every_format_gives_the_documents(tmp_path, name, packed, block, monkeypatch):
    monkeypatch.setattr(corpus, "_BLOCK", block)
    path = write_texts(tmp_path / (name + packed), TEXTS)
    assert list(read_documents(path, SEPARATOR)) == TEXTS


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.txt", "enwik8"])
@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("split_on", [SEPARATOR, None])
def test_a_byte_order_mark_at_the_beginning_is_dropped(tmp_path, name, packed, split_on):
    """One there, but not one inside the text; the place of bad bytes counts it."""
    texts = ["\ufeff", "é\ufeffe"] if name.startswith("a.js") else ["first", "é\ufeffe"]
    path = write_texts(tmp_path / name, texts)
    wanted = list(read_documents(path, split_on))
    marked = codecs.BOM_UTF8 + path.read_bytes()
    path = tmp_path / (name + packed)
    path.write_bytes(zipped(marked) if packed else marked)
    assert list(read_documents(path, split_on)) == wanted
    path.write_bytes(zipped(codecs.BOM_UTF8 + b"ab\xff") if packed else marked[:3] + b"ab\xff")
    with pytest.raises(CorpusError, match="invalid UTF-8 at byte 5"):
        list(read_documents(path, split_on))


WORDS = ["one", "naïve 日本語", "one", "", "a word too long for a view's twelve bytes"]


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.uint32(), pa.large_string()),
    ],
    ids=str,
)
def test_every_parquet_type_of_text_reads(tmp_path, kind):
    """As pandas and polars write text: views, and categories as dictionaries."""
    table = pa.table({"text": pa.array(WORDS).cast(kind)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    written = pq.read_schema(tmp_path / "a.parquet").field("text").type  # its indices may widen
    assert type(written) is type(kind)
    assert list(read_documents(tmp_path / "a.parquet")) == WORDS
    missing = pa.table({"text": pa.array(["a", None]).cast(kind)})
    pq.write_table(missing, tmp_path / "b.parquet")
    with pytest.raises(CorpusError, match="row 2: the text is missing"):
        list(read_documents(tmp_path / "b.parquet"))


def test_a_plain_file_is_one_document_unless_it_is_parted(tmp_path):
    path = write_texts(tmp_path / "a.txt", TEXTS)
    assert list(read_documents(path)) == [SEPARATOR.join(TEXTS)]


def test_a_folder_stands_for_the_texts_below_it(tmp_path):
    for name in ("b/x.jsonl", "a.parquet", "b/a.txt.gz", "notes.md", "b/c.json", "b/c.json.bak"):
        write_texts(tmp_path / name, TEXTS[:2])
    names = [path.relative_to(tmp_path).as_posix() for path in source_files([tmp_path])]
    assert names == ["a.parquet", "b/a.txt.gz", "b/x.jsonl"]
    assert source_files([tmp_path / "notes.md"]) == [tmp_path / "notes.md"]


def bad_parquet(**columns) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


GOOD_LINE = b'{"text": "fine"}\n'
INVALID = pa.StringArray.from_buffers(1, pa.py_buffer(np.int32([0, 3])), pa.py_buffer(b"ab\xff"))


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.txt", b"good \xc3\xa9 \xff bad", "invalid UTF-8 at byte 8"),
        ("a.txt.gz", zipped(bytes(range(256)) * 99)[:-20], "gzip file is cut short"),
        ("a.jsonl.gz", b"no gzip at all", "damaged gzip"),
        (
            "a.jsonl",
            GOOD_LINE + b'{"text": "a\xff"}',
            f"invalid UTF-8 at byte {len(GOOD_LINE) + 11}",
        ),
        ("a.jsonl", GOOD_LINE + b"\n{'text': 1}", "line 3: not JSON"),
        ("a.jsonl", GOOD_LINE + b'{"texts": "a"}', 'line 2: no field "text"'),
        ("a.jsonl", b'["text"]', 'line 1: no field "text"'),
        ("a.json", b'{\n "text": "a"\n}', r"line 1: not JSON .* \.json file is read as JSON lines"),
        ("a.json.gz", zipped(b'[{"text": "a"}]'), r'no field "text".* as JSON lines'),
        ("a.jsonl", b'{"text": null}', 'line 1: "text" is null, not a string'),
        (
            "a.jsonl",
            b'{"text": "ab\\ud800"}',
            "line 1: character 2 of the text is a lone surrogate",
        ),
        ("a.parquet", bad_parquet(words=["a"]), 'no column "text" among words'),
        ("a.parquet", bad_parquet(text=[1]), 'column "text" holds int64'),
        (
            "a.parquet",
            bad_parquet(text=pa.array([1, 1]).dictionary_encode()),
            'column "text" holds (dictionary<values=)?int64',
        ),
        ("a.parquet", bad_parquet(text=["a", None]), "row 2: the text is missing"),
        ("a.parquet", bad_parquet(text=INVALID), "row 1: invalid UTF-8 at byte 2"),
        (
            "a.parquet",
            bad_parquet(text=INVALID.dictionary_encode()),
            "row 1: invalid UTF-8 at byte 2",
        ),
        ("a.parquet", bad_parquet(text=["a"])[:-9], "damaged parquet"),
    ],
)
def test_bad_text_is_refused_by_file_and_place(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CorpusError, match=words) as caught:
        list(read_documents(tmp_path / name))
    assert str(caught.value).startswith(str(tmp_path / name))


def test_missing_and_empty_places_are_refused(tmp_path):
    with pytest.raises(CorpusError, match="no such file"):
        source_files([tmp_path / "nowhere"])
    with pytest.raises(CorpusError, match="no text below this folder"):
        source_files([tmp_path])


def test_the_hub_offline_is_one_clear_error(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")

    def offline(*args, **kwargs):
        raise hub.errors.LocalEntryNotFoundError("outgoing traffic has been disabled")

    monkeypatch.setattr(hub, "snapshot_download", offline)
    with pytest.raises(CorpusError, match=r"fineweb-edu: cannot be downloaded.*sample/10BT"):
        corpus.download_hub_sample()
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CorpusError, match="pip install huggingface_hub"):
        corpus.download_hub_sample()


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(4, 60))
def test_cut_parts_are_the_text(text, cut):
    parts = list(cut_document(text, cut))
    assert "".join(parts) == text
    assert len(parts) == max(1, -(-len(text.encode()) // cut))
    assert max(len(part.encode()) for part in parts) <= cut + 3


# ------------------------------------------------------------------------------------- the build


def documents_of(folder: Path, split: str) -> list[str]:
    opened = Corpus(folder)
    found = []
    for shard in opened.shards(split):
        tokens, offsets = opened.read(shard)
        found += [opened.tokenizer.decode(d) for d in np.split(tokens, offsets[1:-1])]
    return found


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def source(tmp_path) -> Path:
    return write_texts(tmp_path / "texts.jsonl", [*TEXTS, "", " \n"])


@pytest.mark.parametrize("kind", ["bytes", "bpe"])
def test_a_corpus_holds_every_document_once(tmp_path, source, kind):
    tokenizer = ByteTokenizer() if kind == "bytes" else train_bpe(TEXTS, 300)
    manifest = build_corpus(tmp_path / "c", tokenizer, TextFiles([source], held_out=0.1, shards=12))
    train, held = (documents_of(tmp_path / "c", split) for split in ("train", "validation"))
    assert [text for text in TEXTS if text not in held] == train
    assert [text for text in TEXTS if text in held] == held
    assert (len(held), manifest.plan.shards["train"]) == (30, 12)
    assert (manifest.plan.documents, manifest.plan.empty_documents) == (300, 2)
    for split, texts in (("train", train), ("validation", held)):
        counts = manifest.splits[split]
        ids = tokenizer.encode(texts)
        assert counts.bytes == sum(len(text.encode()) for text in texts)
        assert counts.tokens == sum(map(len, ids)) + len(texts)
    sizes = [shard.bytes for shard in manifest.shards if shard.split == "train"]
    assert max(sizes) < 1.5 * min(sizes)
    assert check_corpus(tmp_path / "c") == manifest


def test_validation_files_are_the_validation_split(tmp_path, source):
    held = write_texts(tmp_path / "held.parquet", ["one", "two"])
    build_corpus(tmp_path / "c", ByteTokenizer(), TextFiles([source], [held], held_out=None))
    assert documents_of(tmp_path / "c", "validation") == ["one", "two"]
    assert documents_of(tmp_path / "c", "train") == TEXTS


def test_ordinary_documents_stay_whole(tmp_path):
    rng = np.random.default_rng(0)
    texts = ["".join(map(chr, rng.integers(97, 123, n))) for n in rng.integers(20, 7600, 150)]
    source = write_texts(tmp_path / "texts.jsonl", texts)
    manifest = build_corpus(tmp_path / "c", ByteTokenizer(), TextFiles([source]))
    found = [documents_of(tmp_path / "c", split) for split in ("train", "validation")]
    assert sorted(found[0] + found[1]) == sorted(texts)
    assert (manifest.plan.cut_documents, manifest.plan.shards["train"]) == (0, 64)


def test_one_long_document_gives_shards_for_many_lanes(tmp_path):
    text = "".join(chr(0x3042 + i % 80) for i in range(1_000_000))  # 3 MB
    source = tmp_path / "book.txt"
    source.write_text(text)
    manifest = build_corpus(tmp_path / "c", ByteTokenizer(), TextFiles([source]))
    assert manifest.plan.documents == manifest.plan.cut_documents == 1
    assert manifest.plan.shards["train"] == 64
    parts = documents_of(tmp_path / "c", "train") + documents_of(tmp_path / "c", "validation")
    assert sum(map(len, parts)) == len(text)
    assert TokenStream(Corpus(tmp_path / "c"), 2048, 8, 8).next().shape == (8, 2049)


class Dying(ByteTokenizer):
    """Breaks off in its n-th batch."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.left = batches

    def encode(self, texts):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().encode(texts)


def test_a_build_broken_off_anywhere_ends_with_the_same_bytes(tmp_path, source, monkeypatch):
    monkeypatch.setattr(build, "_BATCH_BYTES", 1500)
    files = TextFiles([source], shards=6)
    build_corpus(tmp_path / "whole", ByteTokenizer(), files)
    expected = files_of(tmp_path / "whole")
    for batches in range(9):
        folder = tmp_path / str(batches)
        for _ in range(2):  # broken off twice, then done
            with pytest.raises(KeyboardInterrupt):
                build_corpus(folder, Dying(batches), files)
        with pytest.raises(CorpusError, match="not a whole corpus"):
            Corpus(folder)
        build_corpus(folder, ByteTokenizer(), files)
        assert files_of(folder) == expected


def test_a_build_broken_off_before_its_tokenizer_is_written_goes_on(tmp_path, source):
    class Unsaved(ByteTokenizer):
        def save(self, folder):
            raise KeyboardInterrupt

    folder = tmp_path / "corpus"
    with pytest.raises(KeyboardInterrupt):
        build_corpus(folder, Unsaved(), TextFiles([source]))
    build_corpus(folder, ByteTokenizer(), TextFiles([source]))
    build_corpus(tmp_path / "whole", ByteTokenizer(), TextFiles([source]))
    assert files_of(folder) == files_of(tmp_path / "whole")


KILLED = """
import os, signal, sys
from pathlib import Path
from reasoning.pretraining import build
from reasoning.pretraining.tokenizer import ByteTokenizer

class Killed(ByteTokenizer):
    left = 4
    def encode(self, texts):
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(texts)

build._BATCH_BYTES = 2500
files = build.TextFiles([Path(sys.argv[1])], shards=6)
build.build_corpus(Path(sys.argv[2]), Killed(), files)
"""


def test_a_killed_build_skips_the_shards_that_are_whole(tmp_path, source, monkeypatch):
    done = subprocess.run([sys.executable, "-c", KILLED, str(source), str(tmp_path / "c")])
    assert done.returncode == -signal.SIGKILL
    whole = {path: os.stat(path).st_ino for path in (tmp_path / "c").glob("train-*.npy")}
    assert 0 < len(whole) < 12
    damaged = sorted(whole)[0]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\7")  # a shard is trusted by its hash only
    files = TextFiles([source], shards=6)
    build_corpus(tmp_path / "c", ByteTokenizer(), files)
    build_corpus(tmp_path / "d", ByteTokenizer(), files)
    assert files_of(tmp_path / "c") == files_of(tmp_path / "d")
    rebuilt = [path for path, inode in whole.items() if os.stat(path).st_ino != inode]
    assert {path.name[:11] for path in rebuilt} == {damaged.name[:11]}


def test_a_build_that_is_done_is_left_alone_and_another_refused(tmp_path, source):
    files = TextFiles([source], shards=4)
    made = build_corpus(tmp_path / "c", ByteTokenizer(), files)
    assert build_corpus(tmp_path / "c", ByteTokenizer(), files) == made
    with pytest.raises(CorpusError, match="holds another corpus"):
        build_corpus(tmp_path / "c", ByteTokenizer(), TextFiles([source], shards=5))
    with pytest.raises(KeyboardInterrupt):
        build_corpus(tmp_path / "d", Dying(0), files)
    with pytest.raises(CorpusError, match="build of other texts or options was broken off"):
        build_corpus(tmp_path / "d", train_bpe(TEXTS, 300), files)
    with pytest.raises(CorpusError, match="holds other files"):
        build_corpus(tmp_path, ByteTokenizer(), files)


def test_building_again_repairs_what_is_damaged(tmp_path, source):
    files = TextFiles([source], shards=4)
    folder, told = tmp_path / "c", []
    build_corpus(folder, ByteTokenizer(), files)
    before, inodes = files_of(folder), {p.name: p.stat().st_ino for p in folder.iterdir()}
    cut, gone = folder / "train-00002.tokens.npy", folder / "validation-00000.offsets.npy"
    cut.write_bytes(cut.read_bytes()[:-100])
    gone.unlink()
    (folder / "tokenizer.json").write_text("{}")
    build_corpus(folder, ByteTokenizer(), files, say=told.append)
    assert files_of(folder) == before
    assert len(told) == 1
    for word in (str(folder), "train-00002", "validation-00000", "tokenizer.json"):
        assert word in told[0]
    left = {p.name for p in folder.glob("train*") if p.stat().st_ino == inodes[p.name]}
    assert left == {name for name in before if name.startswith("train-0000") and "2." not in name}
    build_corpus(folder, ByteTokenizer(), files, say=told.append)
    assert len(told) == 1


def test_a_damaged_manifest_is_not_built_upon(tmp_path, source):
    files = TextFiles([source], shards=4)
    build_corpus(tmp_path / "c", ByteTokenizer(), files)
    (tmp_path / "c" / "corpus.json").write_text("{")
    with pytest.raises(CorpusError, match=r"corpus\.json: damaged\. Delete .* and build again"):
        build_corpus(tmp_path / "c", ByteTokenizer(), files)


def test_text_that_cannot_make_a_corpus_is_refused(tmp_path, source):
    short = write_texts(tmp_path / "short.jsonl", ["one"])
    empty = write_texts(tmp_path / "empty.jsonl", [" ", ""])
    with pytest.raises(CorpusError, match="holding one out leaves none"):
        build_corpus(tmp_path / "c", ByteTokenizer(), TextFiles([short]))
    for files in (TextFiles([empty]), TextFiles([source], [empty], held_out=None)):
        with pytest.raises(CorpusError, match=r"empty\.jsonl: no \w+ text"):
            build_corpus(tmp_path / "c", ByteTokenizer(), files)
    with pytest.raises(CorpusError, match="both training and validation"):
        TextFiles([source], [source], held_out=None)
    copy = shutil.copy(source, tmp_path / f"copy{source.suffix}")
    with pytest.raises(CorpusError, match=rf"copy\{source.suffix}: is {source.name} byte for byte"):
        build_corpus(tmp_path / "c", ByteTokenizer(), TextFiles([source], [copy], held_out=None))
    assert source_files([tmp_path, source]).count(source) == 1
    with pytest.raises(ValueError, match=r"--held-out is 1\.0"):
        TextFiles([source], held_out=1.0)
    assert not (tmp_path / "c").exists()


@pytest.fixture
def built(tmp_path, source) -> Path:
    build_corpus(tmp_path / "c", ByteTokenizer(), TextFiles([source], shards=4))
    return tmp_path / "c"


def test_a_shard_cut_short_is_refused(built):
    path = built / "train-00002.tokens.npy"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorpusError, match=r"train-00002\.tokens\.npy: cut short or damaged"):
        TokenStream(Corpus(built), 16, 4, 4)
    np.save(path, np.zeros(5, np.uint16))
    with pytest.raises(CorpusError, match=r"train-00002\.tokens\.npy: 5 entries, \d+ recorded"):
        TokenStream(Corpus(built), 16, 4, 4)
    path.unlink()
    with pytest.raises(CorpusError, match=r"train-00002\.tokens\.npy: missing"):
        TokenStream(Corpus(built), 16, 4, 4)


def test_a_tokenizer_that_did_not_make_the_shards_is_refused(built):
    other = train_bpe(TEXTS, 300)
    Corpus(built, ByteTokenizer())
    with pytest.raises(CorpusError, match="shards were made by tokenizer"):
        Corpus(built, other)
    other.save(built)
    with pytest.raises(CorpusError, match=r"tokenizer\.json"):
        Corpus(built)


@pytest.mark.parametrize("name", ["train-00001.tokens.npy", "validation-00000.offsets.npy"])
def test_check_finds_a_changed_byte(built, name):
    data = bytearray((built / name).read_bytes())
    data[-8] ^= 1
    (built / name).write_bytes(data)
    with pytest.raises(CorpusError, match=f"{name}: differs from the recorded sha256"):
        check_corpus(built)


def test_a_damaged_manifest_is_refused(built):
    path = built / "corpus.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "extra": 1}))
    with pytest.raises(CorpusError, match=r"corpus\.json: extra"):
        Corpus(built)
    path.write_text(path.read_text()[:100])
    with pytest.raises(CorpusError, match="not readable as JSON"):
        Corpus(built)


def test_ids_beyond_uint16_take_uint32(tmp_path):
    assert (token_type(65536), token_type(65537)) == (np.uint16, np.uint32)
    documents = [np.array([99999, 7, 70000]), np.array([99999, 65535])]
    shard = write_shard(tmp_path, "train-00000", documents, 12, 100_000)
    tokens = np.load(tmp_path / "train-00000.tokens.npy")
    assert (tokens.dtype, tokens.tolist()) == (np.uint32, [99999, 7, 70000, 99999, 65535])
    assert (shard.documents, shard.tokens) == (2, 5)


def test_enwik8_makes_a_corpus(tmp_path, shared_data):
    """Optional: real text with a trained vocabulary."""
    with gzip.open(shared_data / "data" / "text" / "enwik8.gz") as file:
        head = file.read(2_000_000)
    head = head[: head.rfind(b"</page>")].decode()
    (tmp_path / "head.txt").write_text(head)
    pages = head.split("</page>")
    tokenizer = train_bpe(pages[:100], 1024)
    files = TextFiles([tmp_path / "head.txt"], split_on="</page>")
    plan = build_corpus(tmp_path / "c", tokenizer, files).plan
    held = documents_of(tmp_path / "c", "validation")
    parts = []
    for page in pages:
        whole = page in held or len(page.encode()) <= plan.cut_bytes
        parts += [page] if whole else cut_document(page, plan.part_bytes)
    found = documents_of(tmp_path / "c", "train")
    assert found == [part for part in parts if part not in set(held)]
    assert len(found) + len(held) == len(parts)
    check_corpus(tmp_path / "c")


def test_a_full_disk_names_the_shard_and_leaves_no_half_of_it(tmp_path):
    documents = [np.array([0, 1, 2])]
    partial = tmp_path / ".train-00000.offsets.npy.partial"
    partial.symlink_to("/dev/full")
    with pytest.raises(CorpusError, match=r"train-00000\.offsets\.npy: could not be .*build the"):
        write_shard(tmp_path, "train-00000", documents, 2, 100)
    assert [path.name for path in tmp_path.iterdir()] == ["train-00000.tokens.npy"]


def test_a_disk_that_lacks_room_for_the_last_byte_is_noticed(tmp_path):
    write_shard(tmp_path, "train-00000", [np.arange(5)], 4, 100)
    tokens = tmp_path / "train-00000.tokens.npy"
    np.save(tmp_path / "saved.npy", np.arange(5, dtype=np.uint16))
    assert tokens.read_bytes() == (tmp_path / "saved.npy").read_bytes()
    size = tokens.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, limits[1]))
    try:
        with pytest.raises(CorpusError, match=r"train-00001\.tokens\.npy: could not be written"):
            write_shard(tmp_path, "train-00001", [np.arange(5)], 4, 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
