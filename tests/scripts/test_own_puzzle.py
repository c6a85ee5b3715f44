"""A kind of puzzle from outside this repository, and the notebook's way in: both as they stand on
baselines/README.md."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import torch

import baselines
import puzzles
import reasoning
import scripts
from puzzles.check import check_dataset
from puzzles.dataset import read_split
from puzzles.errors import DataError
from puzzles.kinds import KINDS, puzzle_of
from puzzles.sources import make
from reasoning.training.distribution import World
from reasoning.training.evaluation import predict
from reasoning.training.runs import RunError
from scripts.cli import main
from scripts.runs.pretrained import _rounded
from scripts.runs.recorded import load_config
from scripts.runs.session import open_run
from scripts.usage import UsageError

ROOT = Path(__file__).parents[2]
CPU = World(0, 1, torch.device("cpu"))
PAGE = (ROOT / "baselines" / "README.md").read_text()


def section(title: str, language: str) -> str:
    text = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    found = re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    assert found
    return "\n".join(found)


@pytest.fixture(scope="module")
def place(working_folder):
    """The working folder, with latin.py in it."""
    (working_folder / "latin.py").write_text(section("A puzzle of your own", "python"))
    return working_folder


@pytest.fixture(scope="module")
def squares(place) -> Path:
    words = ["data", "make", "latin:Latin", "--size", "4", "--train", "40", "--test", "12"]
    assert main([*words, "--out", "few"]) == 0
    return place / "few"


def refused(capsys, words, *parts):
    assert main(list(map(str, words))) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for part in parts:
        assert part in said


def answers_by_brute_force(question: np.ndarray, size: int) -> list[tuple[int, ...]]:
    """Every filling of the blanks that keeps each row and column free of repetitions."""
    blanks = np.flatnonzero(question == 1)
    found = []
    for filling in product(range(2, size + 2), repeat=len(blanks)):
        square = question.copy()
        square[blanks] = filling
        grid = square.reshape(size, size)
        lines = [*grid, *grid.T]
        if all(len(set(line)) == size for line in lines):
            found.append(tuple(square))
    return found


def test_the_example_is_short():
    lines = section("A puzzle of your own", "python").splitlines()
    assert len([line for line in lines if line.strip()]) <= 60


def test_the_pages_commands_run_as_they_stand_but_smaller(place, capsys):
    for line in section("A puzzle of your own", "sh").splitlines():
        words = [{"1000": "40", "200": "12"}.get(w, w) for w in shlex.split(line)[1:]]
        words = [word.replace("-cpu", "-mini") for word in words]
        if words[:2] == ["data", "make"]:
            words[words.index("--size") + 1] = "3"
            words[words.index("--train") + 1] = "20"
            words[words.index("--test") + 1] = "5"
        if words[0] in ("compare", "train"):
            words += ["--steps", "5", "--device", "cpu"]
        if words[0] == "solve":
            words[2] = words[2][:9]
            assert main(words) in (0, 1)
        else:
            assert main(words) == 0, (words, capsys.readouterr().err)
    said = capsys.readouterr().out
    assert "valid: " in said  # the verdict on the answer
    compared = json.loads(Path("table/comparison.json").read_text())
    assert list(compared) == ["trm-mini", "trm-axial-mini"]
    for group in compared.values():
        assert set(group["metrics"]) == {"cell", "exact", "valid"}
    assert any(Path("table/examples").iterdir())


def test_generated_squares_have_one_answer_and_are_shared_by_no_split(squares):
    report = check_dataset(squares)
    assert (report.kind, report.size) == ("latin:Latin", 4)
    assert report.overlap == {"identical_puzzles": 0, "equivalent_puzzles": 0}
    part = read_split(squares, "test")
    for question, label in zip(part.inputs, part.labels, strict=True):
        filled = question.copy()
        few = np.flatnonzero(question == 1)[7:]  # brute force of 4^7 at most
        filled[few] = label[few]
        assert answers_by_brute_force(filled, 4) == [tuple(label)]


def test_wrong_squares_are_told(squares, capsys):
    part = read_split(squares, "test")
    latin = puzzle_of("latin:Latin")
    assert latin.is_valid(part.inputs, part.labels).all()
    for cell in range(16):
        wrong = part.labels.copy()
        wrong[:, cell] = wrong[:, cell] % 5 + 1
        assert not latin.is_valid(part.inputs, wrong).any()
    broken = Path("broken")
    shutil.copytree(squares, broken)
    labels = part.labels.copy()
    labels[3, 0] = labels[3, 1]
    np.save(broken / "test" / "all__labels.npy", labels)
    record = json.loads((broken / "loopbench.json").read_text())
    (broken / "loopbench.json").write_text(json.dumps(record | {"sha256": {}}))
    refused(capsys, ["data", "check", broken], "test/all__inputs.npy, row 3", "breaks a rule")


def test_augmented_squares_are_squares_with_the_same_blanks(squares):
    part = read_split(squares, "train")
    latin = puzzle_of("latin:Latin")
    inputs, labels = latin.augment(part.inputs, part.labels, np.random.default_rng(0))
    assert latin.is_valid(inputs, labels).all()
    np.testing.assert_array_equal(inputs == 1, part.inputs == 1)
    assert (labels != part.labels).any()


def test_no_split_holds_a_square_and_the_same_with_other_symbols(place):
    train, test = (
        part.inputs.reshape(-1, 16) for part in make("latin:Latin", 4, 200, 40, seed=3)[:2]
    )
    known = {row.tobytes() for row in train}
    assert len(known) == 200
    for names in permutations(range(2, 6)):  # every one, for brute force
        table = np.array([0, 1, *names], np.uint8)
        assert not known & {row.tobytes() for row in table[test]}
    keys = puzzle_of("latin:Latin").class_keys(train, train)
    forms = {min(np.array([0, 1, *n], np.uint8)[row].tobytes() for n in permutations(range(2, 6)))
             for row in train}  # fmt: skip
    assert len(set(keys)) == len(forms)


def test_the_same_seed_gives_the_same_bytes(squares, place):
    words = ["data", "make", "latin:Latin", "--size", "4", "--train", "40", "--test", "12"]
    assert main([*words, "--out", "again"]) == 0
    first, second = (
        json.loads((folder / "loopbench.json").read_text()) for folder in (squares, Path("again"))
    )
    assert first == second


def test_a_run_on_it_is_evaluated_and_refuses_other_puzzles(squares, sudokus, capsys):
    words = ["train", "--preset", "attractor-mini", "--data", str(squares), "--out", "short"]
    assert main([*words, "--steps", "5", "--device", "cpu", "--log-every", "5"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "short", "--data", str(squares)]) == 0
    assert "difficult" not in capsys.readouterr().out  # it counts none, so there is none to add
    refused(capsys, ["evaluate", "short", "--data", sudokus], "latin:Latin of size 4")
    asked = ["evaluate", "short", "--data", squares, "--symmetries", "2"]
    refused(capsys, asked, "--symmetries: a latin:Latin has 1")
    refused(capsys, ["solve", "short", "1" * 15 + "7"], "character 16: '7'", "use .1234")
    refused(capsys, ["solve", "short", "1" * 15], "15 characters, expected 16")


def test_what_was_made_before_a_puzzle_was_registered_fits_what_is_made_later(
    squares, place, monkeypatch
):
    words = ["train", "--preset", "trm-mini", "--data", str(squares), "--out", "unnamed"]
    assert main([*words, "--steps", "2", "--device", "cpu"]) == 0
    package = place / "latin-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: latin\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[loopbench.puzzles]\nlatin = latin:Latin\n")
    monkeypatch.syspath_prepend(str(place))
    puzzle_of.cache_clear()
    made = ["data", "make", "latin", "--size", "4", "--train", "40", "--test", "12"]
    assert main([*made, "--out", "named"]) == 0
    assert main(["evaluate", "unnamed", "--data", "named", "--device", "cpu"]) == 0
    assert main(["train", "--resume", "unnamed", "--steps", "3"]) == 0
    assert load_config(Path("unnamed"))[1]["kind"] == "latin"
    shutil.rmtree(package)


def test_packaged_weights_answer_from_their_file(squares, capsys):
    """As their run's weights do, rounded."""
    words = ["train", "--preset", "trm-mini", "--data", str(squares), "--out", "bare"]
    assert main([*words, "--steps", "5", "--device", "cpu"]) == 0
    assert main(["package", "bare", "--data", str(squares), "--out", "weights"]) == 0
    file = Path("weights/latin-Latin-4.safetensors")
    asked = "1" + 15 * "."
    capsys.readouterr()
    assert main(["solve", str(file), asked]) in (0, 1)
    said = capsys.readouterr().out
    solved = scripts.solve(asked, file)
    assert str(solved).split() == said.split()
    rounded = open_run(Path("bare"), CPU)
    _rounded(rounded.model)
    tokens, ids = puzzle_of("latin:Latin").parse(asked)[None], np.zeros(1, np.int32)
    answers = predict(rounded.model, tokens, ids, len(solved.answers), 1, CPU).tokens[:, 0]
    np.testing.assert_array_equal(solved.answers, answers)
    refused(capsys, ["solve", file, asked[1:]], "15 characters, expected 16")
    refused(capsys, ["solve", "weights/other.safetensors", asked], "weights/other.json")
    file.write_bytes(file.read_bytes()[:-8])
    refused(capsys, ["solve", file, asked], str(file), "package it")


