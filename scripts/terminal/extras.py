"""Packages that a command needs beyond the core install."""

from importlib.util import find_spec
from pathlib import Path

from scripts.usage import UsageError

_CLONE = Path(__file__).parents[2]


def need(what: str, extra: str, *packages: str) -> None:
    """UsageError, with what to install, if one of an extra's packages is missing.

    To be asked after everything that is the user's to mend: who gives a wrong folder need not
    install a package to be told so.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{what} needs {', '.join(missing)}, which the core install does not bring: "
            f"pip install {_installed(_CLONE, extra)}"
        )


def _installed(clone: Path, extra: str) -> str:
    """What pip takes: the clone that this code lies in, or the name of what a wheel brought."""
    if not (clone / "pyproject.toml").is_file():
        return f"'loopbench[{extra}]'"
    here = "." if clone == Path.cwd() else clone
    return f"-e '{here}[{extra}]'"
