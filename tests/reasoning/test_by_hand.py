"""Predictions, a judge's children, solver settings and counts, by hand."""

import math

import numpy as np
import pytest
import torch
from test_judged import Told, content_seeds, rules_of, searched, small_sudokus
from training_standins import ALONE

from baselines.trm import TRM, TRMConfig
from reasoning import judged
from reasoning.nn.grid import GridShape
from reasoning.nn.reasoner import embedding_count, parameter_count
from reasoning.solver_config import SolverConfig
from reasoning.supervision import SegmentOutput
from reasoning.training.evaluation import predict


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_no_number_in_any_segment_is_told(value):
    class Failing(torch.nn.Module):
        def initial_state(self, batch, seeds=None):
            return (torch.zeros(batch, 1, 1),)

        def segment(self, state, inputs, puzzle_ids, depth, seeds=None):
            logits = torch.zeros(len(inputs), 4, 5)
            logits[:, :, 0] = -math.inf  # a token that is ruled out is no failure
            logits[1, 2, 3] = value if state[0][0] == 1 else 0.0  # in the second segment alone
            ones = torch.ones(len(inputs), dtype=torch.int64)
            return SegmentOutput((state[0] + 1,), logits, torch.zeros(len(inputs), 2), ones)

    grids = np.ones((3, 4), np.uint8)
    said = predict(Failing(), grids, np.zeros(3, np.int32), 3, 3, ALONE)
    assert said.finite.tolist() == [True, False, True]


def test_children_by_hand():
    """Of an empty 4x4 grid the cell that the net knows least about is guessed, here cell 5; a
    child costs the trouble seen, and a tenth of -log of what all its guesses' chances were."""
    logits = torch.zeros(1, 16, 6)
    logits[..., 2] = 2.0  # surer of a symbol everywhere
    logits[0, 5] = torch.tensor([-math.inf, 0.0, 0.4, 0.3, 0.2, 0.1])
    question = torch.ones(1, 16, dtype=torch.int64)
    rules, node = rules_of(4), judged._Node(9.0, 0, 0.7, np.ones(16, np.uint8))
    opinion = judged._Opinion.of(logits.log_softmax(-1), question, rules)
    (children,) = opinion.children([node], rules, 3)
    chances = logits[0].double().softmax(-1)[:, 2:]
    trouble = -chances.sum(1).log().sum()
    for symbol, child in enumerate(children):
        guess = chances[5, symbol] / chances[5].sum()
        assert np.flatnonzero(child.question != 1).tolist() == [5]
        assert child.question[5] == 2 + symbol
        assert child.guessed == pytest.approx(float(0.7 - guess.log()), rel=1e-5)
        assert child.cost == pytest.approx(float(trouble + 0.1 * (0.7 - guess.log())), rel=1e-5)
    assert [child.born for child in children] == [12, 13, 14, 15]


def test_every_call_of_a_puzzle_draws_anew():
    """The first as a plain evaluation does, and none as another."""
    seen = []

    class Seeded(Told):
        def initial_state(self, batch, seeds=None):
            seen.append(seeds.clone())
            return super().initial_state(batch)

    questions, _ = small_sudokus(6)
    searched(Seeded(lambda inputs: torch.zeros(*inputs.shape, 6)), questions, 30)
    given = content_seeds(torch.from_numpy(questions).long(), 0)
    assert torch.equal(seen[0], given)
    assert len(torch.cat(seen).unique()) == len(torch.cat(seen)) > 6


# test_own_solver.py, or beside SolverConfig's other tests
def test_the_least_evaluations_reach_the_solver_within_its_budget():
    config = SolverConfig(min_evaluations=4, max_evaluations=9)
    for asked, expected in ((None, (4, 9)), (12, (4, 12)), (3, (3, 3)), (0, (0, 0))):
        for kind in ("anderson", "picard"):
            built = config.model_copy(update={"kind": kind}).build(asked)
            assert (built.min_evaluations, built.max_evaluations) == expected


def test_positions_are_counted_among_the_embeddings_and_puzzles_are_not_counted():
    sizes = {"width": 16, "layers": 1, "heads": 2, "multiple": 8}
    config = TRMConfig(**sizes, puzzle_tokens=2, positions="learned", initial="learned")
    model = TRM(config, GridShape(9, 6, puzzles=5))
    assert embedding_count(model) == (6 + 2 + 9) * 16  # tokens, and places of cells and puzzle
    whole = sum(p.numel() for p in model.parameters())
    assert parameter_count(model) == whole - 5 * 16 - 2 * 16
