"""Wheels for a machine without a package registry: gathered where there is one, installed there.

    python -m scripts.wheels gather      into build/wheels, for Python 3.12 on x86-64 Linux
    python -m scripts.wheels install     what this machine lacks, into build/site

Gathered is everything loopbench imports at the versions installed here, except torch, which the
machine must have, and the large compiled packages that come with images made for it (`PRESENT`).
Needs nothing but Python itself and pip.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
WHEELS, SITE = ROOT / "build" / "wheels", ROOT / "build" / "site"
MOST_BYTES = 64 * 2**20  # what may travel
# Not gathered: torch and what it brings, and what such machines hold or loopbench can do without.
PRESENT = ("torch", "numpy", "numba", "llvmlite", "pyarrow", "wandb", "setuptools", "matplotlib")
_PLATFORMS = ("2_17", "2_24", "2_27", "2_28", "2_31", "2_34", "2_35")


def needed(names: list[str], found: dict[str, str] | None = None) -> dict[str, str]:
    """Versions installed here of packages and all they need, PRESENT ones apart."""
    found = {} if found is None else found
    for name in names:
        if name in PRESENT or name in found:
            continue
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # needed on another platform or Python
        required = [line for line in metadata.requires(name) or () if "extra ==" not in line]
        needed([package(line) for line in required], found)
    return found


def package(requirement: str) -> str:
    """The canonical name of the package that a requirement is of."""
    return canonical(re.match(r"[\w.-]+", requirement)[0])


def canonical(name: str) -> str:
    """A package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def gather() -> int:
    """Download the wheels. Exit code 1 if they are more than may travel."""
    packages = [f"{name}=={version}" for name, version in sorted(needed(declared()).items())]
    WHEELS.mkdir(parents=True, exist_ok=True)
    for old in WHEELS.glob("*.whl"):
        old.unlink()
    platforms = [f"manylinux_{version}_x86_64" for version in _PLATFORMS]
    platforms += ["manylinux2014_x86_64", "manylinux1_x86_64"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp"]
    command += [word for name in platforms for word in ("--platform", name)]
    subprocess.run([*command, "--dest", str(WHEELS), *packages], check=True)
    wheels = sorted(WHEELS.glob("*.whl"))
    size = sum(path.stat().st_size for path in wheels)
    print(f"{len(wheels)} wheels, {size / 2**20:.1f} MiB, in {WHEELS.relative_to(ROOT)}")
    if size > MOST_BYTES:
        print(f"more than {MOST_BYTES / 2**20:.0f} MiB: too large to travel", file=sys.stderr)
        return 1
    return 0


def missing(wheels: list[Path]) -> list[Path]:
    """The wheels of packages that this Python does not have, or has an older version of."""
    lacking = []
    for path in wheels:
        name, version = path.name.split("-")[:2]
        try:
            if release(metadata.version(name)) < release(version):
                lacking.append(path)
        except metadata.PackageNotFoundError:
            lacking.append(path)
    return lacking


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version before any suffix, without closing zeros."""
    numbers = [int(part) for part in re.match(r"[\d.]*", version)[0].split(".") if part]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def install() -> int:
    """Install what is missing into SITE, offline; prints the folder for PYTHONPATH."""
    lacking = missing(sorted(WHEELS.glob("*.whl")))
    if lacking:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
        command += ["--no-compile", "--no-cache-dir", "--upgrade", "--target", str(SITE)]
        subprocess.run([*command, *map(str, lacking)], check=True)
    absent = [name for name in declared() if not is_here(name)]
    if absent:
        print(
            f"this Python lacks {', '.join(absent)}: gather wheels where a registry is reachable "
            "(scripts/gpu_run prepare) and bring build/wheels along",
            file=sys.stderr,
        )
        return 2
    return 0


def declared() -> list[str]:
    """Packages that pyproject.toml names, those apart that loopbench can do without."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [package(line) for line in project["dependencies"]]
    return [name for name in names if name != "wandb"]


def is_here(name: str) -> bool:
    """Whether a package is installed, in this Python or in SITE."""
    return any(canonical(d.name) == name for d in metadata.distributions(path=[*sys.path, SITE]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("gather", "install"))
    chosen = {"gather": gather, "install": install}[parser.parse_args().what]
    sys.exit(chosen())
