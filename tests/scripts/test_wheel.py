"""The wheel: built from the sources, installed apart from them, and used where it lies."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("reasoning", "puzzles", "baselines", "scripts")
OTHERS = ("tests", "findings", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built by `python -m build` from a copy, with the setuptools that is here: no network."""
    pytest.importorskip("build", reason="extra test: build")
    pytest.importorskip("setuptools", "77", reason="extra test: setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "sources"
    copy.mkdir()
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*SOURCES, *OTHERS):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, copy)
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*words, str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder of programs of an environment that has the wheel; its libraries are those here."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True)
    # Of a path named so, the .pth files are not read: an editable loopbench there is not seen.
    libraries = Path(own.stdout.strip()) / "libraries.pth"
    libraries.write_text("\n".join(dict.fromkeys(map(sysconfig.get_path, ("purelib", "platlib")))))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    return folder / "bin"


def test_it_holds_the_packages_with_their_data_and_no_tests(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    packed = {name for name in inside if name.split("/")[0] in SOURCES}
    apart = {name.split("/")[0] for name in inside - packed}
    assert [name.endswith(".dist-info") for name in apart] == [True]
    modules = {
        str(path.relative_to(ROOT)) for name in SOURCES for path in (ROOT / name).rglob("*.py")
    }
    assert {name for name in packed if name.endswith(".py")} == modules
    data = {name for name in packed if not name.endswith(".py")}
    beside = [*(ROOT / "reasoning" / "weights").iterdir(), *(ROOT / "scripts").glob("*/**/*.*")]
    beside += (ROOT / "baselines" / "results").iterdir()
    wanted = {str(path.relative_to(ROOT)) for path in beside if path.suffix not in (".py", ".pyc")}
    assert data == wanted


def test_it_runs_the_quickstart_beside_folders_that_are_named_as_ours_are(installed, tmp_path):
    """Its modules, not those of the working folder, and not those of this repository."""
    for name in SOURCES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not ours')\n")
    words = ["quickstart", "--size", "4", "--steps", "4", "--test", "8", "--out", "out"]
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def run(*words):
        done = subprocess.run(
            [installed / "loopbench", *words],
            cwd=tmp_path,
            env=clean,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    code, out, err = run(*words)
    assert code == 0, err
    assert "the table, report.html and pictures are in out" in out
    table = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [group["runs"][0]["steps"] for group in table.values()] == [4, 4, 4]
    assert (tmp_path / "out" / "report.html").stat().st_size > 0
    code, out, err = run("solve", "--pretrained", "sudoku", "4....22.1.....5..4........4.53..2.6.")
    assert (code, "valid: every rule holds" in out) == (0, True), err
    where = "import scripts; print(scripts.__file__)"
    python = [installed / "python", "-P", "-c", where]
    found = subprocess.run(python, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).is_relative_to(installed.parent)
