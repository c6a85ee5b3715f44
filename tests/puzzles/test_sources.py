"""Building and importing sets: sizes, seeds, what train and test may not share, bad sources."""

import builtins
import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from puzzles import importing, sources
from puzzles.check import check_dataset
from puzzles.dataset import Record, read_split, sha256_of, write_dataset
from puzzles.difficulty import with_difficulty
from puzzles.errors import DataError
from puzzles.maze import generator as maze_generator
from puzzles.maze.puzzle import PATH_CELLS
from puzzles.overlap import class_keys, overlap_of, split_classes, split_groups
from puzzles.puzzle_set import PuzzleSet
from puzzles.sudoku import canonical, generator, mix, rules, symmetry
from puzzles.sudoku.puzzle import GUESSES
from puzzles.validate import fault_codes


def rows_of(array: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in array}


def right(part: PuzzleSet) -> bool:
    return not fault_codes(part.kind, part.inputs, part.labels).any()


def equal(first: PuzzleSet, second: PuzzleSet) -> bool:
    names = ("inputs", "labels", "difficulty")
    return all(np.array_equal(getattr(first, n), getattr(second, n)) for n in names)


def sudoku_set(rows: int, size: int, seed: int = 0, first: int = 0) -> PuzzleSet:
    grids = generator.generate(rows, size, seed, first)
    return PuzzleSet.ungrouped("sudoku", size, *(rules.to_tokens(grid) for grid in grids))


