"""Estimates of how a map contracts at a point: spectral radius and spectral norm of J = df/dz.

Both are per sample and take products with J by central differences and with J^T by autograd, so
they work on any net, fused attention included, in fp32 or float64. Neither waits for convergence:
the estimates are what `iterations` power steps, at least 1, give (from below for the norm).

`jacobian_energy` is another kind: a term for a loss, that carries a graph.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from reasoning.errors import InputError
from reasoning.fixed_point.gradients import _vjp
from reasoning.fixed_point.iteration import Tensors
from reasoning.fixed_point.mapping import Mapping
from reasoning.fixed_point.solution import State, inner, parts, per_sample
from reasoning.precision import wide


def _linearised(
    f: Callable[[State], State], z: State, iterations: int
) -> tuple[Callable[[Tensors], Tensors], Tensors, Tensors]:
    """f on tuples, the point z as leaves, and the graph of f there."""
    if iterations < 1:
        raise InputError(f"iterations must be at least 1, got {iterations}")
    mapped = Mapping(f, isinstance(z, Tensor))
    leaf = tuple(p.detach().requires_grad_() for p in parts(z))
    with torch.enable_grad():
        return mapped, leaf, mapped(leaf)


def _normalised(v: Tensors) -> tuple[Tensors, Tensor]:
    """v at unit length and its length (B,); a zero v stays zero."""
    size = inner(tuple(map(wide, v)), tuple(map(wide, v))).sqrt()
    scale = size.clamp_min(torch.finfo(size.dtype).tiny)
    return tuple(part / per_sample(scale, part).to(part.dtype) for part in v), size


def _random_like(z: Tensors, generator: torch.Generator) -> Tensors:
    drawn = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in z]
    return _normalised(tuple(d.to(p.device) for d, p in zip(drawn, z, strict=True)))[0]


def spectral_radius(
    f: Callable[[State], State], z: State, iterations: int, generator: torch.Generator
) -> Tensor:
    """(B,) largest |eigenvalue| of J: the growth of |J^T u| over the second half of the power
    iteration, as a geometric mean (complex pairs make single ratios oscillate).

    f: the map; z: where J is taken, (B, ...) or several of them; iterations: power steps;
    generator: on the CPU, draws the first u.
    """
    _, leaf, image = _linearised(f, z, iterations)
    u, logs = _random_like(leaf, generator), []
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

    f, z, iterations, generator: as in `spectral_radius`. `step` is the length of the central
    difference, relative to |z| (to 1 where z is zero).
    """
    mapped, leaf, image = _linearised(f, z, iterations)
    v = _random_like(leaf, generator)
    with torch.no_grad():
        at = _normalised(leaf)[1]
        length = step * torch.where(at > 0, at, 1)
        for _ in range(iterations):
            shift = tuple(per_sample(length, part) * part for part in v)
            ahead = mapped(tuple(p + s for p, s in zip(leaf, shift, strict=True)))
            behind = mapped(tuple(p - s for p, s in zip(leaf, shift, strict=True)))
            product = tuple(
                (a - b) / per_sample(2 * length, a) for a, b in zip(ahead, behind, strict=True)
            )
            _, size = _normalised(product)
            v, _ = _normalised(_vjp(image, leaf, product))
    return size


def jacobian_energy(f: Callable[[State], State], z: State, probe: State) -> Tensor:
    """(B,) |J^T e|^2 / d of each sample, with a graph to what f captures.

    Of probes e ~ N(0, I), shaped as z, the mean is |J|_F^2 / d, d the elements of a sample: the
    regulariser of Bai, Koltun and Kolter (2021), with one probe. z stands in the graph as a
    constant. Attention runs unfused and nets uncompiled, for neither has second derivatives.
    """
    mapped = Mapping(f, isinstance(z, Tensor))
    leaf = tuple(p.detach().requires_grad_() for p in parts(z))
    with sdpa_kernel(SDPBackend.MATH), torch.compiler.set_stance("force_eager"):
        image = mapped(leaf)
    given = [e.to(i.dtype) for e, i in zip(parts(probe), image, strict=True)]
    products = torch.autograd.grad(image, leaf, given, create_graph=True, materialize_grads=True)
    products = tuple(map(wide, products))
    return inner(products, products) / sum(p[0].numel() for p in leaf)
