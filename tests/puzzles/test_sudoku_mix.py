"""The mix of hard, random minimal and 17-clue puzzles."""

import gzip

import numpy as np
import pytest

from puzzles.errors import DataError
from puzzles.sudoku import rules, solver
from puzzles.sudoku.canonical import canonical_grid, canonical_puzzle
from puzzles.sudoku.generator import generate
from puzzles.sudoku.mix import SOURCES, build_mix, read_questions
from puzzles.sudoku.split import overlap
from puzzles.sudoku.symmetry import apply, random_symmetry

# Stand-ins for the published lists: what matters here is which list a puzzle came from.
HARD, HARD_GRIDS = generate(120, 9, seed=100)
FEW, _ = generate(20, 9, seed=200)


def forms(puzzles):
    return {form.tobytes() for form in canonical_puzzle(puzzles)}


def write_csv(path, puzzles, header="question,answer,guesses"):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt") as file:
        file.write(header + "\n")
        for puzzle in puzzles:
            file.write(f"{rules.format_grid(puzzle)},,0\n")
    return path


def test_parts_come_from_their_sources_as_random_isomorphs():
    mix = build_mix([HARD[:70], HARD[70:]], FEW, 100, seed=1)
    assert np.bincount(mix.sources).tolist() == [73, 25, 2]
    assert (solver.solve_unique(mix.puzzles) == mix.solutions).all()
    of = {name: mix.puzzles[mix.sources == index] for index, name in enumerate(SOURCES)}
    assert forms(of["hard"]) <= forms(HARD)
    assert forms(of["seventeen"]) <= forms(FEW)
    assert not forms(of["random"]) & (forms(HARD) | forms(FEW))
    assert len(forms(mix.puzzles)) == 100
    originals = {puzzle.tobytes() for puzzle in HARD}
    assert not any(puzzle.tobytes() in originals for puzzle in mix.puzzles)
    assert (np.diff(mix.sources.astype(int)) != 0).sum() > 20  # shuffled


def test_the_same_seed_gives_the_same_mix():
    first, again, other = (build_mix([HARD], FEW, 60, seed=seed) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (first.puzzles != other.puzzles).any()


def test_lists_are_read_from_files(tmp_path):
    hard = write_csv(tmp_path / "hard.csv.gz", HARD)
    few = write_csv(tmp_path / "few.csv", FEW)
    from_files = build_mix([hard], str(few), 50, seed=3)
    from_arrays = build_mix([HARD], FEW, 50, seed=3)
    assert all((a == b).all() for a, b in zip(from_files, from_arrays, strict=True))


def test_excluded_grids_stay_out():
    train = build_mix([HARD], FEW, 60, seed=4)
    test = build_mix([HARD], FEW, 60, seed=5, exclude_solutions=train.solutions)
    assert overlap(train.solutions, test.solutions).shared_grids == 0


def test_equivalent_puzzles_count_once():
    images = apply(random_symmetry(120, 9, np.random.default_rng(0)), HARD)
    mix = build_mix([HARD, images], None, 120, seed=6, fractions=(1.0, 0.0, 0.0))
    assert forms(mix.puzzles) == forms(HARD)
    with pytest.raises(DataError, match="hard part: only 120 of 121"):
        build_mix([HARD, images], None, 121, seed=6, fractions=(1.0, 0.0, 0.0))


def test_fractions_are_rounded_to_the_total():
    mix = build_mix([HARD], FEW, 7, seed=7, fractions=(1 / 3, 1 / 3, 1 / 3))
    assert np.bincount(mix.sources, minlength=3).sum() == 7
    assert np.bincount(mix.sources, minlength=3).max() == 3
    assert len(build_mix([], None, 0, seed=7).puzzles) == 0


@pytest.mark.parametrize(
    ("hard", "few", "fractions", "message"),
    [
        ([], FEW, (0.73, 0.25, 0.02), "hard puzzles asked for"),
        ([HARD], None, (0.73, 0.25, 0.02), "17-clue puzzles asked for"),
        ([HARD], FEW, (0.7, 0.2, 0.2), "with sum 1"),
        ([HARD], FEW, (1.2, -0.2, 0.0), "with sum 1"),
    ],
)
def test_wrong_arguments_are_refused(hard, few, fractions, message):
    with pytest.raises(ValueError, match=message):
        build_mix(hard, few, 100, seed=0, fractions=fractions)


def test_bad_files_are_refused_with_file_and_row(tmp_path):
    path = tmp_path / "list.csv"
    text = rules.format_grid(HARD[0])
    path.write_text(f"question,answer\n{text},\n{text[:80]},\n")
    with pytest.raises(DataError, match=r"list\.csv, row 2 \(line 3\): .* 80 characters"):
        read_questions(path)
    path.write_text(f"puzzle\n{text}\n")
    with pytest.raises(DataError, match=r"list\.csv: no column named question"):
        read_questions(path)
    path.write_text("question,answer\n")
    with pytest.raises(DataError, match="holds no puzzles"):
        read_questions(path)
    path.write_bytes(b"\xef\xbb\xbf" + f"question\n{text}\n".encode())  # Excel's
    assert read_questions(path).shape == (1, 81)
    packed = tmp_path / "list.csv.gz"
    whole = gzip.compress(f"question\n{text}\n".encode())
    for data in (whole[:-9], b"\xff" + whole, gzip.compress(b"question\n\xff\n")):
        packed.write_bytes(data)
        with pytest.raises(DataError, match=r"list\.csv\.gz: not readable as CSV"):
            read_questions(packed)


def test_an_improper_puzzle_is_refused_with_file_and_row(tmp_path):
    path = write_csv(tmp_path / "list.csv", np.concatenate([HARD[:4], [HARD[0] * 0], HARD[4:8]]))
    with pytest.raises(DataError, match=r"list\.csv, row 5 \(line 6\): more than one solution"):
        build_mix([path], None, 9, seed=0, fractions=(1.0, 0.0, 0.0))


def test_grids_of_hard_puzzles_are_those_of_the_list():
    mix = build_mix([HARD], None, 40, seed=8, fractions=(1.0, 0.0, 0.0))
    expected = {grid.tobytes() for grid in canonical_grid(HARD_GRIDS)}
    assert {grid.tobytes() for grid in canonical_grid(mix.solutions)} <= expected
