"""Search with the net as judge: its rules against brute force, its way against what it is told."""

import itertools

import numpy as np
import pytest
import torch

from puzzles.sudoku.generator import generate
from puzzles.sudoku.rules import from_tokens, geometry, is_solution, keeps_givens, to_tokens
from puzzles.units import interchangeable_tokens, unit_families
from reasoning import judged
from reasoning.judged import UnitRules, judge
from reasoning.loss_config import LossConfig
from reasoning.losses import log_probabilities
from reasoning.randomness import content_seeds
from reasoning.search_config import JudgeConfig
from reasoning.supervision import SegmentOutput

CPU = torch.device("cpu")


def rules_of(size: int) -> UnitRules:
    return UnitRules.of(unit_families("sudoku", size), interchangeable_tokens("sudoku", size), CPU)


class Told:
    """Answers a question with the logits that a function of it (M, C) gives, (M, C, V)."""

    def __init__(self, thinks):
        self.thinks, self.asked = thinks, []

    def initial_state(self, batch, seeds=None):
        return (torch.zeros(batch, 1, 1),)

    def segment(self, state, inputs, puzzle_ids, depth, seeds=None):
        self.asked.append(inputs.clone())
        twos = torch.full((len(inputs),), 2)
        return SegmentOutput(state, self.thinks(inputs), torch.zeros(len(inputs), 2), twos)


def indifferent(vocabulary: int):
    return Told(lambda inputs: torch.zeros(*inputs.shape, vocabulary))


def searched(model, questions: np.ndarray, calls: int, segments: int = 1, batch: int = 7):
    inputs = torch.from_numpy(questions).long()
    size = int(questions.shape[1] ** 0.5)
    ids = torch.zeros(len(inputs), dtype=torch.int64)
    config = JudgeConfig(calls=calls, segments=segments)
    return judge(model, inputs, ids, content_seeds(inputs, 0), rules_of(size), config, batch)


def small_sudokus(count: int) -> tuple[np.ndarray, np.ndarray]:
    """4x4 questions of one solution each, and that."""
    questions, solutions = generate(count, 4, seed=1)
    return to_tokens(questions), to_tokens(solutions)


@pytest.mark.parametrize("size", [4, 6, 9])
def test_the_rules_are_those_of_sudoku_cell_by_cell(size):
    rng, count = np.random.default_rng(size), 10
    grids = rng.integers(0, size + 1, (count, size * size)).astype(np.uint8)
    fullness = np.linspace(0, 0.8, count)
    grids[rng.random(grids.shape) > fullness[:, None]] = 0
    rules, units = rules_of(size), geometry(size).units
    peers = [
        {other for unit in units if cell in unit for other in unit if other != cell}
        for cell in range(size * size)
    ]
    allowed = rules.allowed(torch.from_numpy(to_tokens(grids)).long())
    for grid, may in zip(grids, allowed.numpy(), strict=True):
        for cell, digit in itertools.product(range(size * size), range(1, size + 1)):
            seen = any(grid[other] == digit for other in peers[cell])
            assert may[cell, digit - 1] == (not seen and grid[cell] in (0, digit))
    places = np.stack([allowed.numpy()[:, unit].any(1).all(1) for unit in units], axis=1)
    stuck = ~(places.all(1) & allowed.numpy().any(2).all(1))
    np.testing.assert_array_equal(rules.conflict(allowed).numpy(), stuck)
    assert stuck.any()
    assert not stuck.all()


def test_what_keeps_the_rules_is_a_solution_of_the_question():
    questions, labels = small_sudokus(6)
    answers = np.concatenate([labels, np.roll(labels, 1, axis=0), np.ones_like(labels)])
    asked = np.tile(questions, (3, 1))
    kept = rules_of(4).kept(torch.from_numpy(asked).long(), torch.from_numpy(answers).long())
    digits = from_tokens(answers)
    expected = is_solution(digits) & keeps_givens(from_tokens(asked), digits)
    np.testing.assert_array_equal(kept.numpy(), expected)
    assert kept[:6].all()
    assert not kept[6:].any()


def test_a_net_that_knows_nothing_finds_every_answer_in_the_end():
    """Nothing is lost: every question asked is another, and the last one leads to the answer."""
    questions, labels = small_sudokus(12)
    model = indifferent(6)
    found = searched(model, questions, 400)
    assert (found.solved_at > 0).all()
    np.testing.assert_array_equal(found.answers, labels)
    assert found.solved_at.max() > 1
    asked = torch.cat(model.asked)
    assert len(torch.unique(asked, dim=0)) == len(asked) == found.solved_at.sum()
    # Calls are counted until an answer is right, two of the net each.
    np.testing.assert_array_equal(found.net_calls.sum(1), 2 * found.solved_at)
    # A smaller budget is the beginning of a larger one.
    few = searched(indifferent(6), questions, 3)
    np.testing.assert_array_equal(few.solved_at, np.where(found.solved_at <= 3, found.solved_at, 0))
    np.testing.assert_array_equal(found.solved_within(3), few.solved_at > 0)


