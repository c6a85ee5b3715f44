"""What travels to a GPU machine: one folder with wheels, puzzles and their manifest.

    wheels/*.whl          what the machine lacks (scripts.gpu.wheels)
    sudoku.tar.xz         a data folder: 1,000 rows of Sudoku-Extreme with their neighbours, and a
                          held-out mix
    maze-hard.tar.xz      a data folder: Maze-Hard as published
    manifest.json         what each was made from, every file's sha256, the commit, its code's
                          sha256

Each part is made anew only if what it is made from has changed, or a file is not as it was.
"""

import hashlib
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puzzles.built import Built
from puzzles.dataset import read_record, write_dataset
from puzzles.errors import DataError
from puzzles.importing import import_path
from reasoning.records import sha256_of
from reasoning.training.runs import environment, write_json
from scripts.gpu import wheels
from scripts.gpu.wheels import ROOT
from scripts.usage import UsageError

MOST_BYTES = 50 * 2**20
HELD_OUT = 2_000
NEIGHBOURS = 19  # of each training row: with them a net goes on learning where it would memorise
_MANIFEST = "manifest.json"
_PACKAGES = ("baselines", "puzzles", "reasoning", "scripts")
_LISTS = ("forum_hardest_1905_11plus", "top1465", "17_clue")


@dataclass(frozen=True)
class Part:
    """One part of the folder: what it is made from, by name; its files' pattern; how to make it
    in the folder given."""

    name: str
    made_from: dict[str, str]
    pattern: str
    make: Callable[[Path], None]


def sudoku_part(source: Path, held_out: int) -> Part:
    """Training rows with their neighbours and, on no solution grid of theirs, a mix of lists."""
    rows = source / "sudoku-extreme-1k" / "train1k.csv"
    *hard, seventeen = (source / "sudoku-lists" / f"{name}.csv.gz" for name in _LISTS)
    files = (rows, *hard, seventeen)
    for path in files:
        if not path.is_file():
            raise UsageError(
                f"--sudoku {source}: there is no {path.relative_to(source)} in it; it is to hold "
                "sudoku-extreme-1k/train1k.csv and sudoku-lists/"
            )

    def make(folder: Path) -> None:
        lists = {"test_hard": tuple(hard), "test_seventeen": seventeen}
        built = import_path(rows, test=held_out, neighbours=NEIGHBOURS, **lists)
        packed = _packed(folder, "sudoku", built)
        shared = packed["overlap"]["solution_grids"]
        if shared:
            raise DataError(f"{folder}: {shared} solution grids are in both splits")

    made_from = {path.name: sha256_of(path) for path in files}
    made_from |= {"held out": str(held_out), "neighbours": str(NEIGHBOURS)}
    return Part("sudoku", made_from, "sudoku.tar.xz", make)


def maze_part(source: Path) -> Part:
    """Maze-Hard, whole."""
    files = sorted(path for path in source.rglob("*") if path.is_file())
    if not files:
        raise UsageError(f"--maze: {source} holds no file; it is to hold Maze-Hard")
    made_from = {str(path.relative_to(source)): sha256_of(path) for path in files}

    def make(folder: Path) -> None:
        _packed(folder, "maze-hard", import_path(source))

    return Part("maze-hard", made_from, "maze-hard.tar.xz", make)


def wheels_part() -> Part:
    """One wheel of every package that the machine lacks."""
    machine = wheels.machine()
    packages = wheels.lacking(machine)

    def make(folder: Path) -> None:
        wheels.gather(folder / "wheels", packages, machine)

    return Part("wheels", packages | {"python": machine.python}, "wheels/*.whl", make)


