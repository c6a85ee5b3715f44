"""Training rows of context + 1 tokens from token shards: best-fit packing, 100 % full.

A LANE is a virtual reader: shard i belongs to lane i mod lanes, each lane packs its own documents
and gives batch/lanes rows of every batch; a process owns a contiguous range of lanes. So the global
batch does not depend on the number of processes.

A lane buffers 1,024 documents and fills a row with the longest that still fits, again and again
(best fit; Ding et al. 2024, "Fewer Truncations Improve Language Modeling"). When none fits, one is
cropped to fill the row, and its rest begins the next row. No token is lost, repeated or added: a
row begins with BOS, or with the rest of the document that the row before it cropped. Cropped is the
first document that is longer than a row, so has to be cropped somewhere; without one the shortest,
so that few tokens are parted from their document's beginning.

Every document of an epoch is used before the next epoch begins: the buffer is refilled while
the epoch has documents, and runs empty at its end. Nothing is shuffled: a lane reads the text in
its order, and where documents are much shorter than a row, the shortest wait for the epoch's end.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from reasoning.errors import InputError
from reasoning.pretraining.corpus import CorpusError
from reasoning.pretraining.shards import REBUILD, Corpus, Split

BUFFERED = 1024  # documents a lane chooses from
_NO_DOCUMENT = np.iinfo(np.int64).max

# Entries of a lane's cursor. _NEXT: the epoch's first document not yet buffered; _HELD: documents
# in the buffer; _CROPPED: document whose rest begins the next row, -1 if none; _FROM: where in it.
_EPOCH, _NEXT, _HELD, _CROPPED, _FROM = range(5)


@njit(cache=True)
def _choose(lengths: np.ndarray, buffer: np.ndarray, room: int, capacity: int) -> int:
    """Slot of the longest document of at most `room` tokens; if there is none, of the one to crop:
    the first that is longer than a row (`capacity`), else the shortest. Of equals the first, in the
    order of the corpus.

    lengths, buffer: int64 (held,), the lengths and the numbers of the buffered documents.
    """
    best, shortest, long = 0, lengths[0], _NO_DOCUMENT
    for slot in range(len(lengths)):  # no branches: vectorised
        length = lengths[slot]
        best = max(best, length if length <= room else 0)
        shortest = min(shortest, length)
        long = min(long, buffer[slot] if length > capacity else _NO_DOCUMENT)
    crop_long = best == 0 and long != _NO_DOCUMENT
    length = best if best > 0 else shortest
    found = 0
    first = _NO_DOCUMENT
    for slot in range(len(lengths)):
        document = buffer[slot]
        wanted = document == long if crop_long else lengths[slot] == length
        if wanted and document < first:
            found, first = slot, document
    return found


@njit(cache=True)
def _pack(
    lengths: np.ndarray,
    cursor: np.ndarray,
    buffer: np.ndarray,
    buffered_lengths: np.ndarray,
    capacity: int,
    pieces: np.ndarray,
) -> int:
    """Choose what fills one row; advances cursor, buffer and buffered_lengths.

    lengths: int64 (documents,); buffer, buffered_lengths: int64 (BUFFERED,); pieces: int64
    (capacity, 3), filled with document, first token, tokens; returns how many pieces there are.
    """
    room, used = capacity, 0
    while room > 0:
        if cursor[_CROPPED] >= 0:
            document, first = cursor[_CROPPED], cursor[_FROM]
            cursor[_CROPPED], cursor[_FROM] = -1, 0
        else:
            if cursor[_HELD] == 0 and cursor[_NEXT] == len(lengths):
                cursor[_EPOCH] += 1
                cursor[_NEXT] = 0
            while cursor[_HELD] < len(buffer) and cursor[_NEXT] < len(lengths):
                buffer[cursor[_HELD]] = cursor[_NEXT]
                buffered_lengths[cursor[_HELD]] = lengths[cursor[_NEXT]]
                cursor[_HELD] += 1
                cursor[_NEXT] += 1
            held = cursor[_HELD]
            slot = _choose(buffered_lengths[:held], buffer[:held], room, capacity)
            document, first = buffer[slot], 0
            cursor[_HELD] -= 1
            buffer[slot] = buffer[held - 1]
            buffered_lengths[slot] = buffered_lengths[held - 1]
        taken = min(room, lengths[document] - first)
        pieces[used] = document, first, taken
        used += 1
        room -= taken
        if first + taken < lengths[document]:
            cursor[_CROPPED], cursor[_FROM] = document, first + taken
    return used


@njit(cache=True)
def _largest(row: np.ndarray) -> int:
    """row.max() without numpy's overhead, which a row would feel."""
    largest = row[0]
    for token in row:
        largest = max(largest, token)
    return largest


