"""Backpropagation through a loop of any length in the memory of one of its steps."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from reasoning.errors import InputError
from reasoning.fixed_point.gradients import Gradient, once_differentiable
from reasoning.fixed_point.iteration import Found, Map, Tensors

_MOST_GROWTH = 1e8  # of what is rounded in float64, by the time that the first step is undone


@dataclass(frozen=True)
class Reversible(Gradient):
    """K = `steps` pairs of damped steps from the detached solution, of two copies in turn:

        a <- (1 - l) a + l f(b)        l = `damping`, below 1
        b <- (1 - l) b + l f(a)

    The value is b; a fixed point of f stays where it is. Each step can be undone by one evaluation
    of f, which the backward pass needs anyway: it has the states again from the last two and keeps
    none between, for one more forward pass (reversible deep equilibrium models, 2509.12917). The
    copies are float64, for undoing multiplies what was rounded by 1 / (1 - l) each time: InputError
    for K and l that make more than 1e8 of it. f sees them in the state's own dtype, and must
    return the same when asked again.
    """

    steps: int = 1
    damping: float = 0.5

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps must be at least 1, got {self.steps}")
        if not 0 < self.damping < 1:
            raise InputError(
                f"damping must lie between 0 and 1, got {self.damping}: a whole step cannot be "
                "undone"
            )
        if -2 * self.steps * math.log(1 - self.damping) > math.log(_MOST_GROWTH):
            raise InputError(
                f"{self.steps} pairs of steps of size {self.damping} cannot be undone: rounding "
                f"would grow {1 / (1 - self.damping):g} times a step; take fewer, or smaller ones"
            )

    def forward_steps(self) -> int:
        return 2 * self.steps

    def passes(self) -> tuple[float, float]:
        """Every evaluation is made once more to undo its step."""
        return 4 * self.steps, 2 * self.steps

    def attach(self, f: Map, found: Found) -> Tensors:
        dtypes = [part.dtype for part in found.value]

        def image(state: Tensors) -> Tensors:
            own = (part.to(dtype) for part, dtype in zip(state, dtypes, strict=True))
            return f(tuple(own))

        loop = _Loop(image, self.damping, 2 * self.steps)
        b = loop.run(tuple(part.detach().double() for part in found.value))
        value = tuple(part.to(dtype) for part, dtype in zip(b, dtypes, strict=True))
        return once_differentiable(self, value)


class _Loop:
    """Steps of two copies of a state in turn, and their undoing while gradients flow.

    Every evaluation of the map is a checkpoint that keeps nothing: asked for again, it is at the
    copy that its step did not move, and its image undoes the step. They are asked for from the last
    to the first; where none is, as no gradient flows through it, its step is undone on the way.
    """

    def __init__(self, image: Map, damping: float, steps: int):
        self.image, self.damping, self.steps = image, damping, steps
        self.last: tuple[Tensors, Tensors]  # the copy that the last step moved, and the other
        self.moved: Tensors
        self.other: Tensors
        self.done = 0  # steps that are not undone

    def run(self, start: Tensors) -> Tensors:
        """The copy that was moved last after all steps from (start, start)."""
        moved, other = start, start
        graph = torch.is_grad_enabled()
        # Stopped as soon as what autograd had kept is there again, an evaluation would not return.
        with set_checkpoint_early_stop(False):
            for step in range(self.steps):
                evaluation = self._evaluation(step, moved)
                image = checkpoint(evaluation, use_reentrant=False) if graph else evaluation()
                moved, other = self._mixed(other, image), moved
        self.last = tuple(p.detach() for p in moved), tuple(p.detach() for p in other)
        return moved

    def _mixed(self, state: Tensors, image: Tensors) -> Tensors:
        # Of a number as weight lerp keeps no tensor.
        return tuple(
            torch.lerp(part, new.double(), self.damping)
            for part, new in zip(state, image, strict=True)
        )

    def _evaluation(self, step: int, state: Tensors) -> Callable[[], Tensors]:
        """Of the map at `state`, which is forgotten; asked for again, where undoing has come to."""
        given = [state]
        grads = [part.requires_grad for part in state]

        def evaluation() -> Tensors:
            if given:
                return self.image(given.pop())
            self._undo_to(step + 1)
            pairs = zip(self.other, grads, strict=True)
            image = self.image(tuple(p.detach().requires_grad_(grad) for p, grad in pairs))
            self._undo(image)
            return image

        return evaluation

    def _undo_to(self, done: int) -> None:
        """Undo steps until so many are left, from the last on if fewer are. RuntimeError for a map
        that draws at random there: what it had drawn is kept for evaluations with gradients."""
        if done > self.done:
            (self.moved, self.other), self.done = self.last, self.steps
        while self.done > done:
            before = self._noise()
            with torch.no_grad():
                self._undo(self.image(self.other))
            if not all(map(torch.equal, before, self._noise())):
                raise RuntimeError(
                    f"step {self.done + 1} of a reversible loop has no gradient and draws at "
                    "random: it cannot be undone; take Phantom"
                )

    def _noise(self) -> list[Tensor]:
        device = self.moved[0].device
        states = [torch.get_rng_state()]
        return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states

    def _undo(self, image: Tensors) -> None:
        """The step that moved `moved` by this image of `other`."""
        with torch.no_grad():
            before = tuple(
                (part - self.damping * new.double()) / (1 - self.damping)
                for part, new in zip(self.moved, image, strict=True)
            )
        self.moved, self.other, self.done = self.other, before, self.done - 1
