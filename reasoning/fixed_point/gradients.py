"""How a fixed point z* = f(z*) is differentiated. J is df/dz at z*, v the incoming gradient.

By the implicit function theorem the gradient with respect to anything f captures (parameters,
injected inputs) is u^T df/d(.), with u = v + J^T u (paper, eq. 4). The methods differ in u:

    OneStep      u = v                                     (Fung et al. 2021; error O(|J|))
    Neumann(k)   u = v + J^T v + ... + (J^T)^k v           (error O(|J|^(k + 1)))
    Adjoint      u solved for by Picard or Anderson        (exact to its tolerance)
    Phantom      backpropagation through K damped steps from z* (Geng et al. 2021)
    Reversible   the same of steps that can be undone, kept in no memory (2509.12917); a file apart
    Unrolled     backpropagation through the solver's own iterations

For the first three the value is exactly the solver's z*: the graph of one application of f at z* is
attached to it, so parameters receive their gradients through an ordinary graph (and so under DDP),
and u is had from products with J^T on that same graph. Phantom's value is the end of its K steps,
with gradients and without. No method but Unrolled lets a gradient reach the solver's start: a fixed
point does not depend on it.

Unrolled alone has second derivatives. In the others z* and u stand in the graph as constants, so
what is asked for with create_graph=True would lack their part: it is refused.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from reasoning.errors import InputError
from reasoning.fixed_point.anderson import Anderson
from reasoning.fixed_point.iteration import Found, Iteration, Map, Tensors
from reasoning.fixed_point.solution import expect_form, inner, per_sample
from reasoning.precision import wide


class Gradient(ABC):
    """How a solution is differentiated: those of this module, or one of your own, derived from it
    or, where it turns v into a u, from Implicit.

    A field `steps`, `damping`, `terms` or `clip` that it has is set by a model's GradientConfig.

    through_solver: whether the graph goes through the solver's own iterations.
    """

    through_solver: ClassVar[bool] = False

    @abstractmethod
    def attach(self, f: Map, found: Found) -> Tensors:
        """The value that is returned, with the graph that is chosen: as many tensors as
        `found.value` has, of its shapes and dtypes."""

    def forward_steps(self) -> int:
        """Evaluations of the map that the value itself takes after the solver's."""
        return 0

    def passes(self) -> tuple[float, float]:
        """Passes through the map of a training step beyond the solver's evaluations, for counting
        FLOPs: forward, and backward ones. A product with J^T costs half a backward pass."""
        return 1, 1


def _vjp(f_of_z: Tensors, z: Tensors, u: Tensors) -> Tensors:
    """J^T u on the graph from z to f(z), of which some tensors may depend on nothing."""
    used = [i for i, image in enumerate(f_of_z) if image.requires_grad]
    return torch.autograd.grad(
        [f_of_z[i] for i in used],
        z,
        [u[i] for i in used],
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )


def _clipped(u: Tensors, v: Tensors, clip: float | None) -> Tensors:
    """u with each sample's norm at most `clip` times that of v."""
    if clip is None:
        return u
    size = [inner(t, t).sqrt() for t in (tuple(map(wide, u)), tuple(map(wide, v)))]
    factor = (clip * size[1] / size[0]).nan_to_num(nan=1.0, posinf=1.0).clamp(max=1.0)
    return tuple(a * per_sample(factor, a).to(a.dtype) for a in u)


