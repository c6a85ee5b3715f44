"""Deep supervision with a model whose every number is known."""

import math
from dataclasses import replace

import pytest
import torch

from reasoning.losses import LossConfig
from reasoning.supervision import (
    Batch,
    Depth,
    SegmentOutput,
    Stage,
    SupervisionConfig,
    exploration_minimum,
    infer,
    start,
    supervise,
)

VOCABULARY = 5


class Counter(torch.nn.Module):
    """State: one number that grows by one a segment; halts by a rule given on construction."""

    def __init__(self, halts=lambda state: torch.full((len(state),), -1.0)):
        super().__init__()
        self.halts = halts

    def initial_state(self, batch, seeds=None):
        return (torch.full((batch, 1, 1), 10.0),)

    def segment(self, state, inputs, puzzle_ids, depth, seeds=None):
        grown = state[0] + 1
        logits = torch.nn.functional.one_hot(inputs, VOCABULARY).float()
        q = torch.stack((self.halts(grown[:, 0, 0]), torch.zeros(len(inputs))), dim=1)
        return SegmentOutput((grown,), logits, q, torch.ones(len(inputs), dtype=torch.int64))


def batch(first: int, size: int = 3) -> Batch:
    tokens = torch.arange(first, first + size).view(size, 1) % (VOCABULARY - 1) + 1
    return Batch(tokens, tokens, torch.arange(first, first + size))


def run(model, steps, segments, minimum=0):
    """The carry after each of `steps` steps."""
    carry, stage, seen = start(model, batch(0)), Stage(until=1.0, segments=segments), []
    for step in range(steps):
        done = supervise(
            model, carry, batch(10 * step), torch.full((3,), minimum), stage, LossConfig()
        )
        carry = done.carry
        seen.append(carry)
    return seen


def test_slots_keep_their_puzzle_until_the_limit_and_then_take_the_batch_of_that_step():
    seen = run(Counter(), steps=5, segments=2)
    assert [c.segments.tolist()[0] for c in seen] == [1, 2, 1, 2, 1]
    assert [c.puzzle.puzzle_ids.tolist()[0] for c in seen] == [0, 0, 20, 20, 40]
    assert [c.state[0][0, 0, 0].item() for c in seen] == [11, 12, 11, 12, 11]
    assert [c.halted[0].item() for c in seen] == [False, True, False, True, False]


def test_a_positive_score_halts_only_the_slots_that_give_it():
    model = Counter(halts=lambda s: torch.where(torch.arange(len(s)) == 1, 1.0, -1.0))
    seen = run(model, steps=2, segments=9)
    assert seen[0].halted.tolist() == [False, True, False]
    assert seen[1].segments.tolist() == [2, 1, 2]
    assert seen[1].puzzle.puzzle_ids.tolist() == [0, 11, 2]


def test_a_minimum_of_segments_delays_halting():
    model = Counter(halts=torch.ones_like)
    seen = run(model, steps=3, segments=9, minimum=3)
    assert [c.halted[0].item() for c in seen] == [False, False, True]