def test_a_size_that_a_puzzle_has_not_is_refused_before_it_generates(place, capsys):
    (place / "odd.py").write_text(
        "from latin import Latin\n\nclass Odd(Latin):\n"
        "    def check_size(self, cells):\n"
        "        if cells % 2 == 0: raise ValueError('its side is odd')\n"
        "    def generate(self, size, count, seed):\n"
        "        assert size % 2\n"
        "        return super().generate(size, count, seed)\n"
    )
    words = ["data", "make", "odd:Odd", "--train", "3", "--test", "1", "--out", "odd", "--size"]
    refused(capsys, [*words, "4"], "odd:Odd: its side is odd")
    assert not Path("odd").exists()
    assert main([*words, "3"]) == 0


def test_mistakes_of_a_puzzle_are_told_in_one_line(place, capsys):
    (place / "failing.py").write_text(
        "import numpy as np\nfrom latin import Latin\n\nclass Broken(Latin):\n"
        "    def generate(self, size, count, seed):\n"
        "        return 1 // 0\n\n"
        "class Few(Latin):\n"
        "    def generate(self, size, count, seed):\n"
        "        return super().generate(size, 3, seed)\n\n"
        "class Lists(Latin):\n"
        "    def generate(self, size, count, seed):\n"
        "        return tuple(map(list, super().generate(size, count, seed)))\n\n"
        "class Alone(Latin):\n"
        "    def generate(self, size, count, seed):\n"
        "        return super().generate(size, count, seed)[0]\n\n"
        "class Yes(Latin):\n"
        "    def is_valid(self, inputs, answers):\n"
        "        return True\n\n"
        "class Raising(Latin):\n"
        "    def is_valid(self, inputs, answers):\n"
        "        raise KeyError(3)\n\n"
        "class Falsifying(Latin):\n"
        "    def augment(self, inputs, labels, rng):\n"
        "        return inputs, labels[:, ::-1].copy()\n\n"
        "class Half(Latin):\n"
        "    def augment(self, inputs, labels, rng):\n"
        "        return inputs\n\n"
        "class Kind(Latin):\n"
        "    def is_valid(self, inputs, answers):\n"
        "        return np.full(len(inputs), True)\n\n"
        "class Deaf(Latin):\n"
        "    def is_valid(self, inputs, answers):\n"
        "        return super().is_valid(np.ones_like(inputs), answers)\n\n"
        "class Moody(Latin):\n"
        "    def generate(self, size, count, seed):\n"
        "        return super().generate(size, count, None)\n\n"
        "class Restless(Latin):\n"
        "    def augment(self, inputs, labels, rng):\n"
        "        return super().augment(inputs, labels, np.random.default_rng())\n\n"
        "class Twice(Latin):\n"
        "    def characters(self, size):\n"
        "        return '?.1123'\n\n"
        "class Far(Latin):\n"
        "    def symbols(self, size):\n"
        "        return 2, 9\n\n"
        "class Part(Latin):\n"
        "    def families(self, size):\n"
        "        return (np.arange(4).reshape(2, 2),)\n\n"
        "class Told(Latin):\n"
        "    def generate(self, size, count, seed):\n"
        "        return (super().generate(size, count, seed)[1],) * 2\n\n"
        "class Turned(Latin):\n"
        "    def augment(self, inputs, labels, rng):\n"
        "        return inputs[:, ::-1].copy(), labels[:, ::-1].copy()\n\n"
        "class Sizeless(Latin):\n"
        "    def check_size(self, cells):\n"
        "        return {}[cells]\n"
    )
    words = ["--size", "4", "--train", "3", "--test", "1", "--out", "none"]
    for name, parts in {
        "Broken": ("generate fails (ZeroDivisionError: ", "failing.py:6)"),
        "Few": ("generate gives (dtype('uint8'), (3, 16)), expected uint8 (4, 16)",),
        "Lists": ("generate gives list, expected uint8 (4, 16)",),
        "Alone": ("generate gives a ndarray, expected two arrays",),
        "Yes": ("Yes.is_valid gives bool (), expected bool (N,)",),
        "Raising": ("is_valid fails (KeyError: 3",),
        "Falsifying": ("augment gives a wrong puzzle",),
        "Half": ("augment gives a ndarray, expected two arrays",),
        "Kind": ("is_valid takes an answer that changes a given",),
        "Deaf": ("is_valid takes an answer that changes a given",),
        "Moody": ("generate gives other puzzles when it is called again",),
        "Restless": ("augment gives other images when it is called again",),
        "Twice": ("characters gives '?.1123', expected 6 different characters",),
        "Far": ("symbols gives (2, 9), expected different tokens from 2 to 5",),
        "Part": ("family 0 of units does not hold every cell once",),
        "Told": ("generate gives the answers as questions",),
        "Turned": ("class_keys gives images another key", "alike for a puzzle and every image"),
        "Sizeless": ("check_size fails (KeyError: 16",),
    }.items():
        refused(capsys, ["data", "make", f"failing:{name}", *words], *parts)
    assert not Path("none").exists()


