"""Batches: order, random access, augmentation."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzles.errors import DataError
from puzzles.kinds import puzzle_of
from puzzles.maze import generator as maze_generator
from puzzles.puzzle_set import PuzzleSet
from puzzles.stream import BatchStream
from puzzles.sudoku import generator, rules
from puzzles.validate import fault_codes


def numbered_set(group_sizes: list[int]) -> PuzzleSet:
    """Puzzle i has identifier i, so a batch shows which rows were drawn."""
    rows = sum(group_sizes)
    puzzles, solutions = generator.generate(rows, 4, seed=1)
    return PuzzleSet(
        "sudoku",
        4,
        rules.to_tokens(puzzles),
        rules.to_tokens(solutions),
        np.arange(rows, dtype=np.int32),
        np.concatenate([[0], np.cumsum(group_sizes)]).astype(np.int64),
    )


def equal(first, second) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_batch_holds_rows_of_the_set():
    part = numbered_set([1] * 10)
    inputs, labels, ids = BatchStream(part, 4, seed=0, augment=False).batch_at(3)
    assert (inputs.dtype, labels.dtype, ids.dtype) == (np.uint8, np.uint8, np.int32)
    np.testing.assert_array_equal(inputs, part.inputs[ids])
    np.testing.assert_array_equal(labels, part.labels[ids])


def test_a_turned_view_of_an_augmentation_becomes_an_array_of_its_own(monkeypatch):
    monkeypatch.setattr(
        type(puzzle_of("sudoku")), "augment", lambda self, a, b, rng: (a[:, ::-1], b[:, ::-1])
    )
    part = numbered_set([1] * 10)
    inputs, labels, ids = BatchStream(part, 4, seed=0, augment=True).batch_at(3)
    assert inputs.flags.c_contiguous  # torch takes no negative strides
    assert labels.flags.c_contiguous
    np.testing.assert_array_equal(inputs, part.inputs[ids][:, ::-1])


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=9),
    data=st.data(),
    seed=st.integers(0, 2**63),
)
def test_an_epoch_visits_each_group_at_most_once(sizes, data, seed):
    """Whole batches only: G // B of them, each from B different groups, none visited twice."""
    part = numbered_set(sizes)
    batch = data.draw(st.integers(1, len(sizes)))
    stream = BatchStream(part, batch, seed, augment=False)
    group_of = np.repeat(np.arange(len(sizes)), sizes)
    assert stream.steps_per_epoch == len(sizes) // batch
    for epoch in range(3):
        steps = range(epoch * stream.steps_per_epoch, (epoch + 1) * stream.steps_per_epoch)
        groups = np.concatenate([group_of[stream.batch_at(step)[2]] for step in steps])
        assert len(groups) == len(np.unique(groups)) == stream.steps_per_epoch * batch


def test_the_order_changes_from_epoch_to_epoch_and_drops_different_groups():
    stream = BatchStream(numbered_set([1] * 10), 4, seed=0, augment=False)
    epochs = [
        np.concatenate([stream.batch_at(2 * epoch + i)[2] for i in range(2)]) for epoch in range(30)
    ]
    assert len({tuple(epoch) for epoch in epochs}) == 30
    np.testing.assert_array_equal(np.unique(epochs), np.arange(10))


def test_each_puzzle_of_a_group_is_drawn_equally_often():
    stream = BatchStream(numbered_set([4, 1]), 2, seed=5, augment=False)
    drawn = np.concatenate([stream.batch_at(step)[2] for step in range(2000)])
    counts = np.bincount(drawn, minlength=5)
    assert counts[4] == 2000
    assert np.abs(counts[:4] - 500).max() < 5 * np.sqrt(2000 * 0.25 * 0.75)


@pytest.mark.parametrize("augment", [False, True])
def test_any_step_can_be_asked_for_in_any_order(augment):
    """A resumed run, or another rank, sees the batch that the uninterrupted run saw."""
    part = numbered_set([2] * 7)
    one = BatchStream(part, 3, seed=9, augment=augment)
    straight = [one.batch_at(step) for step in range(12)]
    for step in (11, 0, 5, 5, 3):
        assert equal(BatchStream(part, 3, seed=9, augment=augment).batch_at(step), straight[step])
        assert equal(one.batch_at(step), straight[step])


def test_another_seed_gives_another_order():
    part = numbered_set([1] * 20)
    batches = [BatchStream(part, 20, seed, augment=False).batch_at(0)[2] for seed in range(5)]
    assert len({tuple(ids) for ids in batches}) == 5


def test_a_batch_can_be_changed_without_changing_the_set():
    part = numbered_set([1] * 4)
    stream = BatchStream(part, 4, seed=0, augment=False)
    before = stream.batch_at(0)[0].copy()
    stream.batch_at(0)[0][:] = 0
    np.testing.assert_array_equal(stream.batch_at(0)[0], before)