def test_no_answer_is_claimed_where_there_is_none():
    impossible = np.ones((2, 16), np.uint8)
    impossible[0, :4] = [2, 3, 4, 1]  # the last cell of this row wants the digit 4 ...
    impossible[0, 7] = 5  # ... which stands below it
    impossible[1, :2] = 2  # one digit twice in a row
    model = indifferent(6)
    found = searched(model, impossible, 50)
    assert (found.solved_at == 0).all()
    assert not model.asked


@pytest.mark.parametrize("sure", [True, False])
def test_it_goes_where_the_net_sees_least_trouble(sure):
    """A net that gives all to what the rules forbid as soon as a cell is wrong leads straight to
    the answer; one that likes only wrong questions leads away from it."""
    questions, labels = small_sudokus(12)
    known = torch.from_numpy(labels).long()

    def thinks(inputs):
        fits = (inputs[:, None] == known) | (inputs[:, None] == 1)  # (M, N, C)
        wrong = ~fits.all(2).any(1)
        logits = torch.zeros(*inputs.shape, 6)
        logits[..., 0] = 20.0 * (wrong == sure)[:, None]  # padding: no symbol of the rules
        return logits

    calls = searched(Told(thinks), questions, 400).solved_at
    blind = searched(indifferent(6), questions, 400).solved_at
    assert calls.min() > 0
    assert (calls.sum() < blind.sum()) == sure


def test_the_first_call_is_the_plain_answer_and_stands_where_none_is_right():
    questions, labels = small_sudokus(8)
    wanted = torch.from_numpy(np.roll(labels, 1, axis=0)).long()
    lookup = {q.tobytes(): w for q, w in zip(questions, wanted, strict=True)}

    def thinks(inputs):
        rows = [lookup[g.tobytes()] for g in inputs.numpy().astype(np.uint8)]
        return 9.0 * torch.nn.functional.one_hot(torch.stack(rows), 6).float()

    found = searched(Told(thinks), questions, 1)
    allowed = rules_of(4).allowed(torch.from_numpy(questions).long())
    likes = torch.gather(allowed, 2, wanted[..., None] - 2)[..., 0].numpy()
    np.testing.assert_array_equal(found.answers[likes], wanted.numpy()[likes])
    assert (found.answers != labels).any(1).all() == (found.solved_at == 0).all()


def test_no_puzzle_depends_on_its_batch_mates():
    questions, _ = small_sudokus(9)

    def thinks(inputs):  # of the question alone, and never the same twice
        hashed = (inputs[..., None] * torch.arange(3, 9) * (1 + torch.arange(16))[:, None]) % 7
        return hashed.float() + inputs.sum(1)[:, None, None] % 3 * torch.arange(6)

    whole = searched(Told(thinks), questions, 30, batch=9)
    alone = [searched(Told(thinks), questions[i : i + 1], 30, batch=1) for i in range(9)]
    np.testing.assert_array_equal(whole.answers, np.concatenate([a.answers for a in alone]))
    np.testing.assert_array_equal(whole.net_calls, np.concatenate([a.net_calls for a in alone]))


def test_units_that_do_not_hold_every_symbol_are_refused():
    with pytest.raises(ValueError, match="hold \\[5\\] cells and there are 0 symbols"):
        UnitRules.of(unit_families("maze", 5), interchangeable_tokens("maze", 5), CPU)


def test_trouble_is_told_by_the_chances_that_the_model_was_trained_to_give():
    """Two nodes whose order turns with the loss: one strikes two tokens a little less, the other
    one of them a little, the other all but wholly."""
    rules, questions = rules_of(4), torch.ones(2, 16, dtype=torch.int64)
    logits = torch.zeros(2, 16, 6)
    logits[0, :, :2], logits[1, :, :2] = -3.0, torch.tensor([-1.5, -1e3])
    told = {}
    for kind, by_hand in (
        ("softmax", lambda a: a.exp()),
        ("stablemax", lambda a: torch.where(a >= 0, a + 1, 1 / (1 - a.clamp_max(0)))),
    ):
        believed = log_probabilities(logits, LossConfig(cells=kind))
        told[kind] = judged._Opinion.of(believed, questions, rules).trouble
        s = by_hand(logits.double())
        share = s[..., 2:].sum(-1) / s.sum(-1)
        torch.testing.assert_close(told[kind].double(), -share.log().sum(-1), rtol=1e-5, atol=0)
    assert (told["softmax"][0] > told["softmax"][1]) != (
        told["stablemax"][0] > told["stablemax"][1]
    )