def _refuse_second_derivatives(gradient: Gradient) -> None:
    """For a backward pass, which has gradients enabled where create_graph=True alone."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            f"{type(gradient).__name__} has no second derivatives (create_graph=True): "
            "take Unrolled"
        )


def _exponents(v: Tensors) -> Tensor:
    """(B,) int32 e, for a largest entry of v in [0.5, 1) times 2^e, as far as 2^-e is normal."""
    largest = torch.stack([wide(part[..., None].flatten(1).abs().amax(1)) for part in v]).amax(0)
    most = -min(math.frexp(torch.finfo(part.dtype).tiny)[1] for part in v)
    return torch.frexp(largest)[1].clamp(-most, most)


def _times_power_of_two(v: Tensors, exponents: Tensor) -> Tensors:
    """v 2^exponents, exactly."""
    return tuple(part * per_sample(exponents, part).to(part.dtype).exp2() for part in v)


class _Attach(torch.autograd.Function):
    """Forward: the solution as it is. Backward: v becomes u, which goes on into the graph of f(z*).

    It is joint over the tensors of the state, for J couples them. u is linear in v, sample by
    sample, and is had at unit scale: at that of a small loss the squares in norms would underflow.
    """

    @staticmethod
    def forward(ctx, gradient, z: Tensors, f_of_z: Tensors, *outputs: Tensor) -> Tensors:
        """The solution z in tensors of its own. gradient: its method; f_of_z: f(z) with its graph,
        which `outputs` repeats; ctx: keeps these for `backward`."""
        # `outputs` are the same tensors as f_of_z: passed so that autograd sees them as inputs.
        ctx.gradient, ctx.z, ctx.f_of_z = gradient, z, f_of_z
        return tuple(part.detach().clone() for part in z)

    @staticmethod
    def backward(ctx, *v: Tensor):
        _refuse_second_derivatives(ctx.gradient)
        scale = _exponents(v)
        unit = _times_power_of_two(v, -scale)
        u = ctx.gradient.transform(unit, lambda w: _vjp(ctx.f_of_z, ctx.z, w))
        expect_form(u, unit, f"{type(ctx.gradient).__name__}.transform")
        return None, None, None, *_times_power_of_two(u, scale)


class _OnceDifferentiable(torch.autograd.Function):
    """The tensors as they are."""

    @staticmethod
    def forward(ctx, gradient, *tensors: Tensor) -> Tensors:
        ctx.gradient = gradient
        return tuple(part.view_as(part) for part in tensors)

    @staticmethod
    def backward(ctx, *v: Tensor):
        _refuse_second_derivatives(ctx.gradient)
        return None, *v


def once_differentiable(gradient: Gradient, value: Tensors) -> Tensors:
    """The value as it is. RuntimeError, in the name of its gradient, where create_graph=True asks
    for second derivatives: what stands in its graph as a constant has none."""
    return _OnceDifferentiable.apply(gradient, *value)


class Implicit(Gradient):
    """Attach the graph of one application at z*, with v turned into u by `transform`."""

    @abstractmethod
    def transform(self, v: Tensors, vjp: Map) -> Tensors:
        """u, a tuple of tensors of the state's shapes and dtypes as v is, linear in v sample by
        sample; vjp: w -> J^T w, tuples too."""

    def attach(self, f: Map, found: Found) -> Tensors:
        if not torch.is_grad_enabled():
            return found.value
        z = tuple(part.detach().requires_grad_() for part in found.value)
        f_of_z = f(z)
        return _Attach.apply(self, z, f_of_z, *f_of_z)


def _check_clip(clip: float | None) -> None:
    if clip is not None and not (math.isfinite(clip) and clip > 0):
        raise InputError(f"clip must be a finite number above 0, or None, got {clip}")


@dataclass(frozen=True)
class OneStep(Implicit):
    """u = v.

    clip: most that each sample's |u| may be, as a multiple of its |v|: it acts below 1.
    """

    clip: float | None = None

    def __post_init__(self) -> None:
        _check_clip(self.clip)

    def transform(self, v: Tensors, vjp: Map) -> Tensors:
        return _clipped(v, v, self.clip)


@dataclass(frozen=True)
class Neumann(Implicit):
    """u = sum of (J^T)^i v for i from 0 to `terms`: that many products with J^T.

    clip: most that each sample's |u| may be, as a multiple of its |v|.
    """

    terms: int = 1
    clip: float | None = None

    def __post_init__(self) -> None:
        if self.terms < 1:
            raise InputError(f"terms must be at least 1 (none at all is OneStep), got {self.terms}")
        _check_clip(self.clip)

    def passes(self) -> tuple[float, float]:
        return 1, 1 + self.terms / 2

    def transform(self, v: Tensors, vjp: Map) -> Tensors:
        u = v
        for _ in range(self.terms):
            u = tuple(a + b for a, b in zip(v, vjp(u), strict=True))
        return _clipped(u, v, self.clip)


@dataclass(frozen=True)
class Adjoint(Implicit):
    """u solved from u = v + J^T u, starting at v; each sample stops on its own.

    clip: most that each sample's |u| may be, as a multiple of its |v|.
    """

    solver: Iteration = field(default_factory=lambda: Anderson(1e-6, 64))
    clip: float | None = None

    def __post_init__(self) -> None:
        _check_clip(self.clip)

    def passes(self) -> tuple[float, float]:
        """The solve is counted at its fewest products."""
        return 1, 1 + max(self.solver.min_evaluations, 1) / 2

    def transform(self, v: Tensors, vjp: Map) -> Tensors:
        def step(u: Tensors) -> Tensors:
            return tuple(a + b for a, b in zip(v, vjp(u), strict=True))

        return _clipped(self.solver.run(step, v).value, v, self.clip)


@dataclass(frozen=True)
class Phantom(Gradient):
    """K = `steps` steps w <- (1 - l) w + l f(w) from the detached solution, l = `damping`."""

    steps: int = 1
    damping: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps must be at least 1, got {self.steps}")
        if not 0 < self.damping <= 1:
            raise InputError(f"damping must lie in (0, 1], got {self.damping}")

    def forward_steps(self) -> int:
        return self.steps

    def passes(self) -> tuple[float, float]:
        return self.steps, self.steps

    def attach(self, f: Map, found: Found) -> Tensors:
        w = tuple(part.detach() for part in found.value)
        for _ in range(self.steps):
            fw = f(w)
            if self.damping == 1:
                w = fw
            else:
                w = tuple(torch.lerp(a, b, self.damping) for a, b in zip(w, fw, strict=True))
        return once_differentiable(self, w)


@dataclass(frozen=True)
class Unrolled(Gradient):
    """Backpropagate through the solver's iterations, Anderson's weights taken as constants.

    The one method whose memory grows with the evaluations, and the one in which the start receives
    a gradient. A sample that converges where it starts has no iterations: it gets the gradient of
    its fixed point, by Adjoint. Whether there is one is looked up on the device, once, unless the
    solver has a `final_step`. A sample that has not converged and whose best iterate is its start
    passes v on to the start, and nothing to what f captures. One whose map overflows makes NaN of
    every gradient of what f captures: within f, autograd multiplies zero by infinity.
    """

    through_solver: ClassVar[bool] = True

    def passes(self) -> tuple[float, float]:
        """Backward through as many evaluations as there are."""
        return 0, math.inf

    def attach(self, f: Map, found: Found) -> Tensors:
        if found.unmoved is None or not torch.is_grad_enabled():
            return found.value
        at_rest = found.converged & found.unmoved
        if not at_rest.any():
            return found.value
        attached = Adjoint().attach(f, found)
        return tuple(
            torch.where(per_sample(at_rest, a), b, a)
            for a, b in zip(found.value, attached, strict=True)
        )
