"""Packages that a command needs beyond the core install."""

from importlib.util import find_spec

from scripts.usage import UsageError


def need(what: str, extra: str, *packages: str) -> None:
    """UsageError, with what to install, if one of an extra's packages is missing."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{what} needs {', '.join(missing)}, which the core install does not bring: "
            f"pip install 'loopbench[{extra}]'"
        )
