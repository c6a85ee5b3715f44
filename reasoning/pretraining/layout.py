"""The layout of a corpus: documents held out, documents cut, and the shard that each goes to.

Every lane of a training run needs a shard of its own. So where there are fewer documents than
training shards the longest are cut, as many as it takes, and so is any document of more than four
shards' share or three quarters of the text, beside which others would be read too often. Cut ones
go in equal parts of at most half a share, each a document of its own from there on. Every other
document stays whole, and so does what is held out, unless the text is one document: then parts of
it are held out.
"""

from dataclasses import dataclass

import numpy as np

from reasoning.pretraining.corpus import CorpusError

SHARD_BYTES = 200_000_000  # of text, in the largest shard
MIN_CUT_BYTES = 1024  # a document of fewer bytes is never cut
MAX_SHARES = 4  # of a training shard, that a whole document may have
MAX_OF_TEXT = 0.75  # of the training text, that a whole document may have
MAX_HELD_OUT = 0.25  # of the text, in one document that is held out


@dataclass(frozen=True)
class Layout:
    """Where documents go, the training files' before the validation files'.

    cut_bytes: most bytes of a training document that is left whole; part_bytes: of a part;
    cut: bool (documents,), which are cut; names: of the shards; shard_of: int64 (parts,), index
    into names, a whole document being one part.
    """

    cut_bytes: int
    part_bytes: int
    cut: np.ndarray
    names: list[str]
    shard_of: np.ndarray


def lay_out(train: np.ndarray, validation: np.ndarray, share: float | None, shards: int) -> Layout:
    """The layout of documents of so many bytes.

    train, validation: int64 (documents,), of the files for each; share: of the training documents
    to hold out, None: none; shards: of the training split. CorpusError if holding out leaves none.
    """
    lone = share is not None and len(train) == 1
    held = np.zeros(len(train), dtype=bool)
    if share is not None and not lone:
        held = _held_out(train, share)
    cut_bytes, part_bytes = _limits(train[~held], shards)
    if lone:
        cut_bytes = part_bytes
    cut = ~held & (train > cut_bytes)
    parts = np.where(cut, -(-train // part_bytes), 1)
    sizes = np.repeat(train // parts, parts)  # about
    held = _spread(len(sizes), share) if lone else np.repeat(held, parts)
    if held.all():
        raise CorpusError(
            "the training text is 1 document: holding one out leaves none. Give more text, "
            "--split-on to part it, or --validation files"
        )
    whole = np.zeros(len(validation), dtype=bool)
    names, shard_of = _assign(
        np.concatenate([sizes, validation]), np.concatenate([held, ~whole]), shards
    )
    return Layout(cut_bytes, part_bytes, np.concatenate([cut, whole]), names, shard_of)


def _spread(among: int, share: float) -> np.ndarray:
    """bool (among,): a share of them, evenly spaced, at least one."""
    chosen = np.zeros(among, dtype=bool)
    count = max(1, round(share * among))
    chosen[((np.arange(count) + 0.5) * among / count).astype(np.int64)] = True
    return chosen


def _held_out(lengths: np.ndarray, share: float) -> np.ndarray:
    """bool (documents,), which are held out: none that is much of the text, if others are not."""
    may = lengths <= max(MAX_HELD_OUT * lengths.sum(), lengths.min())
    held = np.zeros(len(lengths), dtype=bool)
    held[may] = _spread(int(may.sum()), share)
    return held


def _limits(lengths: np.ndarray, shards: int) -> tuple[int, int]:
    """Most bytes of a document left whole, and of a part of another."""
    share = int(lengths.sum()) // shards
    part = max(MIN_CUT_BYTES, share // 2)
    whole = MAX_SHARES * share
    if shards > 1:
        whole = min(whole, int(MAX_OF_TEXT * lengths.sum()))
    longest = np.sort(lengths)[::-1]
    # How many documents there are when the longest, the two longest, ... are cut.
    become = len(lengths) + np.cumsum(-(-longest // part) - 1)
    if len(lengths) < shards:
        needed = np.searchsorted(become, shards)
        whole = min(whole, longest[needed] - 1) if needed < len(longest) else part
    return max(part, int(whole)), part


def _assign(sizes: np.ndarray, held: np.ndarray, shards: int) -> tuple[list[str], np.ndarray]:
    """Names of the shards and which one each part goes to: runs of about equal bytes."""
    names: list[str] = []
    shard_of = np.empty(len(sizes), dtype=np.int64)
    for split, members in (("validation", held), ("train", ~held)):
        total = int(sizes[members].sum())
        count = shards if split == "train" else -(-total // SHARD_BYTES)
        runs = _runs(sizes[members], count)
        shard_of[members] = np.repeat(np.arange(len(runs)) + len(names), runs)
        names += [f"{split}-{i:05d}" for i in range(len(runs))]
    return names, shard_of


def _runs(sizes: np.ndarray, count: int) -> np.ndarray:
    """How many parts each of `count` shards gets, at least one (fewer shards where there are fewer
    parts): each takes its share of the bytes that are left."""
    count = min(count, len(sizes))
    before = np.concatenate([[0], np.cumsum(sizes)])
    bounds = [0]
    for left in range(count, 1, -1):
        begun = bounds[-1]
        target = before[begun] + (before[-1] - before[begun]) / left
        end = int(np.searchsorted(before, target))
        if target - before[end - 1] < before[end] - target:
            end -= 1
        bounds.append(min(max(end, begun + 1), len(sizes) - left + 1))
    return np.diff([*bounds, len(sizes)])