def write_csv(path: Path, part: PuzzleSet, rating: bool = False) -> Path:
    """The set as a published file writes it."""
    alphabet = "_# SGo" if part.kind == "maze" else "_.123456789"
    texts = [
        ["".join(alphabet[token] for token in row) for row in array.tolist()]
        for array in (part.inputs, part.labels)
    ]
    lines = [f"x,{q},{a}" + (f",{i}" if rating else "") for i, (q, a) in enumerate(zip(*texts))]  # noqa: B905
    header = "source,question,answer" + (",rating" if rating else "")
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Mixes generate random puzzles in chunks; thousands would only cost time here."""
    monkeypatch.setattr(mix, "CHUNK", 64)


@pytest.fixture(scope="module")
def nine() -> PuzzleSet:
    """60 random minimal 9x9 sudokus, all on different grids."""
    return sudoku_set(60, 9, seed=4)


# ------------------------------------------------------------------------------------- generating


@pytest.mark.parametrize(("size", "train", "test"), [(4, 200, 30), (6, 60, 20), (9, 12, 5)])
def test_generated_sudokus_are_right_and_disjoint(size, train, test):
    built = sources.sudoku(size, train, test, seed=1)
    assert (len(built.train), len(built.test)) == (train, test)
    assert right(built.train)
    assert right(built.test)
    assert len(rows_of(built.train.inputs)) == train
    digits = [rules.from_tokens(part.inputs) for part in (built.train, built.test)]
    classes = [rows_of(canonical.canonical_puzzle(puzzles)) for puzzles in digits]
    assert not classes[0] & classes[1]
    assert built.record.overlap["equivalent_puzzles"] == 0
    if size == 9:
        assert built.record.overlap["solution_grids"] == 0
    assert built.train.difficulty_name == GUESSES


@pytest.mark.parametrize("seed", range(3))
def test_small_test_sets_hold_their_share_of_classes(seed):
    """There are 36 classes of minimal 4x4 puzzles: a test set of one of them would say little."""
    built = sources.sudoku(4, 600, 60, seed)
    sets = [rules.from_tokens(part.inputs) for part in (built.train, built.test)]
    train, test = (len(rows_of(canonical.canonical_puzzle(puzzles))) for puzzles in sets)
    assert train + test <= 36
    assert test >= 0.09 * (train + test)
    assert test >= 3


@pytest.mark.parametrize(
    "build",
    [
        lambda seed: sources.sudoku(4, 20, 5, seed),
        lambda seed: sources.sudoku(9, 6, 2, seed),
        lambda seed: sources.maze("unique", 9, 6, 3, seed),
        lambda seed: sources.maze("hard", 9, 4, 2, seed),
    ],
)
def test_a_seed_fixes_every_byte(build):
    first, again, other = build(7), build(7), build(8)
    assert equal(first.train, again.train)
    assert equal(first.test, again.test)
    assert first.record == again.record
    assert not np.array_equal(first.train.inputs, other.train.inputs)


@pytest.mark.parametrize("kind", ["hard", "unique"])
def test_generated_mazes_are_right_and_disjoint(kind):
    built = sources.maze(kind, 9, 12, 6, seed=2)
    assert (len(built.train), len(built.test)) == (12, 6)
    assert right(built.train)
    assert right(built.test)
    turned = set()
    for row in built.train.inputs.reshape(-1, 9, 9):
        for turns in range(4):
            turned |= {np.rot90(row, turns).tobytes(), np.rot90(row.T, turns).tobytes()}
    assert not turned & rows_of(built.test.inputs)
    assert built.train.difficulty_name == PATH_CELLS
    marked = (built.test.labels == 5).sum(axis=1) + 2
    np.testing.assert_array_equal(built.test.difficulty, marked)


def test_a_mix_has_the_published_parts(tmp_path, nine):
    hard = write_csv(tmp_path / "hard.csv", nine)
    few = write_csv(tmp_path / "few.csv", sudoku_set(20, 9, seed=5))
    built = sources.sudoku(9, 30, 25, seed=3, hard=(hard,), seventeen=few)
    assert built.record.composition == {
        "train": {"hard": 22, "random": 7, "seventeen": 1},
        "test": {"hard": 18, "random": 6, "seventeen": 1},
    }
    assert built.record.overlap["solution_grids"] == 0
    assert built.record.sources == {"hard.csv": sha256_of(hard), "few.csv": sha256_of(few)}
    assert right(built.train)
    assert right(built.test)


def test_pool_search_makes_harder_puzzles():
    plain = sources.sudoku(9, 30, 10, seed=0)
    searched = sources.sudoku(9, 30, 10, seed=0, search_rounds=6)
    assert searched.record.composition["train"]["hard"] == 23
    assert searched.train.difficulty.mean() > plain.train.difficulty.mean()
    assert searched.record.overlap["solution_grids"] == 0


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: sources.sudoku(5, 1, 1, 0), "5"),
        (lambda: sources.sudoku(4, 0, 1, 0), "train is 0"),
        (lambda: sources.sudoku(4, 1, 0, 0), "test 0"),
        (lambda: sources.sudoku(4, 1, 1, -1), "seed is -1"),
        (lambda: sources.sudoku(4, 1, 1, 0, search_rounds=3), "need size 9, not 4"),
        (lambda: sources.sudoku(6, 1, 1, 0, hard=(Path("a.csv"),)), "need size 9, not 6"),
        (
            lambda: sources.sudoku(9, 1, 1, 0, hard=(Path("a.csv"),), search_rounds=1),
            "not both",
        ),
        (lambda: sources.sudoku(9, 1, 1, 0, seventeen=Path("a.csv")), "give both"),
        (lambda: sources.maze("long", 9, 1, 1, 0), 'maze kind is "long"'),
        (lambda: sources.maze("hard", 9, 1, 1, 0, openings=0.1), "openings belong to"),
        (lambda: sources.maze("unique", 9, 1, 1, 0, min_path=9), "min_path belongs to"),
        (lambda: sources.maze("unique", 9, 1, 0, 0), "test 0"),
    ],
)
def test_wrong_arguments_are_refused(build, reason):
    with pytest.raises(ValueError, match=reason):
        build()


def test_too_many_different_puzzles_are_not_promised(monkeypatch):
    monkeypatch.setattr(sources, "_MOST_DRAWN", 2)
    few = sudoku_set(3, 4)
    with pytest.raises(DataError, match="too few different puzzles: 3 in 20 drawn"):
        sources._disjoint(lambda n: few.take_groups(np.arange(n) % 3), 8, 2, seed=0)


# --------------------------------------------------------------------------------------- splitting


def test_a_split_by_solution_grid_keeps_families_together(nine):
    """Three isomorphs of each puzzle, one with a given more: no family is on both sides."""
    rng = np.random.default_rng(0)
    copies = [(nine.inputs, nine.labels)]
    copies += [symmetry.augment(nine.inputs, nine.labels, rng) for _ in range(2)]
    inputs, labels = (np.concatenate(arrays) for arrays in zip(*copies, strict=True))
    blank = np.argmax(inputs[:30] == 1, axis=1)
    inputs[np.arange(30), blank] = labels[np.arange(30), blank]
    whole = PuzzleSet.ungrouped("sudoku", 9, inputs, labels)
    train, test = split_groups(whole, 30, seed=1)
    assert (len(train), len(test)) == (150, 30)
    assert not set(train % 60) & set(test % 60)


def test_groups_that_share_a_grid_with_any_puzzle_stay_together(nine):
    """Groups (0, 1), (2, 3), ... whose second puzzle stands, relabelled, in the next but one."""
    rng = np.random.default_rng(0)
    inputs, labels = nine.inputs.copy(), nine.labels.copy()
    for row in (1, 5, 9):  # the last puzzles of groups 0, 2, 4 are images of the first of 1, 3, 5
        images = symmetry.augment(inputs[[row + 1]], labels[[row + 1]], rng)
        (inputs[row],), (labels[row],) = images
    offsets = np.arange(0, len(inputs) + 1, 2)
    whole = replace(PuzzleSet.ungrouped("sudoku", 9, inputs, labels), group_offsets=offsets)
    for seed in range(8):
        train, test = split_groups(whole, len(offsets) // 2 - 1, seed)
        for first in (0, 2, 4):
            assert not {first, first + 1} & set(train) or not {first, first + 1} & set(test)


@pytest.mark.parametrize("turn", [np.fliplr, np.transpose, lambda a: np.rot90(a, 1)])
def test_a_maze_split_keeps_turned_copies_together(turn):
    inputs, labels = maze_generator.generate_unique(10, 9, seed=0)
    images = [np.stack([turn(m.reshape(9, 9)).ravel() for m in a]) for a in (inputs, labels)]
    arrays = np.concatenate([inputs, images[0]]), np.concatenate([labels, images[1]])
    whole = PuzzleSet.ungrouped("maze", 9, *arrays)
    train, test = split_groups(whole, 6, seed=0)
    assert len(test) == 6
    assert not set(train % 10) & set(test % 10)
    overlap = overlap_of(whole.take_groups(np.arange(10)), whole.take_groups(np.arange(10, 20)))
    assert overlap["equivalent_puzzles"] == 10


def test_classes_are_whole_and_test_is_large_enough():
    keys = np.array([b"a", b"b", b"a", b"c", b"b", b"a"])
    for seed in range(20):
        train, test = split_classes(keys, 2, seed)
        assert len(test) >= 2
        assert sorted([*train, *test]) == list(range(6))
        assert not set(keys[train]) & set(keys[test])


def test_equivalent_small_puzzles_have_one_key():
    part = sudoku_set(20, 6)
    rng = np.random.default_rng(1)
    image = PuzzleSet.ungrouped("sudoku", 6, *symmetry.augment(part.inputs, part.labels, rng))
    np.testing.assert_array_equal(class_keys(part), class_keys(image))
    assert len(np.unique(class_keys(part))) > 10


def test_overlap_counts_what_is_shared(nine):
    first, second = nine.take_groups(np.arange(40)), nine.take_groups(np.arange(35, 60))
    moved = symmetry.augment(second.inputs, second.labels, np.random.default_rng(2))
    assert overlap_of(first, second)["identical_puzzles"] == 5
    shared = overlap_of(first, PuzzleSet.ungrouped("sudoku", 9, *moved))
    assert (shared["identical_puzzles"], shared["equivalent_puzzles"]) == (0, 5)
    assert (shared["solution_grids"], shared["test_puzzles_on_train_grids"]) == (5, 5)


@pytest.mark.parametrize("test", [0, -1, 60, 61])
def test_a_split_leaves_something_on_both_sides(nine, test):
    with pytest.raises(DataError, match="Ask for 1 to 59"):
        split_groups(nine, test, seed=0)


# -------------------------------------------------------------------------------------- difficulty


def test_a_common_published_rating_is_kept_and_others_are_measured_anew():
    ratings = np.arange(5)
    part = sudoku_set(5, 4)
    tokens = part.inputs, part.labels
    rated = PuzzleSet.ungrouped("sudoku", 4, *tokens, ratings, "rating")
    assert with_difficulty(rated, rated, seed=0)[1].difficulty.tolist() == [0, 1, 2, 3, 4]
    for train, test in ((rated, part), (part, part)):
        both = with_difficulty(train, test, seed=0)
        assert [part.difficulty_name for part in both] == [GUESSES, GUESSES]


# --------------------------------------------------------------------------------------- importing


def test_a_csv_is_split(tmp_path, nine):
    path = write_csv(tmp_path / "all.csv", nine, rating=True)
    train, test, record = importing.import_path(path, test=10, seed=1)
    assert (len(train), len(test)) == (50, 10)
    assert rows_of(train.inputs) | rows_of(test.inputs) == rows_of(nine.inputs)
    assert train.difficulty_name == "rating"
    assert record.sources == {"all.csv": sha256_of(path)}
    assert record.options["source"] == "all.csv"


@pytest.mark.parametrize("rating", [True, False])
def test_a_file_of_test_puzzles_alone(tmp_path, nine, rating):
    path = write_csv(tmp_path / "all.csv", nine, rating=rating)
    built = importing.import_path(path, test="all")
    assert built.record.options["test"] == "all"
    folder = write_dataset(tmp_path / "set", *built)
    np.testing.assert_array_equal(read_split(folder, "test").inputs, nine.inputs)
    assert json.loads((folder / "train" / "dataset.json").read_text())["total_puzzles"] == 0
    report = check_dataset(folder)
    assert report.puzzles == {"train": 0, "test": 60}
    assert set(report.overlap.values()) == {0, report.overlap["test_grids"]}
    with pytest.raises(DataError, match=r"train: holds no puzzles\. Name a dataset with train"):
        read_split(folder, "train")
    with pytest.raises(ValueError, match="leaves no training puzzles"):
        importing.import_path(path, test="all", subsample=3)
    with pytest.raises(ValueError, match="takes no lists"):
        importing.import_path(path, test="all", test_hard=(path,))


def test_mazes_for_testing_alone_and_a_split_of_its_own(tmp_path):
    mazes = sources.maze("unique", 7, 10, 5, 0)
    write_dataset(tmp_path / "mazes", *mazes)
    arrays = tmp_path / "mazes" / "test"
    folder = write_dataset(tmp_path / "set", *importing.import_path(arrays, test="all"))
    assert check_dataset(folder).puzzles == {"train": 0, "test": 5}
    train, test, _ = importing.import_path(tmp_path / "mazes", test="all")
    assert equal(train, mazes.train)
    assert equal(test, mazes.test)


def test_a_subsample_is_uniform_seeded_and_without_test_rows(tmp_path, nine):
    path = write_csv(tmp_path / "all.csv", nine)
    builds = [importing.import_path(path, test=10, subsample=20, seed=seed) for seed in (1, 1, 2)]
    assert equal(builds[0].train, builds[1].train)
    assert not np.array_equal(builds[0].train.inputs, builds[2].train.inputs)
    assert not rows_of(builds[0].train.inputs) & rows_of(builds[0].test.inputs)
    with pytest.raises(DataError, match=r"51 training puzzles asked for, 50 there\. Ask"):
        importing.import_path(path, test=10, subsample=51)


def test_every_row_can_be_drawn(tmp_path):
    write_csv(tmp_path / "train.csv", sudoku_set(12, 6))
    write_csv(tmp_path / "test.csv", sudoku_set(12, 6, first=12))
    drawn = [importing.import_path(tmp_path, subsample=4, test=4, seed=seed) for seed in range(20)]
    for split in (0, 1):
        counts = [len(rows_of(built[split].inputs)) for built in drawn]
        assert counts == [4] * 20
        assert len(set().union(*(rows_of(built[split].inputs) for built in drawn))) == 12


def test_a_folder_of_two_tables_keeps_its_split(tmp_path, nine):
    write_csv(tmp_path / "train.csv", nine.take_groups(np.arange(40)))
    write_csv(tmp_path / "test.csv", nine.take_groups(np.arange(40, 60)))
    train, test, record = importing.import_path(tmp_path)
    np.testing.assert_array_equal(train.inputs, nine.inputs[:40])
    np.testing.assert_array_equal(test.inputs, nine.inputs[40:])
    assert sorted(record.sources) == ["test.csv", "train.csv"]
    assert len(importing.import_path(tmp_path, test=7).test) == 7
    with pytest.raises(ValueError, match="has a test split of its own"):
        importing.import_path(tmp_path, test=5, test_hard=(tmp_path / "train.csv",))


def test_tables_that_share_a_question_are_refused(tmp_path, nine):
    write_csv(tmp_path / "train.csv", nine.take_groups(np.arange(40)))
    write_csv(tmp_path / "test.csv", nine.take_groups(np.arange(38, 60)))
    with pytest.raises(DataError, match="train and test share 2 questions"):
        importing.import_path(tmp_path)


def test_a_dataset_is_imported_with_its_groups(tmp_path):
    part, test = sudoku_set(6, 6), sudoku_set(3, 6, first=6)
    rng = np.random.default_rng(0)
    copies = [symmetry.augment(part.inputs, part.labels, rng) for _ in range(3)]
    inputs, labels = (np.stack(a, axis=1).reshape(-1, 36) for a in zip(*copies, strict=True))
    grouped = PuzzleSet(
        "sudoku", 6, inputs, labels, np.zeros(18, np.int32), np.arange(0, 19, 3, dtype=np.int64)
    )
    write_dataset(tmp_path / "set", grouped, test, Record("test", None))
    built = importing.import_path(tmp_path / "set", subsample=4)
    assert (built.train.groups, len(built.train), len(built.test)) == (4, 12, 3)
    assert "train/all__inputs.npy" in built.record.sources


def test_a_folder_of_arrays_is_split(tmp_path, nine):
    np.save(tmp_path / "all__inputs.npy", nine.inputs)
    np.save(tmp_path / "all__labels.npy", nine.labels)
    built = importing.import_path(tmp_path, test=20)
    assert (len(built.train), len(built.test)) == (40, 20)


def test_a_held_out_mix_avoids_the_training_grids(tmp_path, nine):
    """The hard list holds the training puzzles too, moved: none may come back in the test set."""
    train = nine.take_groups(np.arange(30))
    path = write_csv(tmp_path / "train.csv", train)
    moved = symmetry.augment(nine.inputs, nine.labels, np.random.default_rng(0))
    hard = write_csv(tmp_path / "hard.csv", PuzzleSet.ungrouped("sudoku", 9, *moved))
    built = importing.import_path(path, test=40, test_hard=(hard,), seed=0)
    assert built.record.composition["test"] == {"hard": 30, "random": 10, "seventeen": 0}
    assert built.record.overlap["solution_grids"] == 0
    np.testing.assert_array_equal(built.train.inputs, train.inputs)
    with pytest.raises(DataError, match="hard"):
        importing.import_path(path, test=60, test_hard=(hard,))


def test_the_held_out_mix_needs_fitting_arguments(tmp_path):
    path = write_csv(tmp_path / "a.csv", sudoku_set(4, 6))
    with pytest.raises(ValueError, match="need 9x9 sudokus"):
        importing.import_path(path, test=2, test_hard=(path,))
    nine = write_csv(tmp_path / "b.csv", sudoku_set(2, 9))
    with pytest.raises(ValueError, match="give both"):
        importing.import_path(nine, test=2, test_seventeen=nine)
    with pytest.raises(ValueError, match="has no test split; give the number"):
        importing.import_path(nine)


def test_rows_that_solving_shows_wrong_are_named(tmp_path):
    """Row 5 has two solutions; its answer is one of them, so only the solver can tell."""
    part = sudoku_set(8, 4)
    inputs = part.inputs.copy()
    inputs[4] = 1
    path = write_csv(tmp_path / "a.csv", PuzzleSet.ungrouped("sudoku", 4, inputs, part.labels))
    with pytest.raises(DataError, match=r"a\.csv, row 5 \(line 6\): .* more than one solution"):
        importing.import_path(path, test=1)
    np.save(tmp_path / "all__inputs.npy", inputs)
    np.save(tmp_path / "all__labels.npy", part.labels)
    (tmp_path / "a.csv").unlink()
    with pytest.raises(DataError, match=r"all__inputs\.npy, row 4 \(from 0\): .* more than one"):
        importing.import_path(tmp_path, test=1)


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("S# G############", "S# G############", "no path from S to G"),
        ("S  G############", "So G############", "does not join S to G"),
        ("S  G    ########", "S  Goooo########", "longer than the shortest"),
    ],
)
def test_mazes_that_solving_shows_wrong_are_named(tmp_path, question, answer, reason):
    good = maze_generator.generate_unique(3, 4, seed=0)
    path = write_csv(tmp_path / "a.csv", PuzzleSet.ungrouped("maze", 4, *good))
    with path.open("a") as file:
        file.write(f"x,{question},{answer}\n")
    with pytest.raises(DataError, match=rf"row 4 \(line 5\): .*{reason}"):
        importing.import_path(path, test=3)


def test_sources_that_hold_nothing_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds no puzzles"):
        importing.import_path(tmp_path, test=1)
    with pytest.raises(DataError, match="no such file or folder"):
        importing.import_path(tmp_path / "nowhere", test=1)
    np.save(tmp_path / "all__inputs.npy", np.ones((2, 16), np.uint8))
    with pytest.raises(DataError, match=r"all__labels\.npy: missing array"):
        importing.import_path(tmp_path, test=1)


# --------------------------------------------------------------------------------------------- hub


def fake_hub(monkeypatch, download) -> None:
    hub, errors = types.ModuleType("huggingface_hub"), types.ModuleType("huggingface_hub.errors")
    hub.hf_hub_download = download
    errors.HfHubHTTPError = type("HfHubHTTPError", (Exception,), {})
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)


def test_a_hub_set_is_downloaded_and_imported(tmp_path, nine, monkeypatch):
    write_csv(tmp_path / "train.csv", nine.take_groups(np.arange(40)), rating=True)
    write_csv(tmp_path / "test.csv", nine.take_groups(np.arange(40, 60)), rating=True)
    asked = []

    def download(repository: str, name: str, repo_type: str) -> str:
        asked.append((repository, name, repo_type))
        return str(tmp_path / name)

    fake_hub(monkeypatch, download)
    built = importing.import_hub("sudoku-extreme", subsample=10, test=5)
    assert (len(built.train), len(built.test)) == (10, 5)
    assert built.record.options["source"] == "sapientinc/sudoku-extreme"
    assert asked == [
        ("sapientinc/sudoku-extreme", f"{s}.csv", "dataset") for s in ("train", "test")
    ]


def test_an_unreachable_hub_is_one_line(monkeypatch):
    def download(*_args, **_options):
        raise ConnectionError("cannot resolve huggingface.co\nand more")

    fake_hub(monkeypatch, download)
    with pytest.raises(DataError, match=r"cannot be downloaded \(cannot resolve") as caught:
        importing.import_hub("maze-hard")
    assert "\n" not in str(caught.value)


def test_the_hub_needs_its_package(monkeypatch):
    real = builtins.__import__

    def without_hub(name, *args, **options):
        if name.startswith("huggingface_hub"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without_hub)
    with pytest.raises(DataError, match="pip install huggingface_hub"):
        importing.import_hub("sudoku-extreme")


def test_only_known_hub_sets_are_imported():
    with pytest.raises(ValueError, match='no hub set "mnist"; there are sudoku-extreme, maze-hard'):
        importing.import_hub("mnist")
