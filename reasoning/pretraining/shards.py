"""Token shards: a corpus on disk, memory-mapped.

    corpus.json                 the manifest: tokenizer, sources, counts, every shard's hashes
    tokenizer.json              the tokenizer that made the tokens
    train-00000.tokens.npy      uint16 (uint32 above 65,536 ids), the documents one after another,
                                each with its BOS in front
    train-00000.offsets.npy     int64 (documents + 1,), where each document begins, and the end
    validation-00000...         the same for the held-out documents

The manifest holds no time and no path: equal texts, tokenizer and options give equal bytes. It is
written last, so a folder with one is whole.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib import format as npy
from pydantic import Field, ValidationError

from reasoning.frozen import Frozen
from reasoning.names import MANIFEST_FILE, TOKENIZER_FILE
from reasoning.pretraining.corpus import CorpusError
from reasoning.pretraining.tokenizer import Tokenizer, load_tokenizer
from reasoning.records import sha256_of

Split = Literal["train", "validation"]
Progress = Callable[[str, int, int], None]  # name of the stage, done, in all
REBUILD = "Build the corpus again with `loopbench corpus build`"


class Counts(Frozen):
    """How much text a shard or a split holds."""

    documents: int = Field(description="documents, the parts of a cut one counted each", ge=0)
    tokens: int = Field(description="tokens, one BOS a document included", ge=0)
    bytes: int = Field(description="bytes of the text in UTF-8", ge=0)


class Shard(Counts):
    """One shard as the manifest knows it."""

    name: str = Field(description="file name without .tokens.npy and .offsets.npy")
    sha256: dict[Literal["tokens", "offsets"], str] = Field(description="of each file, hex")

    @property
    def split(self) -> str:
        """ "train" or "validation"."""
        return self.name.rsplit("-", 1)[0]


class Source(Frozen):
    """A file of text that went in."""

    name: str = Field(description="file name, without its folder")
    split: Split = Field(description="where its documents went, but for those held out")
    sha256: str = Field(description="of the file as it lies on disk, hex")


class TokenizerRecord(Frozen):
    """Which tokenizer made the tokens."""

    identity: str = Field(description="sha256 of the tokenizer, hex")
    vocabulary: int = Field(description="tokens, BOS included", ge=2)
    bos: int = Field(description="id of BOS", ge=0)


class Plan(Frozen):
    """What is built: fixed before the first shard, the same when a broken build goes on."""

    tokenizer: TokenizerRecord
    sources: tuple[Source, ...]
    split_on: str | None = Field(description="separator of documents in plain text files")
    held_out: float | None = Field(description="share of documents held out; none: from own files")
    documents: int = Field(description="documents read, the empty ones left out", ge=0)
    empty_documents: int = Field(description="documents of nothing but whitespace, left out", ge=0)
    cut_documents: int = Field(description="training documents longer than cut_bytes, cut", ge=0)
    cut_bytes: int = Field(description="most bytes of a document that is left whole", ge=1)
    part_bytes: int | None = Field(
        None, description="most bytes of a part of another; none: cut_bytes, as once it was", ge=1
    )
    shards: dict[Split, int] = Field(description="shards of each split")


class Manifest(Frozen):
    """corpus.json."""

    format: Literal[1] = Field(1, description="version of the folder's format")
    plan: Plan
    splits: dict[Split, Counts]
    shards: tuple[Shard, ...]


class Corpus:
    """A corpus folder, opened. Raises CorpusError for a missing, partial or inconsistent one.

    identity: sha256, hex, of all its tokens.
    tokenizer: refuse tokens that another tokenizer made; None: the folder's own.
    """

    def __init__(self, folder: str | Path, tokenizer: Tokenizer | None = None) -> None:
        self.folder = Path(folder)
        self.manifest = _read_manifest(self.folder)
        made_by = self.manifest.plan.tokenizer
        self.vocabulary, self.bos = made_by.vocabulary, made_by.bos
        hashes = "".join(shard.sha256["tokens"] for shard in self.manifest.shards)
        self.identity = hashlib.sha256(hashes.encode()).hexdigest()
        self.tokenizer = load_tokenizer(self.folder / TOKENIZER_FILE)
        for other, place in ((self.tokenizer, self.folder / TOKENIZER_FILE), (tokenizer, "given")):
            if other is not None and other.identity != made_by.identity:
                raise CorpusError(
                    f"{self.folder}: the shards were made by tokenizer {made_by.identity[:12]}, "
                    f"the one at hand ({place}) is {other.identity[:12]}. Use the shards' own, or "
                    "build the corpus again with this one"
                )

    def shards(self, split: Split) -> list[Shard]:
        """The split's shards in order. CorpusError if there are none."""
        found = [shard for shard in self.manifest.shards if shard.split == split]
        if not found:
            raise CorpusError(f"{self.folder}: no {split} shards. {REBUILD}")
        return found

    def counts(self, split: Split) -> Counts:
        """Documents, tokens and bytes of a split."""
        return self.manifest.splits[split]

    def read(self, shard: Shard) -> tuple[np.ndarray, np.ndarray]:
        """Tokens (tokens,) and offsets (documents + 1,) of a shard, memory-mapped, read-only.

        CorpusError if a file is missing, cut short or of another length than recorded.
        """
        tokens = _map(self.folder / f"{shard.name}.tokens.npy", token_type(self.vocabulary))
        offsets = _map(self.folder / f"{shard.name}.offsets.npy", np.dtype(np.int64))
        for name, length, expected in (
            ("tokens", len(tokens), shard.tokens),
            ("offsets", len(offsets), shard.documents + 1),
        ):
            if length != expected:
                raise CorpusError(
                    f"{self.folder / shard.name}.{name}.npy: {length} entries, {expected} "
                    f"recorded in {MANIFEST_FILE}. {REBUILD}"
                )
        return tokens, offsets