def test_q_learning_halts_on_halt_over_continue_and_learns_the_next_segments_score():
    """Scores are functions of the state, so the target of each segment can be written down."""
    score = {11.0: (-1.0, 0.5), 12.0: (2.0, -0.3), 13.0: (0.4, 0.9), 14.0: (-0.2, 0.1)}

    class Scored(Counter):
        def segment(self, state, inputs, puzzle_ids, depth, seeds=None):
            out = super().segment(state, inputs, puzzle_ids, depth)
            q = torch.tensor([score[s] for s in out.state[0][:, 0, 0].tolist()])
            return replace(out, q=q)

    model, minimum = Scored(), torch.zeros(3, dtype=torch.int64)
    stage, loss = Stage(until=1.0, segments=3), LossConfig()
    carry, done = start(model, batch(0)), []
    for step in range(3):
        done.append(supervise(model, carry, batch(step), minimum, stage, loss, "q-learning"))
        carry = done[-1].carry
    # 11: continue is larger, go on. 12: halt is larger. Then a new puzzle at 11.
    assert [d.carry.halted[0].item() for d in done] == [False, True, False]
    assert done[0].net_calls.tolist() == [2, 2, 2]
    for d, (q, target) in zip(
        done, [(score[11.0], max(score[12.0])), (score[12.0], max(score[13.0]))], strict=False
    ):
        right = 1.0 if d.losses.exact[0] else 0.0
        expected = bce(q[0], right) + bce(q[1], 1 / (1 + math.exp(-target)))
        assert d.losses.halting[0].item() == pytest.approx(expected, rel=1e-5)
    # At the limit the target is the next halting score alone.
    carry, two = start(model, batch(0)), Stage(until=1.0, segments=2)
    held = torch.full((3,), 2)
    for _ in range(2):
        limited = supervise(model, carry, batch(0), held, two, loss, "q-learning")
        carry = limited.carry
    expected = bce(2.0, 1.0) + bce(-0.3, 1 / (1 + math.exp(-0.4)))
    assert limited.losses.halting[0].item() == pytest.approx(expected, rel=1e-5)
    # One segment leaves no choice: nothing is looked at ahead, and continue is not trained.
    once = Stage(until=1.0, segments=1)
    alone = supervise(model, start(model, batch(0)), batch(0), minimum, once, loss, "q-learning")
    assert alone.net_calls.tolist() == [1, 1, 1]
    assert alone.carry.halted.all()
    assert alone.losses.halting[0].item() == pytest.approx(bce(-1.0, 1.0), rel=1e-5)


def bce(logit: float, target: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -target * math.log(p) - (1 - target) * math.log(1 - p)


def test_exploration_draws_minima_of_two_to_the_limit_at_its_rate():
    config = SupervisionConfig(exploration=0.25)
    minimum = exploration_minimum(40_000, config, 6, torch.Generator().manual_seed(0))
    explored = minimum[minimum > 0]
    assert abs(len(explored) / 40_000 - 0.25) < 0.01
    assert torch.bincount(explored).tolist()[:2] == [0, 0]
    counts = torch.bincount(explored)[2:]
    assert len(counts) == 5
    assert (counts - counts.float().mean()).abs().max() < 5 * counts.float().mean().sqrt()


def test_the_carry_holds_no_graph():
    model = Counter()
    model.weight = torch.nn.Parameter(torch.ones(()))
    model.initial_state = lambda size, seeds: (model.weight * torch.ones(size, 1, 1),)
    carry = start(model, batch(0))
    assert not carry.state[0].requires_grad


def test_inference_ignores_halting_and_runs_every_segment():
    model = Counter(halts=torch.ones_like)
    outputs = list(infer(model, batch(0).inputs, batch(0).puzzle_ids, 4, Depth()))
    assert [o.state[0][0, 0, 0].item() for o in outputs] == [11, 12, 13, 14]


def test_stages_follow_the_fraction_of_training():
    config = SupervisionConfig(
        segments=16,
        curriculum=(
            Stage(until=0.25, segments=1, evaluations=0),
            Stage(until=1.0, segments=8, cycles=2),
        ),
    )
    assert [config.stage_at(step, 100).segments for step in (0, 24, 25, 99)] == [1, 1, 8, 8]
    assert config.stage_at(0, 100).depth == Depth(evaluations=0)
    assert config.stage_at(99, 100).depth == Depth(cycles=2)
    assert SupervisionConfig(segments=5).stage_at(3, 10).segments == 5


@pytest.mark.parametrize("ends", [(0.5,), (0.6, 0.4, 1.0), (0.5, 0.5, 1.0)])
def test_a_curriculum_that_does_not_grow_to_the_end_is_refused(ends):
    with pytest.raises(ValueError, match="curriculum"):
        SupervisionConfig(curriculum=[{"until": end, "segments": 1} for end in ends])
