"""Sets and generators by hand: summaries, lengths, levels, ratings, exclusions."""

import numpy as np
import pytest

from puzzles.dataset import difficulty_summary
from puzzles.kinds import puzzle_of
from puzzles.maze import generator as maze_generator
from puzzles.maze import search
from puzzles.puzzle_set import PuzzleSet
from puzzles.sudoku import generator, rules
from puzzles.sudoku.canonical import classes_of
from puzzles.sudoku.mix import build_mix


def test_a_summary_of_difficulties_by_hand():
    tokens = map(rules.to_tokens, generator.generate(5, 4, seed=0))
    values = np.array([0, 1, 3, 7, 8], np.float32)
    found = difficulty_summary(PuzzleSet.ungrouped("sudoku", 4, *tokens, values, "guesses"))
    histogram = found.pop("histogram")
    assert found == {"mean": 3.8, "min": 0, "q25": 1, "median": 3, "q75": 7, "max": 8}
    assert histogram == {"edges": [0, 1, 2, 4, 8, 16], "counts": [1, 1, 1, 1, 1]}


def test_a_hard_maze_is_as_long_as_shortest_paths_grow():
    """110 (size / 30)^1.13 by logarithms, to the nearest cell."""
    lengths = [maze_generator.default_min_path(size) for size in (4, 9, 12, 30, 60)]
    assert lengths == [11, 28, 39, 110, 241]


@pytest.mark.parametrize(("place", "least"), [(0.0, 14), (0.5, 21), (1.0, 28)])
def test_a_level_is_from_half_a_hard_mazes_length_to_all_of_it(place, least):
    mazes = [puzzle_of("maze").at_level(9, place, seed)[0] for seed in range(12)]
    cells = search.path_cells(np.concatenate(mazes))
    assert least <= cells.min() < least + 6


def test_ratings_of_a_member_weigh_alike_however_many_there_are(monkeypatch):
    told = iter((1.0, 4.0, 10.0))
    monkeypatch.setattr(generator, "rate", lambda p, seed, n: np.expm1(np.full(len(p), next(told))))
    puzzles, solutions = generator.generate(2, 4, seed=0)
    rng = np.random.default_rng(0)
    members = generator._rated(puzzles, solutions, rng, 3)
    for expected in (1 + 4, 1 + 4 + 10):
        members = members.rated_again(rng, 3)
        mean = expected / members.ratings
        np.testing.assert_allclose(members.difficulty, np.expm1(mean))
    assert members.ratings.tolist() == [3, 3]


def test_generated_puzzles_go_on_past_those_that_are_excluded():
    """The first five of the generator's on excluded grids: the next ones are taken."""
    first = generator.generate(12, 9, int(np.random.default_rng(3).integers(2**63)))
    mix = build_mix([], None, 5, 3, (0.0, 1.0, 0.0), exclude_solutions=first[1][:5])
    kept = classes_of(first[1][5:10])
    np.testing.assert_array_equal(classes_of(mix.solutions), kept)
