"""Reversible steps against plain autograd through the same steps, and what is kept for them."""

import weakref

import pytest
import torch
from pydantic import ValidationError

from reasoning.attractor import Attractor, AttractorConfig
from reasoning.fixed_point import OneStep, Phantom, Picard, Reversible, solve
from reasoning.nn.grid import GridShape
from reasoning.solver_config import GradientConfig
from reasoning.supervision import Depth
from reasoning.training.meter import Meter

SOLVER = Picard(1e-9, 3)


class Case:
    """A map of a state of two tensors that captures weights and an injected input."""

    def __init__(self, dtype=torch.float64, width=8):
        generator = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(width, 4 * width), torch.nn.GELU(), torch.nn.Linear(4 * width, width)
        ).to(dtype)
        self.norm = torch.nn.RMSNorm(width, dtype=dtype)
        self.x = torch.randn(4, width, dtype=dtype, generator=generator).requires_grad_()
        self.start, self.v = (
            tuple(torch.randn(4, width, dtype=dtype, generator=generator) for _ in range(2))
            for _ in range(2)
        )
        self.answers = []  # of every evaluation with a graph
        self.captured = [self.x, *self.net.parameters(), *self.norm.parameters()]

    def __call__(self, state):
        y, z = state
        y, z = self.norm(y + self.net(z + self.x)), self.norm(z + 0.5 * self.net(y))
        if torch.is_grad_enabled():
            self.answers.append(y)
        return y, z

    def solved(self, gradient):
        return solve(self, self.start, SOLVER, gradient).value

    def gradients(self, value, **options):
        return torch.autograd.grad(value, self.captured, self.v, **options)

    def by_autograd(self, steps, damping):
        """The same steps, every state of which autograd keeps."""
        with torch.no_grad():
            start = self.solved(OneStep())
        dtype = self.x.dtype
        a = b = tuple(part.double() for part in start)

        def step(moved, other):
            image = self(tuple(part.to(dtype) for part in other))
            pairs = zip(moved, image, strict=True)
            return tuple((1 - damping) * p + damping * q.double() for p, q in pairs)

        for _ in range(steps):
            a = step(a, b)
            b = step(b, a)
        return tuple(part.to(dtype) for part in b)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("steps", "damping"), [(1, 0.9), (3, 0.5), (8, 0.5), (20, 0.25)])
def test_it_is_autograd_through_the_steps(dtype, steps, damping):
    case = Case(dtype)
    value = case.solved(Reversible(steps, damping))
    expected = case.by_autograd(steps, damping)
    limit = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 2e-2}[dtype]
    for ours, theirs in zip(
        (*value, *case.gradients(value)), (*expected, *case.gradients(expected)), strict=True
    ):
        assert (ours - theirs).abs().max() < limit * theirs.abs().max()


def test_what_is_asked_again_draws_the_same_noise():
    """Dropout in the map: other libraries' reversible blocks draw another mask when undoing
    (findings/)."""
    grads = []
    for run in (lambda case: case.solved(Reversible(3)), lambda case: case.by_autograd(3, 0.5)):
        case = Case()
        case.net.append(torch.nn.Dropout(0.5))
        torch.manual_seed(1)
        grads.append(case.gradients(run(case)))
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_a_fixed_point_stays_where_it_is():
    b = torch.randn(3, 5, dtype=torch.float64)
    value = solve(lambda z: z / 2 + b, 2 * b, SOLVER, Reversible(4, 0.5)).value
    torch.testing.assert_close(value, 2 * b)


def test_what_is_kept_does_not_grow_with_steps():
    kept = {}
    for gradient in (Phantom(2, 0.5), Phantom(16, 0.5), Reversible(1), Reversible(8)):
        case = Case(torch.float32, width=64)
        with Meter() as meter:
            value = case.solved(gradient)
        kept[type(gradient), gradient.steps] = meter.saved_bytes
        case.gradients(value)
    assert kept[Reversible, 8] == kept[Reversible, 1] < kept[Phantom, 2]
    assert kept[Phantom, 16] > 2 * kept[Phantom, 2]  # the weights are in both


def test_states_between_are_freed():
    """By the tensors that are alive after the forward pass, not by what autograd says it keeps."""
    x = torch.randn(4, 8, requires_grad=True)
    images = []

    def f(z):
        image = torch.tanh(z + x)
        images.append(weakref.ref(image))
        return image

    value = solve(f, torch.zeros(4, 8), Picard(max_evaluations=0), Reversible(5)).value
    assert len(images) == 10
    assert sum(image() is not None for image in images) <= 1  # that of which changes are watched
    value.sum().backward()
    assert x.grad.abs().min() > 0
    assert len(images) == 20  # each once more


