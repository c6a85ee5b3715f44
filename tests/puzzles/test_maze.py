"""Mazes against brute force (every simple path of a small maze) and the published labels."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzles.errors import DataError
from puzzles.maze import generator, rules, search, symmetry

SHARED = os.environ.get("LOOPBENCH_SHARED")
MOVES = ((1, 0), (0, -1), (0, 1), (-1, 0))  # (rows, columns): down, left, right, up


def grid(text: str) -> np.ndarray:
    """A batch of one maze, rows separated by '/'."""
    return rules.parse("\n".join(text.split("/")))[None]


def neighbours(maze: np.ndarray, cell: int) -> list[int]:
    """Cells one move away that are no walls, in the move order."""
    size = round(len(maze) ** 0.5)
    row, column = divmod(cell, size)
    around = [(row + down, column + right) for down, right in MOVES]
    inside = [r * size + c for r, c in around if 0 <= r < size and 0 <= c < size]
    return [other for other in inside if maze[other] != rules.WALL]


def simple_paths(maze: np.ndarray) -> list[tuple[int, ...]]:
    """Every simple path from S to G by depth-first search in the move order.

    The order of the list is that of the paths as sequences of moves.
    """
    goal = int(np.flatnonzero(maze == rules.GOAL)[0])

    def extend(path: tuple[int, ...]) -> list[tuple[int, ...]]:
        if path[-1] == goal:
            return [path]
        steps = [cell for cell in neighbours(maze, path[-1]) if cell not in path]
        return [found for step in steps for found in extend((*path, step))]

    return extend((int(np.flatnonzero(maze == rules.START)[0]),))


@st.composite
def mazes(draw: st.DrawFn, least: int = 2, most: int = 5) -> np.ndarray:
    """A question (L,) of random walls, sometimes without any path."""
    size = draw(st.integers(least, most))
    cells = st.sampled_from([rules.WALL, rules.FREE, rules.FREE])
    maze = np.array(draw(st.lists(cells, min_size=size**2, max_size=size**2)), dtype=np.uint8)
    ends = draw(st.lists(st.integers(0, size**2 - 1), min_size=2, max_size=2, unique=True))
    maze[ends] = rules.START, rules.GOAL
    return maze


# ------------------------------------------------------------------------------------------ rules


def test_text_and_tokens_are_inverse():
    text = "S o# #oG "
    tokens = rules.parse(text)
    assert tokens.dtype == np.uint8
    assert tokens.tolist() == [3, 2, 5, 1, 2, 1, 5, 4, 2]
    assert rules.format_grid(tokens) == text
    assert rules.parse("S o\n# #\noG \n").tolist() == tokens.tolist()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("S x#", "character 3: 'x'"),
        ("S G##", "5 characters, expected a square number"),
        ("", "0 characters"),
        ("S G\n##\n   ", "line 2: 2 characters in a maze of 3 lines"),
    ],
)
def test_text_that_is_no_maze_is_refused(text, reason):
    with pytest.raises(DataError, match=reason):
        rules.parse(text)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ([3, 2, 2, 2], "row 1 .*1 S and 0 G"),
        ([3, 3, 2, 4], "row 1 .*2 S and 1 G"),
        ([3, 5, 2, 4], "row 1 .*token"),
        ([3, 0, 2, 4], "row 1 .*token"),
    ],
)
def test_malformed_questions_are_refused(bad, reason):
    batch = np.array([[3, 2, 2, 4], bad], dtype=np.uint8)
    for function in (rules.check_inputs, search.label, search.path_cells):
        with pytest.raises(DataError, match=reason):
            function(batch)
    rules.check_inputs(batch[:1])


def test_arrays_of_another_form_are_refused():
    with pytest.raises(ValueError, match="square"):
        search.label(np.full((1, 5), 2, np.uint8))
    with pytest.raises(ValueError, match=r"\(N, L\)"):
        search.label(np.full(4, 2, np.uint8))
    with pytest.raises(DataError, match="cell 1: token 9"):
        rules.format_grid(np.array([1, 9, 1, 1]))


# ------------------------------------------------------------------------------------------ search


@settings(deadline=None, max_examples=150)
@given(mazes(most=4))
def test_search_agrees_with_all_simple_paths(maze):
    paths = simple_paths(maze)
    cells = min(map(len, paths), default=0)
    shortest = [path for path in paths if len(path) == cells]
    assert search.path_cells(maze[None])[0] == cells
    assert search.count_shortest_paths(maze[None])[0] == len(shortest)
    if not paths:
        with pytest.raises(DataError, match=r"row 0 .*no path"):
            search.label(maze[None])
        return
    expected = maze.copy()
    expected[list(shortest[0][1:-1])] = rules.PATH  # first in the order of its moves
    assert search.label(maze[None])[0].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("question", "first"),
    [
        ("  S/   /G  ", "  S/  o/Goo"),  # down before left
        ("S  /   /  G", "S  /o  /ooG"),  # down before right
        ("   /S#G/   ", "   /S#G/ooo"),  # down before up
        (" S / # / G ", "oS /o# /oG "),  # left before right
        ("G  /   /  S", "G  /o  /ooS"),  # left before up
        ("  G/   /S  ", "  G/  o/Soo"),  # right before up
    ],
)
def test_moves_are_tried_down_left_right_up(question, first):
    assert (search.label(grid(question)) == grid(first)).all()


def test_labels_are_the_first_of_all_shortest_paths():
    rng = np.random.default_rng(0)
    inputs = rng.choice([rules.WALL, rules.FREE, rules.FREE], (300, 25)).astype(np.uint8)
    for maze in inputs:
        maze[rng.choice(25, 2, replace=False)] = rules.START, rules.GOAL
    inputs = inputs[search.path_cells(inputs) > 0]
    for maze, label in zip(inputs, search.label(inputs), strict=True):
        path = list(min(simple_paths(maze), key=len))[1:-1]  # the first of the shortest
        assert (np.flatnonzero(label == rules.PATH) == sorted(path)).all()


def test_an_open_square_has_binomially_many_shortest_paths():
    inputs = np.full((1, 900), rules.FREE, np.uint8)
    inputs[0, [0, 899]] = rules.START, rules.GOAL
    assert search.path_cells(inputs)[0] == 59
    expected = 30067266499541040  # 58 choose 29, above 2^53
    assert search.count_shortest_paths(inputs)[0] == pytest.approx(expected, rel=1e-12)


def test_search_names_the_row_without_a_path():
    with pytest.raises(DataError, match="row 1 "):
        search.label(np.concatenate([grid("S G/   /   "), grid("S#G/ # / # ")]))
    assert search.path_cells(grid("S#G/ # / # ")).tolist() == [0]


@pytest.mark.skipif(SHARED is None, reason="LOOPBENCH_SHARED is not set")
@pytest.mark.parametrize("split", ["train", "test"])
def test_published_labels_are_reproduced(split):
    folder = Path(SHARED) / "data" / "maze-hard" / split
    inputs, labels = (np.load(folder / f"all__{name}.npy") for name in ("inputs", "labels"))
    assert (search.label(inputs) == labels).all()
    cells = search.path_cells(inputs)
    assert (cells.min(), np.median(cells)) == (110, 113)
    assert cells.max() <= 154


# ---------------------------------------------------------------------------------------- symmetry


@settings(deadline=None)
@given(mazes(), st.integers(0, 7))
def test_a_symmetry_is_a_bijection_that_keeps_neighbours(maze, element):
    size = round(len(maze) ** 0.5)
    cells = np.arange(size**2, dtype=np.uint8)[None]
    source = symmetry.apply(cells, np.array([element]))[0].astype(int)
    assert sorted(source) == list(range(size**2))
    open_grid = np.full(size**2, rules.FREE)
    for cell in range(size**2):
        around = {source[other] for other in neighbours(open_grid, cell)}
        assert around == set(neighbours(open_grid, source[cell]))
    image = symmetry.apply(maze[None], np.array([element]))
    assert image[0].tolist() == maze[source].tolist()
    for measure in (search.path_cells, search.count_shortest_paths):
        assert measure(image)[0] == measure(maze[None])[0]


def test_the_symmetries_form_a_group_of_eight():
    cells = np.tile(np.arange(9, dtype=np.uint8), (8, 1))
    images = symmetry.apply(cells, np.arange(8))
    group = {tuple(image) for image in images}
    assert len(group) == 8
    assert tuple(images[0]) == tuple(range(9))
    for image in images:  # closed: every product is an element again
        assert {tuple(row) for row in symmetry.apply(np.tile(image, (8, 1)), np.arange(8))} == group


def test_wrong_elements_are_refused():
    maze = grid("S G/   /   ")
    with pytest.raises(ValueError, match="0 to 7"):
        symmetry.apply(maze, np.array([8]))
    with pytest.raises(ValueError, match=r"elements \(N,\)"):
        symmetry.apply(maze, np.array([1, 2]))


def test_augmentation_draws_every_element_and_labels_afresh():
    question = grid("S   /  # /    /#  G")
    inputs = np.repeat(question, 400, axis=0)
    images, labels = symmetry.augment(inputs, search.label(inputs), np.random.default_rng(0))
    assert (labels == search.label(images)).all()
    possible = symmetry.apply(np.repeat(question, 8, axis=0), np.arange(8))
    counts = [int((images == image).all(axis=1).sum()) for image in possible]
    assert sum(counts) == 400
    assert min(counts) > 25  # 50 expected of each; below 25 has odds of 1 in 10^4
    again = symmetry.augment(inputs, labels, np.random.default_rng(0))
    assert (again[0] == images).all()
    turned = symmetry.apply(search.label(possible[:1]), np.array([6]))
    assert (turned != search.label(possible[6:7])).any()  # a mapped label has another tie-break


# --------------------------------------------------------------------------------------- generator


@pytest.mark.parametrize(
    ("size", "n", "options"),
    [
        (30, 4, {}),
        (9, 40, {}),
        (4, 30, {"min_path": 7}),
        (12, 20, {"min_path": 30, "density": (0.4, 0.45)}),
        (63, 1, {"min_path": 180}),  # one row of bits to a word: the stride is set apart from 64
        (70, 1, {"min_path": 200}),  # and more than one word
    ],
)
def test_hard_mazes_are_as_asked(size, n, options):
    inputs, labels = generator.generate_hard(n, size, seed=1, **options)
    assert inputs.shape == labels.shape == (n, size**2)
    assert inputs.dtype == labels.dtype == np.uint8
    assert (labels == search.label(inputs)).all()
    least = options.get("min_path", {30: 110, 9: 28}.get(size))
    assert search.path_cells(inputs).min() >= least
    low, high = options.get("density", (0.3, 0.5))
    walls = (inputs == rules.WALL).mean(axis=1)
    assert low <= walls.min() <= walls.max() <= high
    assert len(np.unique(inputs, axis=0)) == n


def test_hard_mazes_follow_the_stated_distribution():
    """Shares of the 3x3 mazes with two walls and a path of six cells or more, by enumeration."""
    weights: dict[bytes, float] = {}
    for first in range(9):
        for second in range(first):
            for start in set(range(9)) - {first, second}:
                goals = []
                for goal in set(range(9)) - {first, second, start}:
                    maze = np.full(9, rules.FREE, np.uint8)
                    maze[[first, second]] = rules.WALL
                    maze[[start, goal]] = rules.START, rules.GOAL
                    if min(map(len, simple_paths(maze)), default=0) >= 6:
                        goals.append(maze.tobytes())
                for maze in goals:  # walls and S are uniform, then G among the far cells
                    weights[maze] = 1 / len(goals)
    expected = {maze: weight / sum(weights.values()) for maze, weight in weights.items()}
    assert len(set(expected.values())) > 1  # some starts have more than one goal
    drawn: dict[bytes, int] = dict.fromkeys(expected, 0)
    draws = 1500
    for seed in range(draws):
        inputs, _ = generator.generate_hard(1, 3, seed, min_path=6, density=(2 / 9, 2 / 9))
        drawn[inputs[0].tobytes()] += 1  # KeyError for any other maze
    chi2 = sum((drawn[m] - draws * p) ** 2 / (draws * p) for m, p in expected.items())
    freedom = len(expected) - 1
    assert abs(chi2 - freedom) < 5 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("size", [3, 4, 9, 12, 30])
def test_unique_mazes_are_perfect(size):
    n = 4 if size < 9 else 30
    inputs, labels = generator.generate_unique(n, size, seed=2)
    assert (search.count_shortest_paths(inputs) == 1).all()
    assert (labels == search.label(inputs)).all()
    assert len(np.unique(inputs, axis=0)) == n
    low, high = generator.default_path_range(size)
    cells = search.path_cells(inputs)
    assert low <= cells.min() <= cells.max() <= high
    rooms = (size + 1) // 2
    for maze in inputs:  # a tree that spans the rooms: connected, one edge fewer than cells
        free = np.flatnonzero(maze != rules.WALL)
        assert len(free) == 2 * rooms**2 - 1
        assert sum(len(neighbours(maze, cell)) for cell in free) == 2 * (len(free) - 1)
        seen, front = {free[0]}, [free[0]]
        while front:
            front = [c for cell in front for c in neighbours(maze, cell) if c not in seen]
            seen.update(front)
        assert len(seen) == len(free)
        assert (maze.reshape(size, size)[: 2 * rooms : 2, : 2 * rooms : 2] != rules.WALL).all()


def test_unique_defaults_are_those_of_the_published_set():
    assert generator.default_path_range(30) == (100, 140)
    cells = search.path_cells(generator.generate_unique(820, 30, seed=0)[0])
    counts = np.bincount(cells, minlength=141)[100:141]
    assert counts.sum() == 820
    chi2 = ((counts - 20) ** 2 / 20).sum()  # uniform over 41 lengths
    assert abs(chi2 - 40) < 5 * 80**0.5


def test_openings_make_more_paths():
    shares = [
        (search.count_shortest_paths(generator.generate_unique(300, 30, 0, openings=p)[0]) == 1)
        for p in (0.0, 0.02, 0.10)
    ]
    assert shares[0].all()
    # 82 % and 31 % were measured for these openings, the standard error is 2.7 points at most.
    assert shares[1].mean() == pytest.approx(0.82, abs=0.08)
    assert shares[2].mean() == pytest.approx(0.31, abs=0.08)
    opened, _ = generator.generate_unique(1, 9, 0, path_range=(9, 9), openings=1.0)
    walls = (opened.reshape(9, 9) == rules.WALL).sum()
    assert walls == 16  # every wall between rooms is open: only the pillars are left


@pytest.mark.parametrize("make", [generator.generate_hard, generator.generate_unique])
def test_a_seed_is_a_sequence(make):
    inputs, labels = make(40, 9, seed=5)
    again, again_labels = make(40, 9, seed=5)
    assert (inputs == again).all()
    assert (labels == again_labels).all()
    assert (make(7, 9, seed=5)[0] == inputs[:7]).all()
    assert not (make(40, 9, seed=6)[0] == inputs).all(axis=1).any()
    empty = make(0, 9, seed=5)
    assert empty[0].shape == empty[1].shape == (0, 81)


def test_repeated_draws_are_replaced_and_the_sequence_goes_on():
    few, _ = generator.generate_unique(5, 3, seed=0)
    many, _ = generator.generate_unique(40, 3, seed=0)  # all there are of three cells
    assert len(np.unique(many, axis=0)) == 40
    assert (many[:5] == few).all()
    with pytest.raises(ValueError, match="only 40 different mazes"):
        generator.generate_unique(41, 3, seed=0)


@pytest.mark.parametrize(
    ("make", "options", "reason"),
    [
        (generator.generate_hard, {"min_path": 24}, "in 300,000 tries; lower min_path"),
        (generator.generate_hard, {"min_path": 34}, "no 6x6 maze has"),
        (generator.generate_hard, {"min_path": 1}, "min_path >= 2"),
        (generator.generate_hard, {"density": (0.5, 0.3)}, "density"),
        (generator.generate_hard, {"density": (0.31, 0.32)}, "no whole number of walls"),
        (generator.generate_unique, {"path_range": (4, 40)}, "no 6x6 maze of corridors has"),
        (generator.generate_unique, {"path_range": (12, 12), "openings": 1.0}, "lower path_range"),
        (generator.generate_unique, {"path_range": (9, 4)}, "path_range"),
        (generator.generate_unique, {"openings": 1.5}, "openings"),
    ],
)
def test_what_cannot_be_made_is_refused(make, options, reason):
    with pytest.raises(ValueError, match=reason):
        make(20, 6, 0, **options)


@pytest.mark.parametrize(("n", "size"), [(-1, 9), (1, 1), (1, 0)])
def test_wrong_counts_and_sizes_are_refused(n, size):
    for make in (generator.generate_hard, generator.generate_unique):
        with pytest.raises(ValueError, match="expected n >= 0"):
            make(n, size, 0)
