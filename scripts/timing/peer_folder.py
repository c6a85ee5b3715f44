"""A folder of packages that loopbench is compared with and never depends on."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from scripts.usage import UsageError

# torchdeq runs on the torch and numpy that are here, so nothing else is installed with it.
TORCHDEQ = ("--no-deps", "torchdeq==0.1.0")
OPTIMISTIX = ("optimistix==0.1.0",)
_NAMES = ("torchdeq", "optimistix", "jax")


@dataclass(frozen=True)
class Peers:
    """folder: on sys.path after all else; versions: of the peers there, by name; missing: why one
    that is wanted is not there, by name."""

    folder: Path
    versions: dict[str, str]
    missing: dict[str, str]


@contextmanager
def peers(folder: Path | None) -> Iterator[Peers]:
    """The peers in a folder, which can be imported meanwhile, after all that is here. A folder
    that is absent or empty is filled by pip; None: a temporary one.

    UsageError without torchdeq; what else cannot be had is left out and told.
    """
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-")))
        rivals = (
            _found(folder, {}) if folder.is_dir() and any(folder.iterdir()) else _filled(folder)
        )
        sys.path.append(str(folder))
        stack.callback(sys.path.remove, str(folder))
        yield rivals


def _filled(folder: Path) -> Peers:
    fault = _install(folder, TORCHDEQ)
    if fault:
        made_by = f"{Path(sys.executable).name} -m pip install --target DIR {' '.join(TORCHDEQ)}"
        raise UsageError(
            f"--parts peers: pip cannot install torchdeq ({fault}); where it can, run {made_by}, "
            "and give the folder as --peers DIR"
        )
    fault = _install(folder, OPTIMISTIX)
    return _found(folder, {"optimistix": f"pip cannot install it ({fault})"} if fault else {})


def _install(folder: Path, words: tuple[str, ...]) -> str | None:
    """None, or the last that pip said where it failed."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines)[-1].removeprefix("ERROR: ")


def _found(folder: Path, missing: dict[str, str]) -> Peers:
    installed = {dist.name.lower(): dist.version for dist in distributions(path=[str(folder)])}
    versions = {name: installed[name] for name in _NAMES if name in installed}
    if "torchdeq" not in versions:
        raise UsageError(
            f"--peers {folder}: torchdeq is not in it; install it there with "
            f"python -m pip install --target {folder} {' '.join(TORCHDEQ)}, or give a new folder"
        )
    if "optimistix" not in versions:
        missing = {"optimistix": f"it is not in {folder}"} | missing
    return Peers(folder, versions, missing)
