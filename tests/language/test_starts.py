"""The start of a solve, and what injection costs."""

import pytest
import torch


def test_a_gaussian_start_has_the_deviation_that_is_asked_for(make, tokens):
    wide, narrow = (make("attractor", start="gaussian", start_deviation=s) for s in (1.0, 0.25))
    c = torch.zeros(3, 24, 64)
    drawn = wide._start(tokens, c, None, 0)
    assert drawn.std() == pytest.approx(1, abs=0.05)
    torch.testing.assert_close(narrow._start(tokens, c, None, 0), drawn / 4)


def test_a_mix_of_state_and_proposal_is_a_matmul_of_every_pass(make):
    added, mixed = (make("attractor", injection=i).cost() for i in ("additive", "concatenation"))
    assert mixed.core - added.core == mixed.total - added.total == 2 * 64 * 64
    assert (mixed.once, mixed.core_scales) == (added.once, added.core_scales)
