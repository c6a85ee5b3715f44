"""Building a corpus: files of text to token shards, restartable.

Two passes over the text. The survey reads every document (so bad input is refused before time is
spent on it) and fixes a plan: which documents are held out and which shard each goes to, in equal
shares of the bytes. The second pass tokenises; a shard is written when its last document is there.
A build that is started again after a break makes the same plan, skips the shards that are whole
and ends with the same bytes.

Which documents are cut so that every training shard gets text is `layout.py`'s rule.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import ValidationError

from reasoning.errors import InputError
from reasoning.names import MANIFEST_FILE, PLAN_FILE, TOKENIZER_FILE
from reasoning.pretraining.corpus import CorpusError, read_documents
from reasoning.pretraining.layout import SHARD_BYTES, Layout, lay_out
from reasoning.pretraining.shards import (
    Counts,
    Manifest,
    Plan,
    Progress,
    Shard,
    Source,
    Split,
    TokenizerRecord,
    write_record,
    write_shard,
)
from reasoning.pretraining.tokenizer import Tokenizer
from reasoning.records import sha256_of

MIN_SHARDS = 64  # training shards, unless the text is too little: the most lanes of a run
_BATCH_BYTES = 4_000_000  # of text, tokenised at once
_Record = TypeVar("_Record", Plan, Manifest, Shard)


@dataclass(frozen=True)
class TextFiles:
    """What goes into a corpus.

    train, validation: files, see `corpus.read_documents`; split_on: the separator of documents in
    the plain text ones; held_out: share of the training documents, 0 to 0.5, that makes the
    validation split when there are no files for it; shards: of the training split, None:
    64, or one for every 200 MB of text if that is more.
    """

    train: Sequence[Path]
    validation: Sequence[Path] = ()
    split_on: str | None = None
    held_out: float | None = 0.01
    shards: int | None = None

    def __post_init__(self) -> None:
        if (self.held_out is None) == (not self.validation):
            raise InputError("give either files or a share of documents to hold out for validation")
        if self.held_out is not None and not 0 < self.held_out < 0.5:
            raise InputError(f"--held-out is {self.held_out}, expected more than 0, less than 0.5")
        if self.shards is not None and self.shards < 1:
            raise InputError(f"--shards is {self.shards}, expected at least 1")
        both = {f.resolve() for f in self.train} & {f.resolve() for f in self.validation}
        if both:
            raise CorpusError(f"{min(both)}: is both training and validation text. Choose one")

    def documents(self) -> Iterator[tuple[Split, str]]:
        """Every document with its split, training files first, the empty ones included."""
        for split, path in self.files():
            for text in read_documents(path, self.split_on):
                yield split, text

    def files(self) -> list[tuple[Split, Path]]:
        """Every file with its split."""
        return [("train", f) for f in self.train] + [("validation", f) for f in self.validation]


def build_corpus(
    folder: Path,
    tokenizer: Tokenizer,
    files: TextFiles,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Manifest:
    """Write the corpus folder, go on with one whose build was broken off, or write those files of a
    finished one again that are missing or damaged.

    progress: told of a stage's name, what is done and what there is in all, None: nobody is; say:
    told which files were written again, in a line.

    Raises CorpusError for bad text and for a folder that holds something else, and what
    `tokenizer.encode` raises.
    """
    tell = progress or (lambda stage, done, rows: None)
    _check_folder(folder)
    plan, layout = _survey(tokenizer, files, tell)
    if (folder / MANIFEST_FILE).exists():
        manifest = _read(folder / MANIFEST_FILE, Manifest)
        if manifest is None:
            raise CorpusError(f"{folder / MANIFEST_FILE}: damaged. Delete {folder} and build again")
        names = [shard.name for shard in manifest.shards]
        if (manifest.plan, names) != (plan, layout.names):
            raise CorpusError(
                f"{folder}: holds another corpus (texts, options or loopbench's version differ). "
                "Choose another --out or delete it"
            )
        _repair(folder, tokenizer, files, layout, manifest, tell, say)
        return manifest
    plan_file = folder / PLAN_FILE
    if plan_file.exists() and _read(plan_file, Plan) != plan:
        raise CorpusError(
            f"{folder}: a build of other texts or options was broken off here. Start it again as "
            "it was, choose another --out or delete the folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_record(plan_file, plan)  # first: it tells that a broken-off build's folder is ours
    tokenizer.save(folder)
    done = [_finished(folder, name) for name in layout.names]
    shards = _write_shards(folder, tokenizer, files, layout, done, tell)
    splits: dict[Split, Counts] = {split: _sum(shards, split) for split in plan.shards}
    manifest = Manifest(plan=plan, splits=splits, shards=tuple(shards))
    write_record(folder / MANIFEST_FILE, manifest)
    plan_file.unlink()
    _drop_records(folder, layout)
    return manifest


def _repair(
    folder: Path,
    tokenizer: Tokenizer,
    files: TextFiles,
    layout: Layout,
    manifest: Manifest,
    tell: Progress,
    say: Callable[[str], None],
) -> None:
    """Write those files of a finished corpus again that are missing or not as recorded."""
    known: list[Shard | None] = []
    for number, shard in enumerate(manifest.shards, 1):
        known.append(shard if _is_whole(folder, shard) else None)
        tell("checking shards", number, len(manifest.shards))
    damaged = [
        shard.name for shard, found in zip(manifest.shards, known, strict=True) if found is None
    ]
    if damaged:
        shards = _write_shards(folder, tokenizer, files, layout, known, tell)
        if tuple(shards) != manifest.shards:
            raise CorpusError(
                f"{folder}: the texts give other tokens than {MANIFEST_FILE} records (another "
                f"version of the tokenizer's library?). Delete {folder} and build again"
            )
        _drop_records(folder, layout)
    file = folder / TOKENIZER_FILE
    before = file.read_bytes() if file.exists() else None
    tokenizer.save(folder)
    if file.read_bytes() != before:
        damaged.append(TOKENIZER_FILE)
    if damaged:
        say(f"{folder}: damaged or missing, written again: {', '.join(damaged)}")


def _check_folder(folder: Path) -> None:
    ours = (MANIFEST_FILE, PLAN_FILE)
    if folder.exists() and not folder.is_dir():
        raise CorpusError(f"{folder}: is a file. Choose another --out")
    if folder.is_dir() and any(folder.iterdir()) and not any((folder / f).exists() for f in ours):
        raise CorpusError(f"{folder}: holds other files. Choose another --out or empty it")


def _survey(tokenizer: Tokenizer, files: TextFiles, tell: Progress) -> tuple[Plan, Layout]:
    """Read all the text once and fix the plan."""
    lengths: dict[Split, array] = {"train": array("q"), "validation": array("q")}
    empty, sources = 0, []
    for done, (split, path) in enumerate(files.files()):
        tell("reading files", done, len(files.files()))
        for text in read_documents(path, files.split_on):
            if is_empty(text):
                empty += 1
            else:
                lengths[split].append(len(text.encode()))
        sources.append(Source(name=path.name, split=split, sha256=sha256_of(path)))
    _refuse_copies(sources)
    tell("reading files", len(sources), len(sources))
    train, validation = (np.frombuffer(lengths[split], np.int64) for split in lengths)
    for split, found in (("train", train), ("validation", validation)):
        if not len(found) and (split == "train" or files.validation):
            raise CorpusError(
                f"{files.files()[0][1] if split == 'train' else files.validation[0]}: no {split} "
                "text: every document is empty. Give files with text"
            )
    shards = files.shards or max(MIN_SHARDS, -(-int(train.sum()) // SHARD_BYTES))
    layout = lay_out(train, validation, files.held_out, shards)
    plan = Plan(
        tokenizer=TokenizerRecord(
            identity=tokenizer.identity, vocabulary=tokenizer.vocabulary, bos=tokenizer.bos
        ),
        sources=tuple(sources),
        split_on=files.split_on,
        held_out=files.held_out,
        documents=len(train) + len(validation),
        empty_documents=empty,
        cut_documents=int(layout.cut.sum()),
        cut_bytes=layout.cut_bytes,
        part_bytes=layout.part_bytes,
        shards={s: sum(n.startswith(s) for n in layout.names) for s in ("train", "validation")},
    )
    return plan, layout


def _refuse_copies(sources: Sequence[Source]) -> None:
    """CorpusError for a file that is another one by another name: its text would be on both sides
    of the split."""
    names: dict[str, str] = {}
    for source in sources:
        if other := names.get(source.sha256):
            raise CorpusError(f"{source.name}: is {other} byte for byte. Leave one of them out")
        names[source.sha256] = source.name


def is_empty(text: str) -> bool:
    """Whether a document is left out: nothing but whitespace."""
    return not text or text.isspace()


def _write_shards(
    folder: Path,
    tokenizer: Tokenizer,
    files: TextFiles,
    layout: Layout,
    known: Sequence[Shard | None],
    tell: Progress,
) -> list[Shard]:
    """Tokenise and write every shard that is not known to be there."""
    done = list(known)
    missing = np.bincount(layout.shard_of, minlength=len(layout.names))
    documents: list[list[np.ndarray]] = [[] for _ in layout.names]
    text_bytes = [0] * len(layout.names)
    position = 0
    for texts in _batches(_parts(files, layout)):
        targets = layout.shard_of[position : position + len(texts)].tolist()
        position += len(texts)
        if len(targets) < len(texts):
            break
        todo = [(s, text) for s, text in zip(targets, texts, strict=True) if done[s] is None]
        found = tokenizer.encode([text for _, text in todo])
        for (shard, text), ids in zip(todo, found, strict=True):
            documents[shard].append(np.array([tokenizer.bos, *ids], dtype=np.int32))
            text_bytes[shard] += len(text.encode())
            if len(documents[shard]) == missing[shard]:
                name = layout.names[shard]
                args = documents[shard], text_bytes[shard], tokenizer.vocabulary
                done[shard] = write_shard(folder, name, *args)
                write_record(_record_file(folder, name), done[shard])
                documents[shard] = []
        tell("tokenising documents", position, len(layout.shard_of))
    if position != len(layout.shard_of) or None in done:
        raise CorpusError(f"{files.train[0]}: the text changed while it was read. Build again")
    return done


def _parts(files: TextFiles, layout: Layout) -> Iterator[str]:
    """Every document that is not empty, those to cut in parts."""
    cut = iter(layout.cut.tolist())
    for _, text in files.documents():
        if not is_empty(text):
            # More documents than were surveyed end the build, see `_write_shards`.
            yield from cut_document(text, layout.part_bytes) if next(cut, False) else (text,)


def cut_document(text: str, cut: int) -> Iterator[str]:
    """A text of at most `cut` UTF-8 bytes as it is, a longer one in the fewest equal parts.

    Parts end between characters, so one may be up to 3 bytes longer than its share.
    """
    if len(text) * 4 <= cut:  # no character has more bytes
        yield text
        return
    data = text.encode()
    parts = -(-len(data) // cut)
    start = 0
    for part in range(1, parts + 1):
        end = len(data) * part // parts
        while end < len(data) and data[end] & 0xC0 == 0x80:  # inside a character
            end += 1
        yield data[start:end].decode()
        start = end


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if characters >= _BATCH_BYTES:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _record_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _finished(folder: Path, name: str) -> Shard | None:
    """The record of a shard that a broken build left whole; None if there is none."""
    shard = _read(_record_file(folder, name), Shard)
    return shard if shard is not None and _is_whole(folder, shard) else None


def _is_whole(folder: Path, shard: Shard) -> bool:
    """Whether the shard's files are there as recorded."""
    files = {kind: folder / f"{shard.name}.{kind}.npy" for kind in shard.sha256}
    return all(f.is_file() and sha256_of(f) == shard.sha256[kind] for kind, f in files.items())


def _drop_records(folder: Path, layout: Layout) -> None:
    """Delete the shards' own records, which the manifest replaces."""
    for name in layout.names:
        _record_file(folder, name).unlink(missing_ok=True)


def _read(path: Path, kind: type[_Record]) -> _Record | None:
    """A record from its file; None if it is not there or is none."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _sum(shards: Iterable[Shard], split: Split) -> Counts:
    own = [shard for shard in shards if shard.split == split]
    return Counts(**{name: sum(getattr(s, name) for s in own) for name in Counts.model_fields})
