"""Wheels for a machine without a package registry: gathered where there is one, installed there.

    python -m scripts.gpu.wheels install lease/wheels     what this machine lacks, into build/site

The machine is described in scripts/gpu_machine.txt. Gathered is everything loopbench imports and
the machine does not have, at the versions installed here. Installing needs nothing but Python
itself and pip.
"""

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from reasoning.errors import InputError

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build" / "site"
WITHOUT = ("wandb",)  # loopbench can do without
_PLATFORMS = ("2_17", "2_24", "2_27", "2_28", "2_31", "2_34", "2_35")


@dataclass(frozen=True)
class Machine:
    """The GPU machine: its Python (3.12), and the packages there by canonical name, with their
    version where it is known."""

    python: str
    packages: dict[str, str | None]


def machine() -> Machine:
    """What scripts/gpu_machine.txt says."""
    lines = (ROOT / "scripts" / "gpu_machine.txt").read_text().splitlines()
    words = " ".join(line for line in lines if not line.startswith("#")).split()
    first = words.index("packages") + 1
    pairs = (word.partition("==") for word in words[first:])
    packages = {canonical(name): version or None for name, _, version in pairs}
    return Machine(words[words.index("python") + 1], packages)


def canonical(name: str) -> str:
    """A package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def package(requirement: str) -> str:
    """The canonical name of the package that a requirement is of."""
    return canonical(re.match(r"[\w.-]+", requirement)[0])


def required() -> list[str]:
    """Requirements that pyproject.toml names, those apart that loopbench can do without."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [line for line in project["dependencies"] if package(line) not in WITHOUT]


def lacking(target: Machine) -> dict[str, str]:
    """Packages that the machine lacks, of all that loopbench needs: name and version here.

    InputError for one that is not installed here, whose version is not known.
    """
    versions: dict[str, str] = {}
    open_ = list(required())
    while open_:
        name = package(line := open_.pop())
        if name in target.packages or name in versions:
            continue
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError as error:
            raise InputError(
                f"{line}: not installed here; run scripts/setup, and prepare from its .venv"
            ) from error
        open_ += _applying(metadata.requires(name) or (), target)
    return dict(sorted(versions.items()))


def _applying(lines: Iterable[str], target: Machine) -> list[str]:
    """Requirements that hold on the machine, extras apart."""
    from packaging.requirements import Requirement

    place = {
        "python_version": target.python,
        "python_full_version": f"{target.python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
        "extra": "",
    }
    parsed = ((line, Requirement(line).marker) for line in lines)
    return [line for line, marker in parsed if marker is None or marker.evaluate(place)]


def unmet(wheels: Iterable[Path], target: Machine) -> list[str]:
    """Requirements, of loopbench and of the wheels, that neither a wheel nor the machine meets."""
    from packaging.requirements import Requirement

    carried = {canonical(path.name.split("-")[0]): path for path in wheels}
    versions = {name: path.name.split("-")[1] for name, path in carried.items()}
    have = target.packages | versions
    lines = [("loopbench", line) for line in required()]
    for name, path in carried.items():
        lines += [(name, line) for line in _applying(_requires(path), target)]
    missed = []
    for name, line in lines:
        wanted = Requirement(line)
        key = canonical(wanted.name)
        version = have.get(key)
        fits = version is None or wanted.specifier.contains(version, prereleases=True)
        if key not in have or not fits:
            missed.append(f"{name} needs {line}")
    return missed


def _requires(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as inside:
        [name] = [n for n in inside.namelist() if n.endswith(".dist-info/METADATA")]
        text = inside.read(name).decode()
    head = text.split("\n\n")[0]
    return re.findall(r"^Requires-Dist: (.*?)\r?$", head, re.MULTILINE)


def gather(folder: Path, packages: dict[str, str], target: Machine) -> None:
    """Download one wheel of each package. InputError if a registry has none for the machine, or
    something that a wheel needs would be missing there."""
    platforms = [f"manylinux_{version}_x86_64" for version in _PLATFORMS]
    platforms += ["manylinux2014_x86_64", "manylinux1_x86_64"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", target.python]
    command += [word for name in platforms for word in ("--platform", name)]
    wanted = [f"{name}=={version}" for name, version in packages.items()]
    done = subprocess.run(
        [*command, "--dest", str(folder), *wanted], stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise InputError(f"pip could not download the wheels ({last[0]}); is a registry reachable?")
    missed = unmet(sorted(folder.glob("*.whl")), target)
    if missed:
        raise InputError(f"the GPU machine would lack something: {'; '.join(missed)}")


def missing(wheels: list[Path]) -> list[Path]:
    """The wheels of packages that this Python does not have, or has an older version of."""
    modules = []
    for path in wheels:
        name, version = path.name.split("-")[:2]
        try:
            if release(metadata.version(name)) < release(version):
                modules.append(path)
        except metadata.PackageNotFoundError:
            modules.append(path)
    return modules


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version before any suffix, without closing zeros."""
    numbers = [int(part) for part in re.match(r"[\d.]*", version)[0].split(".") if part]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def install(folder: Path) -> int:
    """Install what is missing into SITE, offline; 2, after a line, if something still is."""
    wheels = missing(sorted(folder.glob("*.whl")))
    if wheels:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
        command += ["--no-compile", "--no-cache-dir", "--upgrade", "--target", str(SITE)]
        subprocess.run([*command, *map(str, wheels)], check=True)
    absent = [name for name in map(package, required()) if not is_here(name)]
    if absent:
        print(
            f"loopbench: this Python lacks {', '.join(absent)}: run scripts/gpu_lease prepare "
            f"where a registry is reachable, and bring {folder.parent} along",
            file=sys.stderr,
        )
        return 2
    return 0


def is_here(name: str) -> bool:
    """Whether a package is installed, in this Python or in SITE."""
    distributions = metadata.distributions(path=[*sys.path, str(SITE)])
    return any(canonical(d.name) == name for d in distributions)


if __name__ == "__main__":
    if sys.argv[1:2] != ["install"] or len(sys.argv) != 3:
        sys.exit("usage: python -m scripts.gpu.wheels install FOLDER")
    sys.exit(install(Path(sys.argv[2])))