def test_backward_runs_again_and_begins_in_the_middle():
    case = Case()
    value = case.solved(Reversible(3))
    once = case.gradients(value, retain_graph=True)
    again = case.gradients(value)
    assert all(map(torch.equal, once, again))
    for place in (2, 5, 0):
        grads = []
        for run in (lambda case: case.solved(Reversible(3)), lambda case: case.by_autograd(3, 0.5)):
            case = Case()
            run(case)
            grads.append(torch.autograd.grad(case.answers[place].sum(), case.captured))
        for ours, theirs in zip(*grads, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "f",
    [
        lambda linear, x, y, z: (linear(x), linear(z)),  # no gradient from step to step
        lambda linear, x, y, z: (torch.tanh(linear(z) + x), 0.5 * z + 0.1),
        lambda linear, x, y, z: (torch.tanh(z + x), torch.tanh(z - x).detach()),
    ],
)
def test_steps_without_a_gradient_are_undone_on_the_way(f):
    torch.manual_seed(0)
    linear, x = torch.nn.Linear(5, 5).double(), torch.randn(3, 5, dtype=torch.float64)
    x.requires_grad_()
    start = tuple(torch.randn(3, 5, dtype=torch.float64) for _ in range(2))

    def gradients(value):
        captured = [x, *linear.parameters()]
        loss = value[0].square().sum() + value[1].sum()
        return torch.autograd.grad(loss, captured, materialize_grads=True, allow_unused=True)

    def by_autograd():
        a = b = start
        for _ in range(5):
            a = tuple(0.5 * p + 0.5 * q for p, q in zip(a, f(linear, x, *b), strict=True))
            b = tuple(0.5 * p + 0.5 * q for p, q in zip(b, f(linear, x, *a), strict=True))
        return b

    value = solve(lambda w: f(linear, x, *w), start, Picard(max_evaluations=0), Reversible(5)).value
    for ours, theirs in zip(gradients(value), gradients(by_autograd()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_noise_in_a_step_without_a_gradient_is_refused():
    linear, x = torch.nn.Linear(5, 5), torch.randn(3, 5)

    def f(z):
        return torch.nn.functional.dropout(linear(x), 0.5)

    value = solve(f, torch.zeros(3, 5), Picard(max_evaluations=0), Reversible(3)).value
    with pytest.raises(RuntimeError, match="draws at random"):
        value.sum().backward()


def test_losses_at_every_evaluation_are_autograd_too():
    """As `loss.every` reads the answer of each."""
    grads = []
    for run in (lambda case: case.solved(Reversible(3)), lambda case: case.by_autograd(3, 0.5)):
        case = Case()
        run(case)
        assert len(case.answers) == 6
        loss = sum(answer.square().sum() for answer in case.answers)
        grads.append(torch.autograd.grad(loss, case.captured))
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_settings_build_it_and_refuse_a_step_that_cannot_be_undone():
    config = GradientConfig(kind="reversible", steps=3, damping=0.5)
    assert config.build() == Reversible(3, 0.5)
    assert config.forward_steps == 6
    assert config.passes() == (12, 6)
    with pytest.raises(ValidationError, match="cannot be undone"):
        GradientConfig(kind="reversible")


def test_the_model_keeps_nothing_of_the_evaluations_that_the_backward_pass_repeats():
    alive, seen = [], []

    class Watched(Attractor):
        def cycle(self, *given):
            w = super().cycle(*given)
            seen.append(weakref.ref(w[0]))
            alive.append(sum(each() is not None for each in seen))
            return w

    sizes = {"width": 8, "layers": 1, "heads": 2, "multiple": 8, "puzzle_tokens": 0}
    gradient = GradientConfig(kind="reversible", steps=6, damping=0.5)
    model = Watched(AttractorConfig(**sizes, gradient=gradient), GridShape(4, 5))
    inputs, ids = torch.randint(1, 5, (2, 4)), torch.zeros(2, dtype=torch.int64)
    output = model.segment(model.initial_state(2), inputs, ids, Depth())
    loss = output.logits.sum()
    seen.clear(), alive.clear()
    loss.backward()
    assert len(alive) == 12
    assert max(alive) <= 2  # the one at hand, and the one before it
