"""Names of weights, those of repositories on the Hugging Face hub among them, and what the hub says
where it refuses."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

from reasoning.training.runs import RunError
from scripts.terminal.choices import Shipped
from scripts.terminal.extras import need
from scripts.usage import UsageError

PREFIX = "hub:"
_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def check_repository(name: str) -> None:
    """UsageError unless it is user/name."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name}: is not the name of a repository: give user/name")


def is_named(weights: str) -> bool:
    """Whether a text is the name of weights that ship or of the hub's, and no path."""
    return weights in get_args(Shipped) or weights.startswith(PREFIX)


def expect_weights(name: str) -> None:
    """UsageError for what names neither weights that ship nor a repository of the hub."""
    if name.startswith(PREFIX):
        check_repository(name.removeprefix(PREFIX))
        need(f"--pretrained {PREFIX}", "hub", "huggingface_hub")
    elif name not in get_args(Shipped):
        known = ", ".join(get_args(Shipped))
        raise UsageError(
            f"--pretrained: no weights ship for {name!r}; give {known} or {PREFIX}USER/NAME"
        )


@contextmanager
def told(name: str) -> Iterator[None]:
    """RunError for what the hub refuses, or cannot be asked."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # A network that is not there is an error of the library underneath, another from one version
    # of the hub's to the next; what that calls an error of HTTP is a base of the hub's own.
    underneath = HfHubHTTPError.__mro__[1]
    try:
        yield
    except (OSError, underneath, HFValidationError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"{name}: the hub is not reached, or refuses ({reason}); check name and network, and "
            "log in with `hf auth login` to push or to read a private one"
        ) from error
