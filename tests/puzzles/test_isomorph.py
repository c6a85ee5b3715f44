"""Images of questions and the way back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzles.isomorph import isomorphism
from puzzles.maze import symmetry as maze_symmetry
from puzzles.puzzle_set import vocab_size_of

forms = st.sampled_from([("sudoku", 4), ("sudoku", 6), ("sudoku", 9), ("maze", 5), ("maze", 8)])


def seeds(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)


@settings(deadline=None, max_examples=60)
@given(forms, st.integers(0, 7), st.integers(0, 10**6))
def test_the_inverse_undoes_any_grid_of_tokens(form, index, seed):
    """Any: an untrained model's answer holds padding, blanks, several starts."""
    kind, size = form
    there = isomorphism(kind, size, index, seeds(seed, 3))
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, vocab_size_of(kind, size), (3, 4, 2, size**2)).astype(np.uint8)
    image = there(tokens)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(there.inverse()(image), tokens)
    np.testing.assert_array_equal(there(there.inverse()(tokens)), tokens)
    # Every grid of a row is mapped alike, and alone as among others.
    np.testing.assert_array_equal(there(tokens[:, 1, 1]), image[:, 1, 1])
    alone = isomorphism(kind, size, index, seeds(seed, 3)[2:])
    np.testing.assert_array_equal(alone(tokens[2:]), image[2:])


@pytest.mark.parametrize("form", [("sudoku", 9), ("maze", 6)])
def test_image_0_is_the_question(form):
    kind, size = form
    tokens = np.random.default_rng(0).integers(0, 6, (5, size**2)).astype(np.uint8)
    np.testing.assert_array_equal(isomorphism(kind, size, 0, seeds(0, 5))(tokens), tokens)


def test_a_sudoku_has_other_images_by_seed_and_blanks_stay():
    tokens = np.tile(np.arange(81, dtype=np.uint8) % 11, (40, 1))
    image = isomorphism("sudoku", 9, 1, seeds(0, 40))(tokens)
    assert len(np.unique(image, axis=0)) == 40
    for blank in (0, 1):
        assert ((image == blank).sum(1) == (tokens == blank).sum(1)).all()


def test_a_maze_has_eight_images_and_no_more():
    tokens = np.random.default_rng(0).integers(1, 6, (1, 25)).astype(np.uint8)
    images = [isomorphism("maze", 5, index, seeds(0, 1))(tokens)[0] for index in range(8)]
    assert len(np.unique(images, axis=0)) == 8
    with pytest.raises(ValueError, match="0 to 7"):
        isomorphism("maze", 5, 8, seeds(0, 1))


@pytest.mark.parametrize("size", [2, 3, 6])
def test_every_maze_element_is_undone_by_its_inverse(size):
    elements = np.arange(8)
    grids = np.tile(np.arange(size * size), (8, 1))
    there = maze_symmetry.apply(grids, elements)
    np.testing.assert_array_equal(
        maze_symmetry.apply(there, maze_symmetry.inverse(elements)), grids
    )


def test_grids_that_do_not_fit_are_refused():
    there = isomorphism("sudoku", 4, 1, seeds(0, 3))
    for shape in ((3, 9), (2, 16), (16,)):
        with pytest.raises(ValueError, match="do not fit"):
            there(np.zeros(shape, np.uint8))
