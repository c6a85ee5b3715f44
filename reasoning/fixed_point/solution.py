"""What a solve returns, and the arithmetic of states.

A state is a tensor or a tuple of tensors, batch first. Norms and inner products of a sample run
over all entries of all its tensors.
"""

from dataclasses import dataclass

from torch import Tensor

from reasoning.errors import InputError

State = Tensor | tuple[Tensor, ...]

# Rows are summed in pieces of this many entries. A sum over one long row may be split over threads,
# and the split depends on the batch; sums of this length are not.
_PIECE = 1024


@dataclass(frozen=True)
class Solution:
    """A fixed point and how well it was found. B samples, P tensors in the state.

    value: the state found, as z0;
    residual: (B,) ||f(z) - z|| / ||z|| at the point the solver found, fp32 or wider; infinite where
        the map was not evaluated or never finite;
    evaluations: (B,) int64, calls of the map the solver made while the sample was active;
    converged: (B,) bool, the residual met the tolerance;
    part_residuals: (B, P) the same ratio for each tensor of the state.
    """

    value: State
    residual: Tensor
    evaluations: Tensor
    converged: Tensor
    part_residuals: Tensor


def parts(state: State) -> tuple[Tensor, ...]:
    """The state's tensors. ValueError unless they share a batch axis and are of real numbers."""
    tensors = (state,) if isinstance(state, Tensor) else tuple(state)
    if not tensors or any(t.dim() == 0 or t.shape[0] != tensors[0].shape[0] for t in tensors):
        raise InputError("a state is a tensor or a tuple of tensors with one batch axis first")
    for other in (t.dtype for t in tensors if not t.is_floating_point()):
        hint = ": give complex numbers as pairs (torch.view_as_real)" if other.is_complex else ""
        raise InputError(f"a state is of real floating-point numbers, not {other}{hint}")
    return tensors


def signature(tensors: tuple[Tensor, ...]) -> list:
    """The form of a state: each tensor's shape and dtype."""
    return [(tuple(t.shape), t.dtype) for t in tensors]


def expect_form(value: tuple[Tensor, ...], like: tuple[Tensor, ...], whose: str) -> None:
    """InputError unless it is a tuple of as many tensors, of their shapes and dtypes: a tensor's
    first sample would pass for the state, and one sample's value for all."""
    if not (isinstance(value, tuple) and all(isinstance(part, Tensor) for part in value)):
        raise InputError(f"{whose} is a {type(value).__name__}: give a tuple of tensors")
    if signature(value) != signature(like):
        raise InputError(f"{whose} must be of form {signature(like)}, is {signature(value)}")


def row_sum(tensor: Tensor) -> Tensor:
    """(B, ...) to (B,), in an order that depends on nothing but the row's length."""
    rows = tensor[..., None].flatten(1).contiguous()  # (B,) has one entry a row
    whole = rows.shape[1] // _PIECE * _PIECE
    total = rows[:, whole:].sum(1)
    if whole:
        total = total + rows[:, :whole].unflatten(1, (-1, _PIECE)).sum(2).sum(1)
    return total


def inner(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Tensor:
    """(B,) inner products of two lists of wide tensors."""
    return sum(row_sum(x * y) for x, y in zip(a, b, strict=True))


def per_sample(weights: Tensor, like: Tensor) -> Tensor:
    """(B,) weights shaped to multiply (B, ...)."""
    return weights.view(-1, *([1] * (like.dim() - 1)))
