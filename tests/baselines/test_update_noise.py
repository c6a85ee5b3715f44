"""Noise of updates: every call of a segment draws its own."""

import pytest
import torch
from test_interventions import IDS, INPUTS, build

from reasoning.supervision import Depth


@pytest.mark.parametrize(
    ("name", "calls"), [("trm", 2 * 3), ("hrm", 2 * 3), ("attractor-z", 1 + 3)]
)
def test_every_update_of_a_segment_has_noise_of_its_own(name, calls, monkeypatch):
    """By its number, so that no two calls of a segment draw the same; a solve's are held."""
    model = build(name, update_noise=0.1, initial="random")
    draws, update = [], model.update
    monkeypatch.setattr(model, "update", lambda *given: draws.append(given[-1]) or update(*given))
    seeds = torch.arange(3)
    model.segment(model.initial_state(3, seeds), INPUTS, IDS, Depth(), seeds)
    assert sorted(set(draws)) == list(range(calls))
    assert len(draws) == calls or name == "attractor-z"