def test_a_puzzle_whose_answer_changes_all_may_be_made(place):
    (place / "inverse.py").write_text(
        "import numpy as np\nfrom puzzles import Puzzle\n\n"
        "class Flip(Puzzle):\n"
        "    def vocabulary(self, size):\n        return 4\n\n"
        "    def symbols(self, size):\n        return np.arange(2, 4)\n\n"
        "    def families(self, size):\n        return ()\n\n"
        "    def is_valid(self, inputs, answers):\n"
        "        return (answers == 5 - inputs).all(1)\n\n"
        "    def generate(self, size, count, seed):\n"
        "        assert count > 3\n"
        "        drawn = np.random.default_rng(seed).integers(2, 4, (count, size * size))\n"
        "        return drawn.astype(np.uint8), (5 - drawn).astype(np.uint8)\n"
    )
    train, test, _ = make("inverse:Flip", 4, 20, 6, seed=0)
    assert (train.labels == 5 - train.inputs).all()
    assert len(test) == 6


def test_a_set_is_shown_by_what_it_holds_not_by_its_arrays(squares):
    assert repr(read_split(squares, "test")) == "PuzzleSet(latin:Latin 4x4, puzzles 12, groups 12)"


def test_what_is_no_puzzle_is_refused_in_one_line(place, squares, capsys):
    (place / "unfit.py").write_text(
        "import numpy as np\nfrom puzzles import Puzzle\n\n"
        "class Bare(Puzzle): pass\n\nclass Plain: pass\n\n"
        "class Lying(Puzzle):\n"
        "    def vocabulary(self, size): return 4\n"
        "    def is_valid(self, inputs, answers): return (inputs == answers).all(1)\n"
        "    def generate(self, size, count, seed):\n"
        "        made = np.random.default_rng(seed).integers(1, 4, (count, size * size))\n"
        "        return made.astype(np.uint8), np.ones_like(made, np.uint8)\n"
    )
    asked = ["data", "make", "--size", "4", "--out", "no", "--train", "4", "--test", "2"]
    refused(capsys, [*asked, "absent:Latin"], "no module absent")
    refused(capsys, [*asked, "latin:Lattin"], "did you mean Latin?")
    refused(capsys, [*asked, "unfit:Plain"], "derived from puzzles.puzzle.Puzzle")
    refused(capsys, [*asked, "unfit:Bare"], "no generate and no is_valid and no vocabulary")
    refused(capsys, [*asked, "unfit:Lying"], "generates a wrong puzzle", "breaks a rule")
    refused(capsys, [*asked, "chess"], 'kind is "chess"')
    assert not Path("no").exists()
    lost = shutil.copytree(squares, place / "lost")
    record = lost / "loopbench.json"
    record.write_text(record.read_text().replace("latin:Latin", "gone:Latin"))
    refused(capsys, ["data", "check", lost], "loopbench.json", "no module gone")


