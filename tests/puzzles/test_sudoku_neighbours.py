"""Neighbours of sudokus: proper, minimal, hard, new, off the grids that are excluded."""

import json

import numpy as np
import pytest

from puzzles.dataset import read_split
from puzzles.errors import DataError, InputError
from puzzles.importing import import_path
from puzzles.stream import BatchStream
from puzzles.sudoku import neighbours as module
from puzzles.sudoku import rules, solver
from puzzles.sudoku.canonical import canonical_puzzle, canonicalise
from puzzles.sudoku.generator import generate
from puzzles.sudoku.neighbours import neighbours
from puzzles.sudoku.well_known import WELL_KNOWN
from scripts.cli import main


@pytest.fixture(scope="module")
def parents():
    """Three random minimal puzzles, and two that need 27 and 106 guesses."""
    easy, _ = generate(3, 9, seed=4)
    names = ("AI Escargot (Inkala, 2006)", "Golden Nugget")
    hard = [rules.parse(WELL_KNOWN[name]) for name in names]
    return np.concatenate([easy, np.stack(hard)])


@pytest.fixture(scope="module")
def found(parents):
    return neighbours(parents, 2, seed=1, isomorphs=3)


def test_every_one_is_proper_minimal_and_new(parents, found):
    assert np.bincount(found.parents).tolist() == [2] * len(parents)
    result = solver.solve(found.puzzles)
    assert (result.count == 1).all()
    assert (result.solution == found.solutions).all()
    for puzzle in found.puzzles:
        fewer = np.repeat(puzzle[None], np.count_nonzero(puzzle), axis=0)
        fewer[np.arange(len(fewer)), np.flatnonzero(puzzle)] = 0
        assert (solver.solve(fewer).count == 2).all()
    every = np.concatenate([parents, found.puzzles])
    assert len(np.unique(canonical_puzzle(every), axis=0)) == len(every)


def test_most_givens_are_the_parents(parents, found):
    """One given goes, and what is added can make others needless."""
    before = parents[found.parents]
    kept = ((found.puzzles == before) & (before > 0)).sum(axis=1)
    assert (kept < (before > 0).sum(axis=1)).all()
    assert kept.mean() > 0.7 * (before > 0).sum(axis=1).mean()


def test_those_of_hard_puzzles_are_hard(parents, found):
    """Rated by a seed of our own, beside children that are taken as they come."""
    hard = found.puzzles[found.parents >= 3]
    any_ = neighbours(parents[3:], 2, seed=1, enough=0.0, isomorphs=1).puzzles
    assert solver.rate(hard, seed=77).mean() > 3 * solver.rate(any_, seed=77).mean()


def test_the_seed_owns_them_and_excluded_grids_stay_out(parents, found):
    again = neighbours(parents, 2, seed=1, isomorphs=3)
    for one, other in zip(found, again, strict=True):
        np.testing.assert_array_equal(one, other)
    others = neighbours(parents[:1], 6, seed=1, isomorphs=1)
    banned = others.solutions[:3]
    kept_out = neighbours(parents[:1], 6, seed=1, isomorphs=1, exclude_solutions=banned)
    classes = [canonicalise(grids).solutions for grids in (kept_out.solutions, banned)]
    assert not {row.tobytes() for row in classes[0]} & {row.tobytes() for row in classes[1]}


def test_wrong_arguments_are_refused(parents):
    for each in (0, -1, 1001, 10**20):
        with pytest.raises(InputError, match="expected 1 to 1,000"):
            neighbours(parents, each, seed=0)
    with pytest.raises(InputError, match="enough is -1"):
        neighbours(parents, 1, seed=0, enough=-1)
    with pytest.raises(DataError, match="row 1: more than one solution"):
        neighbours(np.stack([parents[0], np.zeros(81, np.uint8)]), 1, seed=0)


@pytest.fixture(scope="module")
def csv(tmp_path_factory, parents):
    solutions = solver.solve(parents).solution
    rows = [
        f"{rules.format_grid(question)},{rules.format_grid(answer)}"
        for question, answer in zip(parents, solutions, strict=True)
    ]
    path = tmp_path_factory.mktemp("csv") / "five.csv"
    path.write_text("question,answer\n" + "\n".join(rows) + "\n")
    return path


def test_imported_they_stand_in_the_group_of_their_puzzle(csv, tmp_path, parents):
    out = tmp_path / "set"
    words = ["data", "import", str(csv), "--out", str(out), "--test", "2", "--neighbours", "2"]
    assert main(words) == 0
    train = read_split(out, "train")
    assert (len(train), train.groups) == (9, 3)
    plain = import_path(csv, test=2).train
    np.testing.assert_array_equal(train.inputs[train.group_offsets[:-1]], plain.inputs)
    record = json.loads((out / "loopbench.json").read_text())
    assert record["composition"]["train"] == {"source": 3, "neighbours": 6}
    assert record["overlap"]["solution_grids"] == 0
    assert main(["data", "check", str(out)]) == 0
    drawn = BatchStream(train, 3, seed=0, augment=False)
    rows = {drawn.batch_at(step)[0].tobytes() for step in range(6)}
    assert len(rows) > 1  # an epoch is one puzzle of each group, not always the same
    assert drawn.steps_per_epoch == 1


def test_those_that_were_not_found_are_told(csv, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "TRIED", 0)
    words = ["data", "import", str(csv), "--test", "2", "--neighbours", "2"]
    assert main([*words, "--out", str(tmp_path / "set")]) == 0
    said = capsys.readouterr().out
    assert "train: 3 source, 0 neighbours" in said
    assert "6 of 6 neighbours asked for were not found" in said


def test_what_cannot_be_is_refused_before_rows_are_checked(csv, tmp_path, monkeypatch):
    def none_checked(*_):
        raise AssertionError

    monkeypatch.setattr("puzzles.published.Source.select", none_checked)
    with pytest.raises(InputError, match="expected 1 to 1,000"):
        import_path(csv, test=2, neighbours=0)
    with pytest.raises(InputError, match="no training puzzles for neighbours"):
        import_path(csv, test="all", neighbours=2)
    four = tmp_path / "four.csv"
    four.write_text("question,answer\n1...4...2...3...,1234432121433412\n")
    with pytest.raises(InputError, match="only 9x9 sudokus have neighbours"):
        import_path(four, test=1, neighbours=2)


def test_other_puzzles_have_no_neighbours(tmp_path):
    mazes = tmp_path / "mazes"
    assert (
        main(["data", "maze", "--size", "6", "--train", "4", "--test", "2", "--out", str(mazes)])
        == 0
    )
    with pytest.raises(InputError, match="only 9x9 sudokus have neighbours"):
        import_path(mazes, neighbours=1)
