"""What a step measures of its slots, and what it draws and decodes, by hand."""

from dataclasses import replace

import pytest
import torch
from test_supervision import Counter, batch

from reasoning.losses import LossConfig, supervision_loss
from reasoning.supervision import (
    Batch,
    Carry,
    SegmentOutput,
    Stage,
    Supervised,
    start,
    supervise,
)
from reasoning.training.slots import measure


def test_what_is_measured_of_a_step_by_hand():
    """Three slots of four cells, PAD not scored: 1 of 2, 4 of 4 and 3 of 3 cells right; the last
    two have halted, after 5 and 2 segments."""
    labels = torch.tensor([[1, 2, 0, 0], [1, 2, 1, 2], [2, 2, 2, 0]])
    said = torch.tensor([[1, 1, 0, 1], [1, 2, 1, 2], [2, 2, 2, 0]])
    logits, q = torch.nn.functional.one_hot(said, 3).float(), torch.zeros(3, 2)
    calls, none = torch.tensor([6, 7, 8]), torch.zeros(3, dtype=torch.int64)
    losses = supervision_loss(logits, q, labels, LossConfig())
    halted = torch.tensor([False, True, True])
    carry = Carry((), torch.tensor([3, 5, 2]), halted, Batch(labels, labels, none))
    output = SegmentOutput((), logits, q, calls, {"residual": torch.tensor([1.0, 2.0, 4.0])})
    sums = {k: float(v) for k, v in measure(Supervised(output, calls + 1, losses, carry)).items()}
    expected = {"slots": 3, "finished": 2, "cell": 2.5, "finished_cell": 2, "finished_exact": 2}
    expected |= {"finished_segments": 7, "net_calls": 24, "residual": 7}
    expected |= {"loss": float(losses.total.sum()), "cell_loss": float(losses.cells.sum())}
    assert sums == pytest.approx(expected | {"halting_loss": float(losses.halting.sum())})


def test_every_draw_of_a_step_has_a_seed_of_its_own_and_the_look_ahead_no_graph():
    seeds, graphs = [], []

    class Drawing(Counter):
        def initial_state(self, batch, seed=None):
            seeds.append(seed)
            return super().initial_state(batch)

        def segment(self, state, inputs, puzzle_ids, depth, seed=None):
            seeds.append(seed)
            graphs.append(torch.is_grad_enabled())
            return super().segment(state, inputs, puzzle_ids, depth)

    given, stage = torch.arange(3), Stage(until=1.0, segments=4)
    carry = start(Counter(), batch(0))
    supervise(Drawing(), carry, batch(0), given, stage, LossConfig(), "q-learning", given)
    assert len(torch.cat([given, *seeds]).unique()) == 4 * 3  # the start, a segment, the next one
    assert graphs == [True, False]


def test_earlier_answers_are_scored_only_where_every_is_asked_for():
    class Early(Counter):
        def segment(self, *given):
            return replace(super().segment(*given), earlier=(torch.zeros(3, 1, 1),))

        def decode(self, y):
            raise AssertionError("an earlier answer was decoded")

    stage, least = Stage(until=1.0, segments=4), torch.zeros(3)
    done = supervise(Early(), start(Early(), batch(0)), batch(0), least, stage, LossConfig())
    plain = supervise(Counter(), start(Counter(), batch(0)), batch(0), least, stage, LossConfig())
    torch.testing.assert_close(done.losses.cells, plain.losses.cells)
