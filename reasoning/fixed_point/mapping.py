"""The user's map as the solvers call it: on tuples of tensors, and watched."""

from collections.abc import Callable

from torch import Tensor

from reasoning.errors import InputError
from reasoning.fixed_point.solution import State, parts, signature


class Mapping:
    """`f` on tuples. ValueError for an image of other shapes or dtypes than its argument's, and for
    an f that works in place: iterates and map values are kept, and must stay as they were.

    single: f takes and returns a tensor, not a tuple of one.
    """

    def __init__(self, f: Callable[[State], State], single: bool):
        self.f, self.single = f, single
        self.image: tuple[Tensor, ...] = ()
        self.version: list[int] = []

    def __call__(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        given = _tracked(tensors)
        version = _versions(given)
        image = _tracked(parts(self.f(given[0] if self.single else given)))
        if signature(image) != signature(tensors):
            raise InputError(
                "f must return a state of the shapes and dtypes it takes: "
                f"took {signature(tensors)}, returned {signature(image)}"
            )
        if version != _versions(given) or self.version != _versions(self.image):
            raise InputError(
                "f works in place (or a solver's proposal does): it changed its argument or what "
                "f returned the time before; let it return a new tensor each time"
            )
        self.image, self.version = image, _versions(image)
        return image


def _tracked(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The tensors; of those made in inference mode, whose changes nothing counts, copies."""
    return tuple(t.clone() if t.is_inference() else t for t in tensors)


def _versions(tensors: tuple[Tensor, ...]) -> list[int]:
    """How often each has been changed in place; 0 for a copy made in inference mode."""
    return [0 if t.is_inference() else t._version for t in tensors]
