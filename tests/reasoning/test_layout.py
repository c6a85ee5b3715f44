"""Which documents are cut and held out: no more than it takes to give every lane its text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.pretraining.corpus import CorpusError
from reasoning.pretraining.layout import MIN_CUT_BYTES, Layout, lay_out

NONE = np.array([], dtype=np.int64)


def parts_of(lengths: np.ndarray, layout: Layout) -> list[list[tuple[str, float]]]:
    """Split and bytes of every document's parts, from the layout alone."""
    shards, found = iter(layout.shard_of), []
    for length, cut in zip(lengths, layout.cut, strict=True):
        parts = -(-int(length) // layout.part_bytes) if cut else 1
        names = [layout.names[next(shards)] for _ in range(parts)]
        found.append([(name, length / parts) for name in names])
    assert next(shards, None) is None
    return found


def bytes_of_shards(lengths: np.ndarray, layout: Layout) -> dict[str, float]:
    totals = dict.fromkeys(layout.names, 0.0)
    for parts in parts_of(lengths, layout):
        for name, size in parts:
            totals[name] += size
    return totals


lengths_of = st.lists(st.integers(1, 9000) | st.just(3_000_000), min_size=2, max_size=150)


@given(lengths_of, st.integers(1, 64), st.sampled_from([0.01, 0.2, 0.49]))
def test_every_shard_has_text_and_no_document_is_in_both_splits(lengths, shards, share):
    lengths = np.array(lengths)
    layout = lay_out(lengths, NONE, share, shards)
    parts = parts_of(lengths, layout)
    splits = [{name.split("-")[0] for name, _ in each} for each in parts]
    assert all(len(each) == 1 for each in splits)
    held = np.array([each == {"validation"} for each in splits])
    assert held.any()
    assert not (held & layout.cut).any()
    assert min(bytes_of_shards(lengths, layout).values()) > 0
    given_shards = sum(name.startswith("train") for name in layout.names)
    train = lengths[~held]
    if len(train) >= shards or train.sum() >= 2 * MIN_CUT_BYTES * shards:
        assert given_shards == shards
    # A document is cut only where there are too few, or because it dwarfs its share.
    dwarfs = train > min(4 * (train.sum() // shards), 0.75 * train.sum())
    if len(train) >= shards and not dwarfs.any():
        assert not layout.cut.any()
    assert all(size >= MIN_CUT_BYTES / 2 for each in parts if len(each) > 1 for _, size in each)


def test_the_fewest_of_the_longest_are_cut():
    lengths = np.array([5000 + 10 * i for i in range(63)])
    layout = lay_out(lengths, np.array([700]), None, 64)
    assert layout.cut.tolist() == [False] * 62 + [True, False]
    assert len(layout.names) == 65


@pytest.mark.parametrize("shards", [4, 64])
@pytest.mark.parametrize("place", [0, 50, 100])
def test_a_document_that_dwarfs_the_others_is_cut_and_not_held_out(place, shards):
    lengths = np.full(101, 5000)
    lengths[place] = 3_000_000
    layout = lay_out(lengths, NONE, 0.01, shards)
    assert np.flatnonzero(layout.cut).tolist() == [place]
    totals = bytes_of_shards(lengths, layout)
    assert totals.pop("validation-00000") == 5000
    assert max(totals.values()) < 3 * min(totals.values())


def test_shards_are_about_equal():
    lengths = np.random.default_rng(0).lognormal(8, 1, 5000).astype(np.int64)
    totals = bytes_of_shards(lengths, lay_out(lengths, NONE, 0.01, 64))
    totals.pop("validation-00000")
    assert max(totals.values()) < 2 * min(totals.values())


def test_validation_files_stay_whole_and_a_lone_document_is_parted():
    layout = lay_out(np.full(100, 3000), np.array([10, 3_000_000]), None, 8)
    assert not layout.cut.any()
    assert [layout.names[i] for i in layout.shard_of[-2:]] == ["validation-00000"] * 2
    lone = np.array([3_000_000])
    (parts,) = parts_of(lone, lay_out(lone, NONE, 0.1, 8))
    assert {name.split("-")[0] for name, _ in parts} == {"train", "validation"}
    with pytest.raises(CorpusError, match="holding one out leaves none"):
        lay_out(np.array([900]), NONE, 0.1, 8)
