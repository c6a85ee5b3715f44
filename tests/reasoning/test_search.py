"""Search at test time: whose randomness, who leaves, what is recorded."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from baselines.hrm import HRM, HRMConfig
from baselines.trm import TRM, TRMConfig
from reasoning.attractor import Attractor, AttractorConfig
from reasoning.nn.grid import GridShape
from reasoning.randomness import content_seeds
from reasoning.search import SearchConfig, random_state, search
from reasoning.supervision import Depth, SegmentOutput, infer
from reasoning.training.distribution import World
from reasoning.training.evaluation import predict

SHAPE = GridShape(cells=6, vocabulary=5)
SIZES = {"width": 8, "layers": 1, "heads": 2, "multiple": 8, "puzzle_tokens": 1}
GRIDS = torch.randint(1, 5, (7, 6), generator=torch.Generator().manual_seed(3))
IDS = torch.zeros(7, dtype=torch.int64)
SEEDS = content_seeds(GRIDS, 0)


EQR = {"initial": "random", "update_damping": 0.05, "update_noise": 0.1}
MODELS = {
    "attractor": lambda: Attractor(AttractorConfig(**SIZES), SHAPE),
    "trm": lambda: TRM(TRMConfig(**SIZES), SHAPE),
    "hrm": lambda: HRM(HRMConfig(**SIZES), SHAPE),
    "eqr": lambda: TRM(TRMConfig(**SIZES, **EQR), SHAPE),
}


def build(kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return MODELS[kind]().double().eval()


class Settling:
    """y closes a share of its distance to a target at every segment, elementwise, so that no bit
    depends on batch-mates. Puzzles whose first token is larger settle more slowly."""

    def __init__(self, solver: bool = True):
        self.solver, self.sizes, self.states = solver, [], []

    def initial_state(self, batch, seeds=None):
        return (torch.full((batch, 6, 5), 0.2), torch.zeros(batch, 6, 5))

    def segment(self, state, inputs, puzzle_ids, depth, seeds=None):
        y, z = state
        self.sizes.append(len(y))
        self.states.append(state)
        target = torch.nn.functional.one_hot(inputs, 5).float()
        rate = (0.1 + 0.2 * inputs[:, 0].float()).view(-1, 1, 1)
        moved = rate * y + (1 - rate) * target
        gap = (moved - y).flatten(1).norm(dim=1) / y.flatten(1).norm(dim=1)
        ones = torch.ones(len(y), dtype=torch.int64)
        diagnostics = {"residual": gap, "evaluations": 3 * ones} if self.solver else {}
        q = torch.stack((moved[:, 0, 0], moved[:, 1, 1]), dim=1)
        return SegmentOutput((moved, z), moved, q, 2 * ones, diagnostics)


def run(model, segments=4, batch=64, rows=slice(None), depth=None, **settings):
    q_learning, config = settings.pop("q_learning", False), SearchConfig(**settings)
    asked = (GRIDS[rows], IDS[rows], SEEDS[rows])
    return search(model, *asked, segments, config, batch, depth, q_learning)


@pytest.mark.parametrize("kind", MODELS)
def test_one_start_is_the_plain_evaluation(kind):
    model = build(kind)
    found = run(model, segments=3)
    plain = predict(
        model, GRIDS.numpy().astype(np.uint8), IDS.numpy(), 3, 7, World(0, 1, torch.device("cpu"))
    )
    np.testing.assert_array_equal(found.tokens[:, 0], plain.tokens.swapaxes(0, 1))
    with torch.no_grad():
        halt = [output.q[:, 0] for output in infer(model, GRIDS, IDS, 3, Depth(), SEEDS)]
    np.testing.assert_allclose(found.halt[:, 0], torch.stack(halt, dim=1), rtol=1e-6)
    assert found.net_calls.sum((1, 2)).tolist() == plain.net_calls.tolist()
    for name, values in plain.diagnostics.items():
        np.testing.assert_allclose(found.diagnostics[name][:, 0], values.T, rtol=1e-6)


@pytest.mark.parametrize("kind", ["attractor", "trm", "eqr"])
def test_a_puzzle_depends_on_neither_batch_nor_batch_mates(kind):
    model = build(kind)
    settings = {"breadth": 3, "noise": 0.1}
    whole = run(model, **settings)
    for batch, rows in ((5, slice(None)), (64, slice(2, 5)), (1, [6, 0, 3])):
        part = run(model, batch=batch, rows=rows, **settings)
        np.testing.assert_array_equal(part.tokens, whole.tokens[rows])
        np.testing.assert_allclose(part.residual, whole.residual[rows], rtol=1e-6)
        np.testing.assert_allclose(part.halt, whole.halt[rows], rtol=1e-6)
    # A narrower search is the beginning of a wider one.
    narrow = run(model, breadth=2, noise=0.1)
    np.testing.assert_array_equal(narrow.tokens, whole.tokens[:, :2])


def test_starts_are_the_models_own_and_then_random():
    model = Settling()
    run(model, segments=1, breadth=3)
    y, z = (part.unflatten(0, (7, 3)) for part in model.states[0])
    assert (y[:, 0] == 0.2).all()
    assert (z[:, 0] == 0).all()
    drawn = torch.stack((y[:, 1:], z[:, 1:])).flatten(0, 2).flatten(1)
    assert len(drawn.unique(dim=0)) == len(drawn) == 28
    assert abs(drawn.mean()) < 0.15
    assert drawn.std() == pytest.approx(1, abs=0.1)
    assert drawn.abs().max() < 2.28
    again = random_state(build("trm"), SEEDS)
    assert [tuple(part.shape) for part in again] == [(7, 7, 8)] * 2
    assert {part.dtype for part in again} == {torch.float64}


def test_noise_disturbs_the_state_between_segments_and_nothing_else():
    calm, noisy = Settling(), Settling()
    run(calm, segments=3)
    run(noisy, segments=3, noise=0.3)
    assert torch.equal(calm.states[0][0], noisy.states[0][0])
    # z is carried as it is, so what it holds is the noise so far.
    first, second = noisy.states[1][1], noisy.states[2][1] - noisy.states[1][1]
    for drawn in (first, second):
        assert drawn.std() == pytest.approx(0.3, rel=0.2)
    assert abs(torch.corrcoef(torch.stack((first.flatten(), second.flatten())))[0, 1]) < 0.3
    other = Settling()
    search(other, GRIDS, IDS, content_seeds(GRIDS, 1), 3, SearchConfig(noise=0.3), 64)
    assert not torch.equal(other.states[1][1], first)


@pytest.mark.parametrize("solver", [True, False])
def test_who_has_come_to_rest_leaves_and_nobody_else_notices(solver):
    staying = run(Settling(solver), segments=12, breadth=2)
    model = Settling(solver)
    leaving = run(model, segments=12, breadth=2, leave=0.01)
    left = leaving.net_calls == 0
    assert left[:, :, -1].any()
    assert not left[:, :, -1].all()
    # One who left is as it was at its last segment; before that, and for the others, all is equal.
    np.testing.assert_array_equal(leaving.tokens[~left], staying.tokens[~left])
    np.testing.assert_array_equal(leaving.residual[~left], staying.residual[~left])
    np.testing.assert_array_equal(leaving.halt[~left], staying.halt[~left])
    for n, k in np.argwhere(left[:, :, -1]):
        last = int(left[n, k].argmax()) - 1
        assert (staying.residual[n, k, last]) <= 0.01
        assert (staying.tokens[n, k, last] == staying.tokens[n, k, last - 1]).all()
        # It left at the first such segment.
        rest = staying.residual[n, k, 1:last] <= 0.01
        stood = (staying.tokens[n, k, 1:last] == staying.tokens[n, k, : last - 1]).all(1)
        assert not (rest & stood).any()
        assert (leaving.residual[n, k, last:] == staying.residual[n, k, last]).all()
    # At its fixed point, an answer does not change any more.
    np.testing.assert_array_equal(leaving.tokens[:, :, -1], staying.tokens[:, :, -1])
    assert 2 * sum(model.sizes) == leaving.net_calls.sum() < staying.net_calls.sum()
    if solver:
        evaluations = leaving.diagnostics["evaluations"]
        np.testing.assert_array_equal(evaluations, np.where(left, 0, 3))


class Claiming(Settling):
    """Claims to be right once y moves by less than a bound, which depends on where z began."""

    def segment(self, state, inputs, puzzle_ids, depth, seeds=None):
        output = super().segment(state, inputs, puzzle_ids, depth, seeds)
        halt = 0.05 + 1.0 * state[1][:, 0, 0] - output.diagnostics["residual"]
        return replace(output, q=torch.stack((halt, torch.zeros_like(halt)), dim=1))


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_claim_ends_its_puzzle(noise):
    settings = {"segments": 4, "breadth": 3, "noise": noise}
    everything, model = run(Claiming(), **settings), Claiming()
    found = run(model, batch=2, until_claimed=True, **settings)
    claims = np.zeros((7, 3, 4), dtype=bool)
    for n, k, s in np.argwhere(everything.halt > 0):
        stood = (everything.tokens[n, k, s] == everything.tokens[n, k, s - 1]).all()
        claims[n, k, s] = s > 0 and stood
    assert (claims != (everything.halt > 0)).any()
    assert 0 < claims.any((1, 2)).sum() < len(GRIDS)
    assert claims[:, 0].any(1).sum() < claims.any((1, 2)).sum()  # some need a second start
    np.testing.assert_array_equal(found.claimed, claims.any((1, 2)))
    for n, starts in enumerate(claims):
        speaker = starts.any(1).argmax() if starts.any() else 2
        for k in range(3):
            said = min(k, speaker)
            last = starts[said].argmax() if starts[said].any() else 3
            for s in range(4):
                names = ("tokens", "halt", "residual")
                for name in names:
                    expected = getattr(everything, name)[n, said, min(s, last)]
                    np.testing.assert_array_equal(getattr(found, name)[n, k, s], expected)
                ran = k <= speaker and s <= last
                assert found.net_calls[n, k, s] == 2 * ran
                assert found.diagnostics["evaluations"][n, k, s] == 3 * ran
    assert 2 * sum(model.sizes) == found.net_calls.sum()


def test_a_model_leaves_as_it_stays():
    """The same of the Attractor, to rounding: at a fixed point, and with an answer that moves."""
    torch.manual_seed(1)
    model = Attractor(
        AttractorConfig(**SIZES, solver={"max_evaluations": 30, "tolerance": 1e-6}), SHAPE
    )
    model.double().eval()
    staying, leaving = (run(model, segments=5, leave=leave) for leave in (None, 1e-4))
    assert 0 < leaving.net_calls.sum() < staying.net_calls.sum()
    np.testing.assert_array_equal(leaving.tokens, staying.tokens)


def test_everyone_may_leave():
    model = Settling()
    found = run(model, segments=6, leave=1e9)
    assert model.sizes == [7] * len(model.sizes)
    assert len(model.sizes) < 6
    np.testing.assert_array_equal(found.tokens[:, :, -1], found.tokens[:, :, len(model.sizes) - 1])


def test_residual_is_the_solvers_or_the_change_of_y():
    attractor = build("attractor")
    found = run(attractor)
    np.testing.assert_array_equal(found.residual, found.diagnostics["residual"])
    # Without evaluations the solver says nothing: infinity is no ranking.
    found = run(attractor, depth=Depth(evaluations=0))
    assert np.isinf(found.diagnostics["residual"]).all()
    assert np.isfinite(found.residual).all()
    model = build("trm")
    found, state = run(model), model.initial_state(7)
    with torch.no_grad():
        for segment in range(4):
            output = model.segment(state, GRIDS, IDS, Depth())
            gap = (output.state[0] - state[0]).flatten(1).norm(dim=1)
            expected = gap / output.state[0].flatten(1).norm(dim=1)
            np.testing.assert_allclose(found.residual[:, 0, segment], expected, rtol=1e-5)
            state = output.state


def test_the_halting_score_is_the_one_the_model_was_trained_to_halt_on():
    plain, q_learning = run(Settling()), run(Settling(), q_learning=True)
    output = Settling().segment(Settling().initial_state(7), GRIDS, IDS, Depth())
    np.testing.assert_array_equal(plain.halt[:, 0, 0], output.q[:, 0])
    np.testing.assert_array_equal(q_learning.halt[:, 0, 0], output.q[:, 0] - output.q[:, 1])


@pytest.mark.parametrize(
    ("field", "value"),
    [("breadth", 0), ("noise", -0.1), ("noise", float("inf")), ("leave", 0.0), ("width", 3)],
)
def test_settings_that_make_no_sense_are_refused(field, value):
    with pytest.raises(ValidationError, match=field):
        SearchConfig(**{field: value})


def test_no_segments_and_no_batch_are_refused():
    for wrong in ({"segments": 0}, {"batch": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            run(Settling(), **wrong)


@pytest.mark.parametrize("calls", [1, 0])
def test_who_ran_is_known_whatever_calls_a_model_reports(calls):
    class Starting:
        """Whose random starts claim their answer at once, and its own never."""

        def initial_state(self, batch, seeds=None):
            return (torch.zeros(batch, 6, 5),)

        def segment(self, state, inputs, puzzle_ids, depth, seeds=None):
            random = state[0].abs().sum((1, 2)) > 0
            q = torch.where(random, 1.0, -1.0)[:, None].expand(-1, 2)
            return SegmentOutput(state, state[0], q, torch.full((len(q),), calls))

    found = run(Starting(), breadth=3, until_claimed=True, batch=21)
    assert found.ran.tolist() == [[True, True, False]] * 7  # the second claims, the third need not
    assert (found.halt[:, :, -1] > 0).tolist() == [[False, True, True]] * 7