def test_augmented_sudokus_are_right_and_fresh_each_epoch():
    part = numbered_set([1] * 8)
    stream = BatchStream(part, 8, seed=2, augment=True)
    seen = set()
    for step in range(6):
        inputs, labels, ids = stream.batch_at(step)
        assert not fault_codes("sudoku", inputs, labels).any()
        np.testing.assert_array_equal((inputs > 1).sum(axis=1), (part.inputs[ids] > 1).sum(axis=1))
        seen.add(inputs[np.argsort(ids)].tobytes())
    assert len(seen) == 6


def test_each_step_has_symmetries_of_its_own():
    """One puzzle in every group: two steps of one epoch differ by their symmetries alone."""
    copies = numbered_set([1]).take_groups(np.zeros(8, np.int64))
    stream = BatchStream(copies, 4, seed=0, augment=True)
    first, second = (stream.batch_at(step)[0] for step in (0, 1))
    assert stream.steps_per_epoch == 2
    assert not np.array_equal(first, second)
    assert len(np.unique(first, axis=0)) > 1


def test_augmented_mazes_are_right_and_fresh():
    whole = PuzzleSet.ungrouped("maze", 9, *maze_generator.generate_unique(12, 9, seed=0))
    stream = BatchStream(whole, 12, seed=2, augment=True)
    batches = [stream.batch_at(step) for step in range(4)]
    assert all(not fault_codes("maze", inputs, labels).any() for inputs, labels, _ in batches)
    assert any((inputs != stream.batch_at(0)[0]).any() for inputs, _, _ in batches[1:])


def test_a_batch_larger_than_the_set_is_refused():
    with pytest.raises(DataError, match=r"a batch of 6 does not fit a set of 5 groups .* Lower"):
        BatchStream(numbered_set([2] * 5), 6, seed=0, augment=False)


def test_wrong_arguments_are_refused():
    part = numbered_set([1, 1])
    with pytest.raises(ValueError, match="batch is 0"):
        BatchStream(part, 0, seed=0, augment=False)
    with pytest.raises(ValueError, match="seed is -1"):
        BatchStream(part, 1, seed=-1, augment=False)
    with pytest.raises(ValueError, match="step is -1"):
        BatchStream(part, 1, seed=0, augment=False).batch_at(-1)


def test_the_set_is_left_as_it_was():
    part = numbered_set([1] * 6)
    copy = replace(part, inputs=part.inputs.copy(), labels=part.labels.copy())
    stream = BatchStream(part, 6, seed=0, augment=True)
    for step in range(3):
        stream.batch_at(step)
    np.testing.assert_array_equal(part.inputs, copy.inputs)
    np.testing.assert_array_equal(part.labels, copy.labels)


def test_hints_show_up_to_so_many_cells_of_the_answer():
    """Beside the same batch without them: blanks alone change, each to its answer, 0 to 3 a puzzle,
    every number of them as often (chi-square of 1,600 puzzles, 3 degrees of freedom, 0.999)."""
    part = numbered_set([1] * 16)
    plain = BatchStream(part, 16, seed=4, augment=True)
    hinted = BatchStream(part, 16, seed=4, augment=True, hints=3)
    counts, cells = np.zeros(4), np.zeros(16)
    for step in range(100):
        (before, labels, ids), (after, *rest) = plain.batch_at(step), hinted.batch_at(step)
        assert equal(rest, (labels, ids))
        shown = before != after
        assert (before[shown] == 1).all()
        np.testing.assert_array_equal(after[shown], labels[shown])
        counts += np.bincount(shown.sum(axis=1), minlength=4)
        cells += shown.sum(axis=0) / np.maximum((before == 1).sum(axis=0), 1)
    assert ((counts - 400) ** 2 / 400).sum() < 16.27
    assert cells.min() > 0.5 * cells.max()
    assert equal(hinted.batch_at(7), BatchStream(part, 16, 4, True, 3).batch_at(7))


def test_hints_of_a_full_question_change_nothing():
    part = numbered_set([1] * 4)
    full = np.arange(4)[:, None] != 2  # all but one
    mostly = replace(part, inputs=np.where(full, part.labels, part.inputs))
    inputs, labels, ids = BatchStream(mostly, 4, seed=0, augment=False, hints=15).batch_at(0)
    np.testing.assert_array_equal(inputs[ids != 2], labels[ids != 2])


def test_hints_are_refused_where_nothing_is_blank():
    mazes = PuzzleSet.ungrouped("maze", 9, *maze_generator.generate_unique(4, 9, seed=0))
    with pytest.raises(ValueError, match="leaves no cells blank"):
        BatchStream(mazes, 2, seed=0, augment=True, hints=1)
    part = numbered_set([1] * 4)
    with pytest.raises(ValueError, match="leaves no cells blank"):  # the data tell, not the kind
        BatchStream(replace(part, inputs=part.labels), 2, seed=0, augment=True, hints=1)
    for wrong in (-1, 16):
        with pytest.raises(ValueError, match="expected 0 to 15"):
            BatchStream(numbered_set([1] * 4), 2, seed=0, augment=True, hints=wrong)
