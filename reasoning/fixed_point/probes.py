"""Estimates of how a map contracts at a point: spectral radius and spectral norm of J = df/dz.

Both are per sample and take products with J by central differences and with J^T by autograd, so
they work on any net, fused attention included. Neither waits for convergence: the estimates are
what `iterations` power steps give (from below for the norm).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from reasoning.fixed_point.gradients import _vjp
from reasoning.fixed_point.iteration import Tensors
from reasoning.fixed_point.solution import State, inner, parts, per_sample
from reasoning.precision import wide


def _form(f: Callable[[State], State], z: State) -> tuple[Callable[[Tensors], Tensors], Tensors]:
    single = isinstance(z, Tensor)
    return lambda t: parts(f(t[0] if single else t)), parts(z)


def _normalised(v: Tensors) -> tuple[Tensors, Tensor]:
    size = inner(tuple(map(wide, v)), tuple(map(wide, v))).sqrt()
    return tuple(part / per_sample(size, part).to(part.dtype) for part in v), size


def _random_like(z: Tensors, generator: torch.Generator) -> Tensors:
    drawn = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in z]
    return _normalised(tuple(d.to(p.device) for d, p in zip(drawn, z, strict=True)))[0]


def spectral_radius(
    f: Callable[[State], State], z: State, iterations: int, generator: torch.Generator
) -> Tensor:
    """(B,) largest |eigenvalue| of J: the growth of |J^T u| over the second half of the power
    iteration, as a geometric mean (complex pairs make single ratios oscillate)."""
    mapped, point = _form(f, z)
    leaf = tuple(p.detach().requires_grad_() for p in point)
    with torch.enable_grad():
        image = mapped(leaf)
    u, logs = _random_like(point, generator), []
    for _ in range(iterations):
        u, size = _normalised(_vjp(image, leaf, u))
        logs.append(size.log())
    return torch.stack(logs[iterations // 2 :]).mean(0).exp()


def jacobian_norm(
    f: Callable[[State], State],
    z: State,
    iterations: int,
    generator: torch.Generator,
    step: float = 1e-3,
) -> Tensor:
    """(B,) largest singular value of J, by power iteration on J^T J.

    `step` is the length of the central difference, relative to |z|.
    """
    mapped, point = _form(f, z)
    leaf = tuple(p.detach().requires_grad_() for p in point)
    with torch.enable_grad():
        image = mapped(leaf)
    length = step * inner(tuple(map(wide, leaf)), tuple(map(wide, leaf))).sqrt().clamp_min(1e-6)
    v, size = _random_like(point, generator), None
    with torch.no_grad():
        for _ in range(iterations):
            ahead, behind = (
                mapped(tuple(p + s * per_sample(length, p) * q for p, q in zip(leaf, v, strict=True)))
                for s in (1, -1)
            )
            product = tuple(
                (a - b) / per_sample(2 * length, a) for a, b in zip(ahead, behind, strict=True)
            )
            _, size = _normalised(product)
            v, _ = _normalised(_vjp(image, leaf, product))
    return size
