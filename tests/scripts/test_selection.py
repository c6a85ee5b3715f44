"""Every rule of selection against a plain loop over hand-made and random candidates."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzles.dataset import read_split
from puzzles.metrics import is_valid
from scripts.runs.selection import RULES, Candidates, choose, keeps_rules, trailing_mean


def candidates(seed: int, n: int, width: int, segments: int) -> Candidates:
    """Random ones with many ties: few answers, few residuals, infinite ones among them."""
    rng = np.random.default_rng(seed)
    shape = (n, width, segments)
    return Candidates(
        tokens=rng.integers(0, 2, (*shape, 2)).astype(np.uint8),
        residual=rng.choice([0.1, 0.2, 0.3, np.inf], shape),
        halt=rng.choice([-2.0, -1.0, 1.0], shape, p=[0.5, 0.4, 0.1]),
        valid=rng.random(shape) < 0.1,
        net_calls=rng.integers(1, 9, shape),
        evaluations=rng.integers(0, 5, shape),
    )


def claims(c: Candidates, row: int, k: int, segment: int) -> bool:
    """It would halt, and says what it said before."""
    before, now = c.tokens[row, k, max(0, segment - 1)], c.tokens[row, k, segment]
    return bool(segment and c.halt[row, k, segment] > 0 and tuple(before) == tuple(now))


def by_hand(rule: str, c: Candidates, row: int) -> tuple[int, int]:
    """(candidate, segment) of one puzzle, read off the definitions."""
    width, segments = c.residual.shape[1:]
    last = segments - 1

    def calmest(eligible: list[int], segment: int) -> tuple[int, int]:
        return min(eligible, key=lambda k: (c.residual[row, k, segment], k)), segment

    everyone = list(range(width))
    if rule == "single":
        return 0, last
    if rule == "q":
        best = max(c.halt[row, k, last] for k in everyone)
        return calmest([k for k in everyone if c.halt[row, k, last] == best], last)
    if rule == "majority":
        answers = [tuple(c.tokens[row, k, last]) for k in everyone]
        most = max(Counter(answers).values())
        return calmest([k for k in everyone if Counter(answers)[answers[k]] == most], last)
    if rule == "restart":
        for k, segment in product(everyone, range(segments)):
            if claims(c, row, k, segment):
                return k, segment
    if rule in ("halt-first", "verified"):
        flags = c.halt > 0 if rule == "halt-first" else c.valid
        for segment in range(segments):
            flagged = [k for k in everyone if flags[row, k, segment]]
            if flagged:
                return calmest(flagged, segment)
    return calmest(everyone, last)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 5), st.sampled_from(RULES))
def test_every_rule_is_its_definition(seed, width, segments, rule):
    found = candidates(seed, 20, width, segments)
    choice = choose(rule, found)
    expected = [by_hand(rule, found, row) for row in range(20)]
    assert list(zip(choice.candidate.tolist(), choice.segment.tolist(), strict=True)) == expected
    for row, (k, s) in enumerate(expected):
        assert (choice.of(found.tokens)[row] == found.tokens[row, k, s]).all()
        calls = found.net_calls[row]
        if rule == "restart" and claims(found, row, k, s):
            together = calls[:k].sum() + calls[k, : s + 1].sum()  # one after another
        else:
            together = calls[:, : s + 1].sum()  # everyone ran until the answer came
        assert choice.cost(found.net_calls)[row] == together


def test_first_candidates_to_a_segment_are_those():
    found = candidates(0, 7, 6, 5)
    part = found.first(2, 3)
    assert part.residual.shape == (7, 2, 3)
    assert (part.tokens == found.tokens[:, :2, :3]).all()
    assert choose("residual", part).segment.tolist() == [2] * 7


def test_only_whole_equal_answers_of_the_same_puzzle_vote_together():
    tokens = np.array([[[1, 2], [2, 1], [1, 2]], [[1, 2], [1, 2], [1, 2]]], np.uint8)[:, :, None]
    flat = np.zeros((2, 3, 1))
    found = Candidates(tokens, flat, flat, flat > 0, flat, flat)
    assert found.votes.tolist() == [[2, 1, 2], [3, 3, 3]]


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="no rule is called 'best'"):
        choose("best", candidates(0, 2, 2, 2))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 5))
def test_trailing_mean_is_the_mean_of_the_last(seed, segments, window):
    values = np.random.default_rng(seed).random((3, 2, segments)).astype(np.float32)
    values[0, 0, 0] = np.inf
    means = trailing_mean(values, window)
    for s in range(segments):
        expected = values[..., max(0, s + 1 - window) : s + 1].astype(np.float64).mean(-1)
        np.testing.assert_allclose(means[..., s], expected, rtol=1e-12)


def test_rules_are_checked_for_every_answer_that_was_given(sudokus):
    puzzles = read_split(sudokus, "test").take_groups(np.arange(6))
    rng = np.random.default_rng(0)
    tokens = np.repeat(puzzles.labels[:, None, None], 3, axis=1).repeat(5, axis=2)
    # Some answers are spoilt for a while and mended again.
    for n, k, s in np.argwhere(rng.random((6, 3, 5)) < 0.4):
        tokens[n, k, s, rng.integers(16)] = rng.integers(0, 6)
    valid = keeps_rules("sudoku", puzzles.inputs, tokens)
    expected = [
        [[is_valid("sudoku", puzzles.inputs[n, None], t[None])[0] for t in start] for start in row]
        for n, row in enumerate(tokens)
    ]
    assert valid.tolist() == expected
    assert 0.2 < valid.mean() < 0.9