class _Lane:
    """One virtual reader. Its documents are numbered through its shards, one after another."""

    def __init__(self, corpus: Corpus, split: Split, lane: int, lanes: int, capacity: int) -> None:
        shards = corpus.shards(split)[lane::lanes]
        files = [corpus.read(shard) for shard in shards]
        self._corpus, self._lane, self._lanes = corpus.identity, lane, lanes
        self._files = [corpus.folder / f"{shard.name}.tokens.npy" for shard in shards]
        self._vocabulary = corpus.vocabulary
        self._tokens = [tokens for tokens, _ in files]
        self._starts = np.concatenate([offsets[:-1] for _, offsets in files])
        self._lengths = np.concatenate([np.diff(offsets) for _, offsets in files])
        self._shard_ends = np.cumsum([len(offsets) - 1 for _, offsets in files])
        self._cursor = np.array([0, 0, 0, -1, 0], dtype=np.int64)
        self._buffer = np.zeros(BUFFERED, dtype=np.int64)
        self._buffered_lengths = np.zeros(BUFFERED, dtype=np.int64)  # of the buffer's documents
        self._pieces = np.empty((capacity, 3), dtype=np.int64)

    @property
    def epoch(self) -> int:
        return int(self._cursor[_EPOCH])

    def next_pieces(self) -> np.ndarray:
        """What the lane's next row is of: int64 (P, 3), document, first token and tokens of each
        piece. Overwritten by the next call."""
        chosen_from = self._buffer, self._buffered_lengths
        capacity = len(self._pieces)
        used = _pack(self._lengths, self._cursor, *chosen_from, capacity, self._pieces)
        return self._pieces[:used]

    def write(self, pieces: np.ndarray, row: np.ndarray) -> None:
        """The tokens of a row (capacity,), in place. CorpusError for an id that is none."""
        documents, first, taken = pieces.T
        shards = np.searchsorted(self._shard_ends, documents, side="right")
        begins = self._starts[documents] + first
        ends = np.cumsum(taken)
        if ends[-1] != len(row):
            raise AssertionError(f"a row of {len(row)} tokens was filled with {ends[-1]}")
        for shard, begin, count, end in zip(
            shards.tolist(), begins.tolist(), taken.tolist(), ends.tolist(), strict=True
        ):
            row[end - count : end] = self._tokens[shard][begin : begin + count]
        # Here and not where a shard is opened: that would read all of it.
        if _largest(row) >= self._vocabulary:
            at = int(row.argmax())
            piece = int(np.searchsorted(ends, at, side="right"))
            place = begins[piece] + at - (ends[piece] - taken[piece])
            raise CorpusError(
                f"{self._files[shards[piece]]}: token {row[at]} at {place} does not fit a "
                f"vocabulary of {self._vocabulary}. {REBUILD}"
            )

    def state(self) -> dict[str, Any]:
        cropped = int(self._cursor[_CROPPED])
        return {
            "corpus": self._corpus,
            "lane": self._lane,
            "lanes": self._lanes,
            "epoch": self.epoch,
            "next_document": int(self._cursor[_NEXT]),
            "buffer": self._buffer[: self._cursor[_HELD]].tolist(),
            "rest_of": None if cropped < 0 else [cropped, int(self._cursor[_FROM])],
        }

    def restore(self, state: dict[str, Any]) -> None:
        for name, own in (("corpus", self._corpus), ("lane", self._lane), ("lanes", self._lanes)):
            if state[name] != own:
                raise CorpusError(
                    f"lane {self._lane}: the saved position is of {name} {state[name]}, not {own}. "
                    "Go on with the corpus and the lanes that the run began with"
                )
        held = state["buffer"]
        cropped, first = state["rest_of"] or (-1, 0)
        self._buffer[: len(held)] = held
        self._buffered_lengths[: len(held)] = self._lengths[held]
        self._cursor[:] = state["epoch"], state["next_document"], len(held), cropped, first


