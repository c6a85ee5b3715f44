"""What travels to a GPU machine: made once, whole, small, and all that is imported there."""

import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import rich

from puzzles.dataset import read_record, read_split
from puzzles.maze.rules import format_grid
from puzzles.sudoku import rules
from puzzles.sudoku.solver import solve_unique
from scripts.gpu import gpu_lease, lease_folder, wheels
from scripts.usage import UsageError

ROOT = Path(__file__).parent.parent.parent
OURS = ("baselines", "puzzles", "reasoning", "scripts")


# ----------------------------------------------------------------------------------------- puzzles


def write_csv(path, grids, *more):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join((rules.format_grid(q), rules.format_grid(a), *more)) for q, a in grids]
    heads = ("question", "answer", *("guesses",) * bool(more))
    path.write_text("\n".join([",".join(heads), *lines]) + "\n")


@pytest.fixture(scope="module")
def published(tmp_path_factory, mazes):
    """Lists as they are published, of a few puzzles each, and mazes beside them."""
    import gzip

    from puzzles import sources

    folder = tmp_path_factory.mktemp("published")
    train, test, _ = sources.sudoku(9, train=8, test=40, seed=0)
    pairs = [
        [(q - 1, a - 1) for q, a in zip(part.inputs, part.labels, strict=True)]
        for part in (train, test)
    ]
    write_csv(folder / "sudoku-extreme-1k" / "train1k.csv", pairs[0])
    for i, name in enumerate(("forum_hardest_1905_11plus", "top1465", "17_clue")):
        path = folder / "sudoku-lists" / f"{name}.csv"
        write_csv(path, pairs[1][10 * i : 10 * i + 14], "1")
        with gzip.open(path.with_suffix(".csv.gz"), "wb") as packed:
            packed.write(path.read_bytes())
        path.unlink()
    hard = folder / "maze-hard"
    hard.mkdir()
    for split in ("train", "test"):
        part = read_split(mazes, split)
        rows = zip(part.inputs, part.labels, strict=True)
        lines = [f"{format_grid(q)},{format_grid(a)}" for q, a in rows]
        (hard / f"{split}.csv").write_text("\n".join(["question,answer", *lines]) + "\n")
    return folder


@pytest.fixture
def gathered(monkeypatch):
    """Wheels without a registry: a file each; the list of what was asked."""
    asked = []

    def gather(folder, packages, there):
        folder.mkdir(exist_ok=True)
        asked.append(packages)
        for name, version in packages.items():
            (folder / f"{name}-{version}-py3-none-any.whl").write_bytes(b"wheel")

    monkeypatch.setattr(wheels, "gather", gather)
    return asked


def prepared(published, folder, *more):
    words = ["prepare", "--sudoku", str(published), "--folder", str(folder), "--held-out", "10"]
    assert gpu_lease.guarded([*words, *more]) == 0


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_prepared_once_it_is_whole_and_a_second_time_does_nothing(
    published, gathered, tmp_path, capsys
):
    folder = tmp_path / "lease"
    prepared(published, folder)
    said = capsys.readouterr().out
    assert "made: maze-hard, sudoku, wheels" in said
    assert f"carry {folder} (" in said
    commands = [line for line in said.splitlines() if line.startswith("  scripts/gpu_lease run")]
    assert len(commands) == 3
    assert all(len(command) < 2000 for command in commands)
    manifest = lease_folder.check(folder)
    assert set(manifest["parts"]) == {"maze-hard", "sudoku", "wheels"}
    before = stamps(folder)
    prepared(published, folder)
    assert "nothing has changed" in capsys.readouterr().out
    assert stamps(folder) == before
    assert len(gathered) == 1


