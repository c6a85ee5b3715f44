"""What a search tells of several candidates."""

import numpy as np
from test_exploration import ALONE, tiny

from puzzles.dataset import read_split
from reasoning.supervision import Depth
from scripts.runs.exploration import Plan, explore, search_images


def test_what_the_model_reports_is_the_mean_over_candidates(sudokus):
    puzzles = read_split(sudokus, "test")
    run, plan = tiny(puzzles, "attractor-mini"), Plan(breadth=2, symmetries=2)
    found = explore(run, puzzles, 2, plan, ALONE).diagnostics
    every = search_images(run, puzzles, np.arange(20), 2, plan, ALONE, Depth()).diagnostics
    assert found.keys() == every.keys()
    for name, values in every.items():
        np.testing.assert_allclose(found[name], values.mean(1), rtol=1e-6)
        assert values.shape == (20, 4, 2)