def _packed(folder: Path, name: str, built: Built) -> dict[str, Any]:
    """Write a data folder elsewhere and pack it; returns its record."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / name
        write_dataset(out, *built)
        with tarfile.open(folder / f"{name}.tar.xz", "w:xz") as tar:
            tar.add(out, name)
        return read_record(out)


def gather(folder: Path, parts: list[Part], most: int = MOST_BYTES) -> list[str]:
    """Bring the folder up to date; returns the names of the parts that were made.

    UsageError, the folder as it was, if the whole would be larger than `most` bytes.
    """
    manifest = read_manifest(folder) if (folder / _MANIFEST).exists() else {"parts": {}}
    fresh = {part.name for part in parts if not _stands(folder, part, manifest["parts"])}
    commit = _commit()
    if not fresh and {k: manifest.get(k) for k in commit} == commit:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as place:
        new = Path(place) / folder.name
        new.mkdir()
        kept: dict[str, Any] = {}
        for part in parts:
            (new / part.pattern).parent.mkdir(exist_ok=True)
            if part.name in fresh:
                part.make(new)
            else:
                for path in folder.glob(part.pattern):
                    shutil.copy(path, new / path.relative_to(folder))
            files = {str(p.relative_to(new)): sha256_of(p) for p in sorted(new.glob(part.pattern))}
            kept[part.name] = {"made_from": part.made_from, "files": files}
        write_json(new / _MANIFEST, {**commit, "parts": kept})
        size = size_of(new)
        if size > most:
            raise UsageError(
                f"{folder}: would hold {size / 2**20:.1f} MiB, and {most / 2**20:g} may travel; "
                "leave something out"
            )
        shutil.rmtree(folder)
        new.rename(folder)
    return sorted(fresh)


def size_of(folder: Path) -> int:
    """Bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def read_manifest(folder: Path) -> dict[str, Any]:
    """The folder's manifest. UsageError if there is none to read."""
    path = folder / _MANIFEST
    try:
        manifest = json.loads(path.read_text())
        manifest["parts"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path}: not readable ({error}); make the folder with scripts/gpu_lease prepare "
            "--sudoku DIR"
        ) from error
    return manifest


def check(folder: Path, most: int = MOST_BYTES) -> dict[str, Any]:
    """The manifest of a folder whose every file is as it was made. UsageError otherwise."""
    manifest = read_manifest(folder)
    size = size_of(folder)
    if size > most:
        raise UsageError(
            f"{folder}: holds {size / 2**20:.1f} MiB, and {most / 2**20:g} may travel; delete what "
            "scripts/gpu_lease prepare did not put there"
        )
    for name, part in manifest["parts"].items():
        for file, digest in part["files"].items():
            path = folder / file
            if not path.is_file() or sha256_of(path) != digest:
                raise UsageError(
                    f"{path}: missing or not as it was made ({name}); run scripts/gpu_lease "
                    "prepare again"
                )
    return manifest


def unpack(folder: Path, name: str, to: Path) -> Path:
    """Unpack a data folder of the prepared one. UsageError if that has none of this name."""
    packed = folder / f"{name}.tar.xz"
    if not packed.is_file():
        raise UsageError(
            f"{packed}: is not there; make it with scripts/gpu_lease prepare (--sudoku DIR, "
            "--maze DIR)"
        )
    with tarfile.open(packed) as tar:
        tar.extractall(to, filter="data")
    return to / name


def _stands(folder: Path, part: Part, parts: dict[str, Any]) -> bool:
    """Whether a part is there, from the same sources, every file as it was made."""
    known = parts.get(part.name)
    if known is None or known["made_from"] != part.made_from or not known["files"]:
        return False
    files = {str(path.relative_to(folder)) for path in folder.glob(part.pattern)}
    if files != set(known["files"]):
        return False
    return all(sha256_of(folder / name) == digest for name, digest in known["files"].items())


def _commit() -> dict[str, Any]:
    """The commit that is prepared, for a machine whose copy cannot tell it."""
    here = environment()
    names = ("commit", "uncommitted_changes")
    return {name: here[name] for name in names} | {"code": code_digest()}


def code_digest() -> str:
    """sha256 over every file of the packages but what Python compiled: whether it is this code that
    was prepared."""
    files = (path for top in _PACKAGES for path in (ROOT / top).rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in sorted(path for path in files if "__pycache__" not in path.parts):
        digest.update(f"{path.relative_to(ROOT)} {sha256_of(path)}\n".encode())
    return digest.hexdigest()