def test_the_held_out_mix_shares_no_grid_with_the_training_rows(published, gathered, tmp_path):
    folder = tmp_path / "lease"
    prepared(published, folder)
    data = lease_folder.unpack(folder, "sudoku", tmp_path)
    train, test = (read_split(data, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (8 * (1 + lease_folder.NEIGHBOURS), 10)
    assert read_record(data)["overlap"]["solution_grids"] == 0
    assert not {row.tobytes() for row in train.labels} & {row.tobytes() for row in test.labels}
    solved = solve_unique(test.inputs - np.uint8(1), str)
    assert (solved == test.labels - 1).all()
    mazes = lease_folder.unpack(folder, "maze-hard", tmp_path)
    assert read_split(mazes, "train").kind == "maze"


def test_only_what_changed_is_made_anew(published, gathered, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "lease"
    prepared(published, folder)
    (folder / "maze-hard.tar.xz").write_bytes(b"cut short")
    prepared(published, folder)
    assert "made: maze-hard\n" in capsys.readouterr().out
    prepared(published, folder, "--held-out", "9")
    assert "made: sudoku\n" in capsys.readouterr().out
    monkeypatch.setattr(wheels, "lacking", lambda there: {"tyro": "1.0"})
    prepared(published, folder, "--held-out", "9")
    assert "made: wheels\n" in capsys.readouterr().out
    assert [path.name for path in (folder / "wheels").iterdir()] == ["tyro-1.0-py3-none-any.whl"]
    lease_folder.check(folder)


def test_a_folder_over_the_size_or_damaged_is_refused(published, gathered, tmp_path):
    folder = tmp_path / "lease"
    prepared(published, folder)
    before = stamps(folder)
    parts = [lease_folder.sudoku_part(published, 7)]
    with pytest.raises(UsageError, match=r"would hold .* MiB"):
        lease_folder.gather(folder, parts, most=100)
    assert stamps(folder) == before
    with pytest.raises(UsageError, match=r"holds .* may travel; delete"):
        lease_folder.check(folder, most=100)
    wheel = next((folder / "wheels").iterdir())
    wheel.write_bytes(b"other")
    with pytest.raises(UsageError, match=f"{wheel.name}: missing or not as it was made"):
        lease_folder.check(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(UsageError, match="not readable"):
        lease_folder.check(folder)
    with pytest.raises(UsageError, match="is not there"):
        lease_folder.unpack(tmp_path, "sudoku", tmp_path)


def test_lists_that_are_not_there_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"there is no sudoku-extreme-1k/train1k\.csv in it"):
        lease_folder.sudoku_part(tmp_path, 5)
    with pytest.raises(UsageError, match="holds no file"):
        lease_folder.maze_part(tmp_path)


# ------------------------------------------------------------------------------------------ wheels


def test_the_machine_is_described():
    there = wheels.machine()
    assert there.python == "3.12"
    assert there.packages["torch"] == "2.11.0"
    assert {"numpy", "numba", "pyyaml", "typing-extensions", "matplotlib"} <= set(there.packages)
    assert not {"pydantic", "tyro", "platformdirs", "wandb"} & set(there.packages)
    assert not set(wheels.lacking(there)) & set(there.packages)
    assert {"pydantic", "pydantic-core", "tyro", "typeguard"} <= set(wheels.lacking(there))


def wheel(folder, name, version, *needs):
    path = folder / f"{name}-{version}-py3-none-any.whl"
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {n}" for n in needs)]
    with zipfile.ZipFile(path, "w") as inside:
        inside.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(lines) + "\n\nText\n")
    return path


def test_what_a_wheel_needs_and_nobody_brings_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(wheels, "required", lambda: ["torch>=2.9", "numpy>=99", "a>=2"])
    needs = ["b>=1; python_version < '3.12'", "c", "numpy>=2", "d; extra == 'x'", "rich>=500"]
    made = [wheel(tmp_path, "a", "1.5", *needs)]
    missed = wheels.unmet(made, wheels.machine())
    # rich is there in a version that is not known.
    assert missed == ["loopbench needs numpy>=99", "loopbench needs a>=2", "a needs c"]


def test_wheels_are_installed_only_where_missing_or_older(tmp_path):
    there = tmp_path / "pytest-1.0-py3-none-any.whl"
    newer = tmp_path / "pytest-1000.0-py3-none-any.whl"
    absent = tmp_path / "no_such_package-1.0-py3-none-any.whl"
    assert wheels.missing([there, newer, absent]) == [newer, absent]
    ordered = ("1", "1.0.1", "1.2", "1.10", "2.13.0+cpu", "10.0")
    assert sorted(map(wheels.release, ordered[::-1])) == list(map(wheels.release, ordered))
    assert wheels.release("1.0.0") == wheels.release("1.0") == (1,)
    assert wheels.package("Typing_Extensions>=4; python_version < '4'") == "typing-extensions"


def test_wheels_install_with_nothing_but_python():
    """Whatever third-party package this module needed would be missing where it is first run."""
    bare = [sys.executable, "-S", "-c", "import scripts.gpu.wheels"]
    subprocess.run(bare, cwd=wheels.ROOT, env={"PYTHONPATH": str(wheels.ROOT)}, check=True)


def test_a_machine_without_wheels_is_told_what_it_lacks(monkeypatch, capsys):
    monkeypatch.setattr(wheels, "is_here", lambda name: name not in ("pydantic", "tyro"))
    assert wheels.install(Path("/nowhere/wheels")) == 2
    said = capsys.readouterr().err
    assert "lacks pydantic, tyro" in said
    assert "scripts/gpu_lease prepare" in said


BLOCKED = """
import importlib, importlib.abc, sys
from importlib import metadata
from pathlib import Path
root, allowed = Path(sys.argv[1]), set(sys.argv[2].split(","))
sys.path.insert(0, str(root))
from scripts.gpu.wheels import canonical
brings = metadata.packages_distributions()


class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        makers = {canonical(maker) for maker in brings.get(name, ())}
        if makers and not makers & allowed:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
# No GPU's minutes go to them.
EXTRAS = (
    "exported_onnx",
    "harness_model",
    "solve_answers",
    "solve_page",
    "solve_without_torch",
)
for top in sys.argv[3].split(","):
    for path in sorted((root / top).rglob("*.py")):
        if path.stem in EXTRAS:
            continue
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        importlib.import_module(name.removesuffix(".__init__"))
try:
    import wandb
except ModuleNotFoundError:
    print("everything is imported")
"""


def test_everything_is_imported_with_nothing_but_the_wheels_and_what_the_machine_has():
    there = wheels.machine()
    allowed = {*there.packages, *wheels.lacking(there), "loopbench"}
    words = [sys.executable, "-c", BLOCKED, str(ROOT), ",".join(sorted(allowed)), ",".join(OURS)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "everything is imported\n", done.stderr


def python312():
    """A Python 3.12, None if there is none."""
    places = [Path(folder) / "python3.12" for folder in os.get_exec_path()]
    places += sorted(Path.home().glob(".pyenv/versions/3.12.*/bin/python3.12"))
    for path in places:
        if path.is_file():
            said = subprocess.run([path, "-c", "import ssl, zlib"], capture_output=True)
            if said.returncode == 0:
                return path
    return None


PROBE = """
import dataclasses, importlib, sys

for name in sys.argv[1:]:
    importlib.import_module(name)
import pydantic, tyro


class Model(pydantic.BaseModel):
    steps: int


@dataclasses.dataclass
class Options:
    steps: int = 1


print(Model.model_validate({"steps": "3"}).steps, tyro.cli(Options, args=["--steps", "4"]).steps)
"""


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    """The wheels as they travel."""
    folder = tmp_path_factory.mktemp("wheels")
    there = wheels.machine()
    try:
        wheels.gather(folder, wheels.lacking(there), there)
    except ValueError as error:
        if "registry" in str(error):
            pytest.skip(str(error))
        raise
    return sorted(folder.glob("*.whl"))


def test_wheels_are_one_each_small_and_of_the_machines_python(carried):
    names = [wheels.canonical(path.name.split("-")[0]) for path in carried]
    assert names == sorted(wheels.lacking(wheels.machine()))
    for path in carried:
        *_, python, abi, platforms = path.stem.split("-")
        assert (python, abi) in {("py3", "none"), ("cp312", "cp312")}, path.name
        for platform in platforms.split("."):
            assert platform == "any" or platform.startswith("manylinux")
            assert platform == "any" or platform.endswith("x86_64")
    assert sum(path.stat().st_size for path in carried) < 10 * 2**20
    assert wheels.unmet(carried, wheels.machine()) == []


@pytest.mark.skipif(python312() is None, reason="there is no Python 3.12 here")
def test_the_wheels_are_installed_offline_and_run_under_the_machines_python(carried, tmp_path):
    python, site, standing_in = python312(), tmp_path / "site", tmp_path / "there"
    pip = [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    done = subprocess.run([*pip, "--target", site, *carried], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # What the machine has and is Python alone stands in for itself.
    standing_in.mkdir()
    here = Path(rich.__file__).parent.parent
    for name in ("typing_extensions.py", "rich", "markdown_it", "mdurl", "pygments"):
        (standing_in / name).symlink_to(here / name)
    lacking = wheels.lacking(wheels.machine())
    made = metadata.packages_distributions().items()
    modules = [name for name, makers in made if wheels.canonical(makers[0]) in lacking]
    assert len(modules) >= len(lacking)
    environment = {"PYTHONPATH": f"{site}:{standing_in}", "PATH": os.environ["PATH"]}
    words = [python, "-s", "-c", PROBE, *modules]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.stdout == "3 4\n", done.stderr
    # And the whole of loopbench is that Python's language.
    parse = "import ast, sys; [ast.parse(open(p).read(), p) for p in sys.argv[1:]]"
    sources = [str(path) for top in OURS for path in (ROOT / top).rglob("*.py")]
    assert subprocess.run([python, "-c", parse, *sources]).returncode == 0


def test_nothing_that_is_ignored_is_kept_in_git():
    """Puzzles are nobody's to commit, and the prepared folder holds some."""
    listed = ["git", "-C", str(ROOT), "ls-files", "--cached", "--ignored", "--exclude-standard"]
    done = subprocess.run(listed, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no checkout")
    assert done.stdout == ""