def test_each_kind_that_ships_generates_what_its_own_rules_accept():
    """By the one command for all kinds too."""
    for kind, size in (("sudoku", 4), ("maze", 5)):
        train, test, record = make(kind, size, train=12, test=3, seed=1)
        for part in (train, test):
            assert puzzle_of(kind).is_valid(part.inputs, part.labels).all()
        assert record.overlap["equivalent_puzzles"] == 0
        assert train.difficulty_name is not None
    assert set(KINDS) == {"sudoku", "maze"}


def test_units_must_hold_every_cell_once(place):
    (place / "torn.py").write_text(
        "from latin import Latin\n\nclass Torn(Latin):\n"
        "    def families(self, size): return (super().families(size)[0][:-1],)\n"
    )
    with pytest.raises(DataError, match="torn:Torn: family 0 of units"):
        puzzles.units.unit_families("torn:Torn", 4)


def test_the_notebooks_lines_run_as_they_stand(place, sudokus, capsys):
    shutil.copytree(sudokus, "data")
    code, names = section("In a notebook", "python"), {}
    exec(compile(code, "notebook", "exec"), names)
    said = capsys.readouterr().out.splitlines()
    assert 0 <= float(said[0]) <= 1
    assert said[-1].endswith("128 net calls (16, 16)")  # segments, cells
    record = json.loads((Path("pair") / "hrm-mini-seed0" / "evaluation-data.json").read_text())
    assert record == names["record"] | {"environment": record["environment"]}
    assert (record["segments"], record["search"]["symmetries"]) == (4, 2)
    with pytest.raises(TypeError, match="segmints"):
        scripts.evaluate("pair/hrm-mini-seed0", "data", segmints=4)
    with pytest.raises(UsageError, match="--leave"):
        scripts.evaluate("pair/hrm-mini-seed0", "data", leave="typo")
    with pytest.raises(UsageError, match="pair/hrm-seed0"):  # a path, and no weights by name
        scripts.evaluate("pair/hrm-seed0", "data")
    assert (Path("notebook") / "metrics.jsonl").is_file()
    assert names["table"] == json.loads((Path("pair") / "comparison.json").read_text())
    solved = names["solved"]
    assert solved.valid == bool(
        puzzle_of("sudoku").is_valid(solved.question[None], solved.answers[-1:])[0]
    )
    with pytest.raises(RunError, match="resume"):  # what is there is not written over
        exec(compile(code, "notebook", "exec"), {})


@pytest.mark.parametrize("package", [baselines, puzzles, reasoning, scripts])
def test_every_name_of_a_package_is_there(package):
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_importing_the_packages_loads_no_torch():
    code = (
        "import sys, baselines, puzzles, reasoning, scripts\n"
        "from puzzles import Puzzle, PuzzleSet, make\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