class TokenStream:
    """An endless stream of full training rows.

    Args:
        corpus: where the tokens come from; its training split.
        context: S, tokens a model sees; a row has S + 1, inputs row[:-1] and labels row[1:].
        batch: rows of the global batch.
        lanes: virtual readers; fixes the data order together with batch and context. A document of
            many rows fills many rows of its lane in turn, so more lanes mix a batch better.
        rank, world: this process of how many; it gets lanes rank * lanes / world and following.

    Raises ValueError if lanes does not divide batch, or world lanes; CorpusError if there are
    fewer shards than lanes, or a shard is damaged.
    """

    def __init__(
        self, corpus: Corpus, context: int, batch: int, lanes: int, rank: int = 0, world: int = 1
    ) -> None:
        if context < 1:
            raise InputError(f"context is {context}, expected at least 1")
        if lanes < 1 or batch < 1 or batch % lanes:
            raise InputError(f"a batch of {batch} rows does not divide among {lanes} lanes")
        if world < 1 or lanes % world or not 0 <= rank < world:
            raise InputError(f"{lanes} lanes do not divide among {world} processes (rank {rank})")
        shards = len(corpus.shards("train"))
        if lanes > shards:
            raise CorpusError(
                f"{corpus.folder}: {lanes} lanes need as many training shards, there are {shards}. "
                "Use fewer lanes (and processes), or build the corpus with more --shards"
            )
        own = range(rank * lanes // world, (rank + 1) * lanes // world)
        self._lanes = [_Lane(corpus, "train", lane, lanes, context + 1) for lane in own]
        self._shape = (batch // world, context + 1)
        self._rows_per_lane = batch // lanes

    @property
    def epoch(self) -> int:
        """Passes through its documents that every lane of this process has finished."""
        return min(lane.epoch for lane in self._lanes)

    def next(self) -> np.ndarray:
        """This process's rows of the next batch, int64 (batch / world, context + 1), in the order
        of its lanes: those of all ranks one after another are the global batch."""
        rows = np.empty(self._shape, dtype=np.int64)
        for i, row in enumerate(rows):
            lane = self._lanes[i // self._rows_per_lane]
            lane.write(lane.next_pieces(), row)
        return rows

    def state(self) -> list[dict[str, Any]]:
        """The exact position, JSON values, one entry per own lane: documents by their numbers, no
        tokens."""
        return [lane.state() for lane in self._lanes]

    def restore(self, states: list[dict[str, Any]]) -> None:
        """Go on from the states of the own lanes, whatever process saved them.

        CorpusError if they are of other lanes or of another corpus.
        """
        if len(states) != len(self._lanes):
            raise CorpusError(
                f"{len(states)} saved lanes for the {len(self._lanes)} of this process. "
                "Give every process the states of its own lanes"
            )
        for lane, state in zip(self._lanes, states, strict=True):
            lane.restore(state)


@dataclass(frozen=True)
class HeldOutRows:
    """Rows of held-out text.

    tokens: int64 (N, context + 1); documents: int64 of the same shape, the number in the split of
    the document that a token is of.
    """

    tokens: np.ndarray
    documents: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)


def validation_rows(corpus: Corpus, context: int, count: int | None = None) -> HeldOutRows:
    """`count` rows evenly spaced over the validation split, which one lane packs like training
    rows: always the same. None: every full row of one pass.

    Evenly spaced, for its first rows would be of its first documents, or where those are short of
    the longest.

    CorpusError if the split has fewer.
    """
    capacity = context + 1
    there = corpus.counts("validation").tokens // capacity
    wanted = max(1, there) if count is None else count
    if not 1 <= wanted <= there:
        raise CorpusError(
            f"{corpus.folder}: {wanted} validation rows of {capacity} tokens asked for, {there} "
            "there. Ask for fewer, for a shorter context, or build with more validation text"
        )
    lane = _Lane(corpus, "validation", 0, 1, capacity)
    tokens, documents = np.empty((2, wanted, capacity), dtype=np.int64)
    middles = (2 * np.arange(wanted) + 1) * there // (2 * wanted)  # of `wanted` equal parts
    packed = -1
    for middle, row, numbers in zip(middles.tolist(), tokens, documents, strict=True):
        while packed < middle:
            pieces = lane.next_pieces()
            packed += 1
        lane.write(pieces, row)
        numbers[:] = np.repeat(pieces[:, 0], pieces[:, 2])
    return HeldOutRows(tokens, documents)
