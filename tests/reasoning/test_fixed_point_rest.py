"""Samples at rest leave the batch: they cost nothing more, and nobody's result changes."""

import math

import pytest
import torch

from reasoning.attractor import Attractor, AttractorConfig
from reasoning.fixed_point import Adjoint, Anderson, OneStep, Phantom, Picard, Unrolled, solve
from reasoning.nn.grid import GridShape
from reasoning.supervision import Depth, infer

SOLVERS = [
    Picard(1e-4, 40),
    Picard(1e-4, 40, 6, damping=0.7),
    Picard(1e-4, 40, patience=2, decay=0.8),
    Anderson(1e-4, 40),
    Anderson(1e-4, 40, window=3, mixing=0.8, final_step=True),
]
FIELDS = ("residual", "evaluations", "converged", "part_residuals")
# Rates of contraction: samples come to rest one after another, in no order; one never does.
RATES = torch.tensor([0.9, 0.1, 0.5, 1.4, 0.0, 0.7, 0.3, 0.8, 0.2, 0.6, 0.05, 0.95])


def normal(seed, *shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def map_of(rate, x, sizes=None):
    """Two coupled tensors, entry-wise arithmetic alone, so that no bit depends on the batch."""

    def restrict(rows):
        r, given = rate[rows][:, None], x[rows]

        def f(w):
            y, z = w
            if sizes is not None:
                sizes.append(len(y))
            return r * z.roll(1, dims=1) / (1 + z * z / 9) + given, r * y + given / 2

        return f

    return restrict


def same(one, other, rows=slice(None)):
    for a, b in zip(one.value, other.value, strict=True):
        assert torch.equal(a, b[rows])
    for name in FIELDS:
        assert torch.equal(getattr(one, name), getattr(other, name)[rows])


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_results_are_those_of_the_whole_batch_and_of_each_sample_alone(solver):
    x, z0 = normal(0, 12, 7), (normal(1, 12, 7), normal(2, 12, 7))
    sizes = []
    restrict = map_of(RATES, x, sizes)
    found = solve(restrict(slice(None)), z0, solver, restrict=restrict)
    made = sum(sizes) - 12  # without the application that OneStep attaches
    same(found, solve(map_of(RATES, x)(slice(None)), z0, solver))
    for b in range(12):
        alone = map_of(RATES[[b]], x[[b]])(slice(None))
        same(solve(alone, tuple(p[[b]] for p in z0), solver), found, [b])
    assert 0 < (~found.converged).sum() < 6
    # What was evaluated and not needed: less than an eighth of the batch at each evaluation.
    needed = int(found.evaluations.sum())
    assert needed <= made <= needed / (1 - 1 / 8) < 12 * int(found.evaluations.max())


@pytest.mark.parametrize("kind", [Picard, Anderson])
def test_a_sample_that_breaks_down_leaves_like_one_at_rest(kind):
    x, z0, rate = normal(0, 8, 7), (normal(1, 8, 7), normal(2, 8, 7)), torch.full((8,), 0.9)
    x[3, 2] = math.nan
    sizes = []
    restrict = map_of(rate, x, sizes)
    with torch.no_grad():
        found = solve(restrict(slice(None)), z0, kind(1e-5, 20), restrict=restrict)
    assert found.evaluations[3] == 1
    assert sizes[:3] == [8, 7, 7]
    assert torch.equal(found.value[0][3], z0[0][3])
    assert found.residual[3] == math.inf
    sound = [0, 1, 2, 4, 5, 6, 7]
    apart = map_of(rate[sound], x[sound])(slice(None))
    same(solve(apart, tuple(p[sound] for p in z0), kind(1e-5, 20)), found, sound)


@pytest.mark.parametrize("gradient", [OneStep(), Adjoint(), Phantom(2, 0.6)], ids=str)
def test_gradients_are_those_of_the_whole_batch(gradient):
    z0, made = (normal(1, 12, 7), normal(2, 12, 7)), []
    for narrow in (False, True):
        x = normal(0, 12, 7).requires_grad_()
        restrict = map_of(RATES.clamp(max=0.9), x)
        given = restrict if narrow else None
        y, z = solve(restrict(slice(None)), z0, SOLVERS[3], gradient, given).value
        made.append(torch.autograd.grad(y.square().sum() + z.sum(), x)[0])
    assert torch.equal(*made)


def refuse(rows):
    raise AssertionError("the whole batch was to be evaluated")


def test_the_whole_batch_is_evaluated_for_a_graph_and_where_nothing_looks():
    x, z0 = normal(0, 12, 7), (normal(1, 12, 7), normal(2, 12, 7))
    f = map_of(RATES, x)(slice(None))
    solve(f, z0, Anderson(1e-4, 9), Unrolled(), refuse)
    solve(f, z0, Anderson(1e-4, 9, early_exit=False), restrict=refuse)
    with torch.no_grad(), pytest.raises(AssertionError, match="whole batch"):
        solve(f, z0, Anderson(1e-4, 9), Unrolled(), refuse)


SHAPE = GridShape(cells=6, vocabulary=5)
SIZES = {"width": 8, "layers": 1, "heads": 2, "multiple": 8, "puzzle_tokens": 1}
GRIDS = torch.randint(1, 5, (9, 6), generator=torch.Generator().manual_seed(3))
IDS, SEEDS = torch.zeros(9, dtype=torch.int64), torch.arange(9)
DEEP = {"tolerance": 1e-3, "max_evaluations": 24}
KINDS = {
    "joint": {},
    "one state": {"states": 1},
    "z": {"solve_for": "z", "inner_steps": 2},
    "noise": {"update_noise": 0.05, "initial": "random"},
}


def attractor(kind):
    torch.manual_seed(0)
    return Attractor(AttractorConfig(**SIZES, **KINDS[kind], solver=DEEP), SHAPE).double().eval()


def counted(net):
    """The rows of every call of a net from now on."""
    rows = []
    net.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_puzzles_at_rest_are_not_evaluated_and_each_answers_as_alone(kind):
    model = attractor(kind)
    rows = counted(model.net)
    together = list(infer(model, GRIDS, IDS, 4, Depth(), SEEDS))
    evaluated = sum(rows)
    needed = sum(int(output.net_calls.sum()) for output in together)
    assert needed <= evaluated <= needed / (1 - 1 / 8)
    most = sum(int(output.net_calls.max()) for output in together) * len(GRIDS)
    assert evaluated < 0.95 * most
    for b in range(len(GRIDS)):
        asked = GRIDS[[b]], IDS[[b]]
        for whole, alone in zip(
            together, infer(model, *asked, 4, Depth(), SEEDS[[b]]), strict=True
        ):
            torch.testing.assert_close(alone.logits, whole.logits[[b]])
            assert alone.net_calls == whole.net_calls[b]
            for name, value in alone.diagnostics.items():
                torch.testing.assert_close(value, whole.diagnostics[name][[b]])


def test_a_compiled_net_meets_one_shape_alone():
    model = attractor("joint")
    plain = list(infer(model, GRIDS, IDS, 3, Depth()))
    for net in model.nets():
        net.compile(backend="eager")
    rows = counted(model.net)
    compiled = list(infer(model, GRIDS, IDS, 3, Depth()))
    assert set(rows) == {len(GRIDS)}
    for a, b in zip(plain, compiled, strict=True):
        torch.testing.assert_close(a.logits, b.logits)
        assert torch.equal(a.net_calls, b.net_calls)