def token_type(vocabulary: int) -> np.dtype:
    """The smallest unsigned type that holds every id of a vocabulary."""
    return np.dtype(np.uint16 if vocabulary <= 1 << 16 else np.uint32)


def write_shard(
    folder: Path, name: str, documents: Sequence[np.ndarray], text_bytes: int, vocabulary: int
) -> Shard:
    """Write documents (ids, BOS in front) as a shard, each file whole or not at all. CorpusError if
    the disk refuses.

    folder: the corpus's; name: of the shard, with which its files begin; text_bytes: of the
    documents' text, in UTF-8; vocabulary: how many ids there are, which decides their dtype.
    """
    offsets = np.zeros(len(documents) + 1, dtype=np.int64)
    np.cumsum([len(document) for document in documents], out=offsets[1:])
    tokens = np.concatenate(documents, dtype=token_type(vocabulary), casting="unsafe")
    hashes = {}
    for kind, array in (("tokens", tokens), ("offsets", offsets)):
        with _replacing(folder / f"{name}.{kind}.npy") as partial:
            # Not by np.save, which does not notice that the disk has no room for the last bytes.
            with partial.open("wb") as file:
                npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(array))
                file.write(array.data)
            hashes[kind] = sha256_of(partial)
    return Shard(
        name=name, documents=len(documents), tokens=len(tokens), bytes=text_bytes, sha256=hashes
    )


def check_corpus(folder: str | Path, progress: Progress | None = None) -> Manifest:
    """Read every shard whole and compare it with the manifest.

    CorpusError for the first file whose hash, offsets, BOS tokens or ids are wrong.
    """
    corpus = Corpus(folder)
    shards = corpus.manifest.shards
    for done, shard in enumerate(shards, 1):
        tokens, offsets = corpus.read(shard)
        _check_shard(corpus, shard, tokens, offsets)
        if progress is not None:
            progress("checking shards", done, len(shards))
    return corpus.manifest


def _check_shard(corpus: Corpus, shard: Shard, tokens: np.ndarray, offsets: np.ndarray) -> None:
    for kind, expected in shard.sha256.items():
        path = corpus.folder / f"{shard.name}.{kind}.npy"
        if sha256_of(path) != expected:
            raise CorpusError(f"{path}: differs from the recorded sha256. {REBUILD}")
    place = corpus.folder / f"{shard.name}.tokens.npy"
    if offsets[0] != 0 or offsets[-1] != len(tokens) or (np.diff(offsets) < 2).any():
        raise CorpusError(f"{place}: the document offsets do not fit the tokens. {REBUILD}")
    if tokens.max() >= corpus.vocabulary:
        raise CorpusError(
            f"{place}: token {tokens.max()} at {tokens.argmax()} does not fit a vocabulary of "
            f"{corpus.vocabulary}. {REBUILD}"
        )
    if not np.array_equal(np.flatnonzero(tokens == corpus.bos), offsets[:-1]):
        raise CorpusError(f"{place}: BOS is not at the documents' beginnings. {REBUILD}")
    raw = int(corpus.tokenizer.token_bytes[tokens].sum())
    if raw != shard.bytes:
        raise CorpusError(f"{place}: tokens of {raw} bytes, {shard.bytes} recorded. {REBUILD}")


def write_record(path: Path, record: Frozen) -> None:
    """Write a record as JSON, whole or not at all. CorpusError if the disk refuses."""
    with _replacing(path) as partial:
        partial.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file to write beside `path`, which takes its place when the block ends."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CorpusError(
            f"{path}: could not be written ({error.strerror or error}); free some disk space and "
            "build the corpus again: the shards that are whole stay"
        ) from error


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_FILE
    try:
        return Manifest.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise CorpusError(
            f"{folder}: not a whole corpus (no {MANIFEST_FILE}). Run `loopbench corpus build` "
            "again: it goes on where it stopped"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CorpusError(f"{path}: {place}: {first['msg']}. {REBUILD}") from error
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: not readable as JSON ({error}). {REBUILD}") from error


def _map(path: Path, expected: np.dtype) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise CorpusError(f"{path}: missing. {REBUILD}") from None
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise CorpusError(f"{path}: cut short or damaged ({reason}). {REBUILD}") from error
    if array.ndim != 1 or array.dtype != expected:
        raise CorpusError(f"{path}: {array.dtype} {array.shape}, expected {expected}. {REBUILD}")
    return array.view(np.ndarray)  # the base class: slicing a memmap costs more
