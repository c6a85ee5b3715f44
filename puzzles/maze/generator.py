"""Random mazes of the two published kinds, deduplicated.

*Hard*, as Maze-Hard (Wang et al., Hierarchical Reasoning Model, 2025): walls at random, a long
shortest path and typically millions as short. *Unique*, as the maze set of EqR: a perfect maze of
corridors, where one path joins any two cells.

Draw i of a seed has its own stream (seed, i), and the mazes are the first n different ones of the
draws 0, 1, 2, ...: maze i is the same whatever n is and however many threads share the work.
"""

from collections.abc import Callable
from math import ceil

import numpy as np
from numba import njit

from puzzles.errors import InputError
from puzzles.maze.rules import FREE, GOAL, START, WALL
from puzzles.maze.search import explore, find, label, offsets, set_frame, take_frame
from puzzles.parallel import map_rows
from puzzles.rows import row_keys
from puzzles.sudoku import splitmix

MOST_TRIES = 300_000  # random walls for one hard maze; one in about 2,000 will do by default
MOST_CARVED = 20_000  # perfect mazes for one unique maze; nearly every one will do by default
MOST_DRAWN = 64  # give up after drawing so many times the mazes asked for
SHORTEST_DIMENSION = 1.13  # fractal dimension of shortest paths in percolation at its threshold
CHUNK = 16  # mazes a thread draws at a time

Draw = Callable[[int, np.ndarray, np.ndarray], None]  # first draw, mazes to fill, gave_up flag


def default_min_path(size: int) -> int:
    """Least path of a hard maze, in cells: round(110 (size / 30)^1.13).

    110 at 30x30 as in Maze-Hard. Near the percolation threshold (0.41 of the cells walls) shortest
    paths grow as size^1.13 (Grassberger, J. Phys. A 25, 1992), so about the same share of random
    mazes, 3e-4 to 1.3e-3, has one so long at any size from 4 to 60 (measured).
    """
    return round(110 * (size / 30) ** SHORTEST_DIMENSION)


def default_path_range(size: int) -> tuple[int, int]:
    """Range of path cells of a unique maze: 100 to 140 at 30x30, as the number of cells, least 3.

    A corridor of a depth-first maze fills the area, so its length grows as size^2.
    """
    low = max(3, round(100 * size**2 / 900))
    return low, max(low, round(140 * size**2 / 900))


def generate_hard(
    n: int,
    size: int,
    seed: int,
    min_path: int | None = None,
    density: tuple[float, float] = (0.3, 0.5),
) -> tuple[np.ndarray, np.ndarray]:
    """`n` different random mazes with a long shortest path: (inputs, labels), uint8 (n, L).

    size: cells a side; seed: any integer. The number of walls is uniform over the shares `density`
    of the cells, the walls and S are placed uniformly, and G uniformly among the cells whose
    shortest path from S has at least `min_path` cells, S and G included (None: `default_min_path`);
    without such a cell all is drawn again. Labels are those of `search.label`.

    Raises ValueError for arguments that do not fit, and if no such maze turns up in MOST_TRIES.
    """
    min_path = default_min_path(size) if min_path is None else min_path
    low, high = density
    if n < 0 or size < 2 or min_path < 2 or not 0 <= low <= high <= 1:
        raise InputError(
            "expected n >= 0, size >= 2, min_path >= 2 and 0 <= density[0] <= density[1] <= 1, "
            f"got n={n}, size={size}, min_path={min_path}, density={density}"
        )
    rounding = 1e-9  # 0.07 * 900 is a little above 63
    walls = ceil(low * size**2 - rounding), int(high * size**2 + rounding)
    if walls[0] > walls[1]:
        raise InputError(f"no whole number of walls has a density in {density} at size {size}")
    wanted = f"{walls[0]} to {walls[1]} walls and a shortest path of at least {min_path} cells"
    if size**2 - walls[0] < min_path:
        raise InputError(f"no {size}x{size} maze has {wanted}; lower min_path")
    steps, key = offsets(size), splitmix.as_seed(seed)

    def draw(first: int, mazes: np.ndarray, gave_up: np.ndarray) -> None:
        _hard_batch(key, first, size, steps, walls, min_path, mazes, gave_up)

    return _distinct(draw, n, size, f"{wanted} in {MOST_TRIES:,} tries", "lower min_path")


def generate_unique(
    n: int,
    size: int,
    seed: int,
    path_range: tuple[int, int] | None = None,
    openings: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """`n` different mazes of corridors: (inputs, labels), uint8 (n, L).

    size: cells a side; seed: any integer. A depth-first (recursive backtracker) perfect maze whose
    rooms are the cells of even row and column. Each wall left between two rooms is opened with
    probability `openings`; without, every path is the only one. The number of cells of the shortest
    path, S and G included, is uniform over `path_range` (None: `default_path_range`), S and G are
    any two free cells so far apart.

    Raises ValueError for arguments that do not fit, and if a length of the range is out of reach.
    """
    low, high = default_path_range(size) if path_range is None else path_range
    if n < 0 or size < 3 or not 2 <= low <= high or not 0 <= openings <= 1:
        raise InputError(
            "expected n >= 0, size >= 3, 2 <= path_range[0] <= path_range[1] and openings in "
            f"[0, 1], got n={n}, size={size}, path_range={(low, high)}, openings={openings}"
        )
    rooms = (size + 1) // 2
    wanted = f"a shortest path of each length in {low} to {high} cells"
    if high > 2 * rooms**2 - 1:  # more than the free cells of a perfect maze
        raise InputError(f"no {size}x{size} maze of corridors has {wanted}; lower path_range")
    steps, key = offsets(size), splitmix.as_seed(seed)

    def draw(first: int, mazes: np.ndarray, gave_up: np.ndarray) -> None:
        _unique_batch(key, first, size, steps, (low, high), openings, mazes, gave_up)

    wanted = f"{wanted} in {MOST_CARVED:,} tries"
    return _distinct(draw, n, size, wanted, "lower path_range or openings")


def _distinct(
    draw: Draw, n: int, size: int, wanted: str, remedy: str
) -> tuple[np.ndarray, np.ndarray]:
    """The first `n` different mazes of the draws 0, 1, 2, ... and their labels."""
    mazes = np.empty((0, size * size), dtype=np.uint8)
    gave_up = np.zeros(1, dtype=np.bool_)  # set by the thread that fails, ends the others
    drawn = 0
    while drawn <= MOST_DRAWN * n:
        missing, first = n - len(mazes), drawn
        if missing <= 0:
            return mazes[:n], label(mazes[:n])
        count = max(missing, drawn // 16)  # many repeats: draw more, in fewer rounds

        def fill(rows: slice, first: int = first) -> np.ndarray:
            batch = np.empty((rows.stop - rows.start, size * size), dtype=np.uint8)
            draw(first + rows.start, batch, gave_up)
            return batch

        mazes = np.concatenate([mazes, map_rows(fill, count, chunk=CHUNK)])
        if gave_up[0]:
            raise InputError(f"found no {size}x{size} maze with {wanted}; {remedy}")
        drawn += count
        _, firsts = np.unique(row_keys(mazes), return_index=True)
        mazes = mazes[np.sort(firsts)]
    raise InputError(
        f"only {len(mazes)} different mazes in {drawn:,} drawn of size {size}, {n} asked for; "
        "ask for fewer or a larger size"
    )


# ------------------------------------------------------------------------------------ random walls
#
# Nearly all tries fail, and a flood of bits finds out sooner than a queue: cell (row, column) is
# bit row * stride + column of a string of 64-bit words with a guard of zeros at both ends, and all
# cells reached in t moves step on at once by shifts of the string. The stride leaves a zero bit
# between rows, and is no multiple of 64 so that no shift below is by a whole word.

ONE, WORD = np.uint64(1), np.uint64(64)


@njit(cache=True)
def _stride(size):
    stride = size + 1
    return stride + 1 if stride % 64 == 0 else stride


@njit(cache=True)
def _reach(start, moves, stride, guard, unseen, front, following):
    """Whether some cell is `moves` or more moves from the bit `start`. Uses up `unseen`."""
    jump, down = stride // 64, np.uint64(stride % 64)
    up, last = WORD - down, WORD - ONE
    front[:] = 0
    front[start // 64] = ONE << np.uint64(start % 64)
    unseen[start // 64] ^= front[start // 64]
    for _ in range(moves):
        reached = np.uint64(0)
        for w in range(guard, len(front) - guard):
            right = (front[w] << ONE) | (front[w - 1] >> last)
            left = (front[w] >> ONE) | (front[w + 1] << last)
            below = (front[w - jump] << down) | (front[w - jump - 1] >> up)
            above = (front[w + jump] >> down) | (front[w + jump + 1] << up)
            new = (right | left | below | above) & unseen[w]
            unseen[w] ^= new
            following[w] = new
            reached |= new
        if reached == 0:
            return False
        front, following = following, front
    return True


@njit(cache=True)
def _scatter(rng, count, order, bits, unseen):
    """Place `count` walls and S uniformly: order[:count] and order[count], by a partial shuffle.

    Takes the bits of the walls out of `unseen`, which must hold all cells.
    """
    for i in range(count + 1):
        j = i + splitmix.below(rng, len(order) - i)
        order[i], order[j] = order[j], order[i]
        if i < count:
            unseen[bits[order[i]] // 64] ^= ONE << np.uint64(bits[order[i]] % 64)


@njit(cache=True)
def _draw_goal(rng, framed, steps, start, min_path, queue, distance, parent):
    """A uniformly random cell, framed, whose shortest path from `start` has enough cells."""
    seen = explore(framed, steps, start, -1, queue, distance, parent)
    near = 0  # the queue is sorted by distance: the cells far enough are at its end
    while distance[queue[near]] < min_path - 1:
        near += 1
    return queue[near + splitmix.below(rng, seen - near)]


@njit(cache=True, nogil=True)
def _hard_batch(seed, first, size, steps, walls, min_path, mazes, gave_up):
    length, stride = size * size, _stride(size)
    guard = stride // 64 + 1
    words = (size * stride + 63) // 64 + 2 * guard
    everything, unseen = np.zeros((2, words), np.uint64)
    front, following = np.zeros((2, words), np.uint64)
    bits = np.empty(length, np.int64)
    for cell in range(length):
        bits[cell] = guard * 64 + (cell // size) * stride + cell % size
        everything[bits[cell] // 64] |= ONE << np.uint64(bits[cell] % 64)
    framed = np.full((size + 2) * (size + 2), WALL, np.uint8)
    queue, distance, parent = np.empty((3, len(framed)), np.int32)
    order = np.empty(length, np.int64)
    rng = np.empty(1, np.uint64)
    for n in range(len(mazes)):
        splitmix.start(rng, seed, first + n)
        order[:] = np.arange(length)
        for _ in range(MOST_TRIES):
            if gave_up[0]:
                return
            count = walls[0] + splitmix.below(rng, walls[1] - walls[0] + 1)
            if count > length - min_path:
                continue
            unseen[:] = everything
            _scatter(rng, count, order, bits, unseen)
            start = bits[order[count]]
            if _reach(start, min_path - 1, stride, guard, unseen, front, following):
                break
        else:
            gave_up[0] = True
            return
        maze = mazes[n]
        maze[:] = FREE
        maze[order[:count]] = WALL
        maze[order[count]] = START
        set_frame(maze, size, framed)
        start = find(framed, START)
        goal = _draw_goal(rng, framed, steps, start, min_path, queue, distance, parent)
        framed[goal] = GOAL
        take_frame(framed, size, maze)


# -------------------------------------------------------------------------------------- corridors


@njit(cache=True)
def _carve(rng, size, framed, stack, ways):
    """Write a depth-first perfect maze into `framed`, from a random room.

    Rooms are two cells apart. From the room on top of the stack go to a random one of its
    neighbours that are still closed, back if there is none.
    """
    framed[:] = WALL
    rooms, width = (size + 1) // 2, size + 2
    row, column = splitmix.below(rng, rooms), splitmix.below(rng, rooms)
    stack[0] = (2 * row + 1) * width + 2 * column + 1
    framed[stack[0]] = FREE
    depth = 1
    while depth > 0:
        room = stack[depth - 1]
        row, column = room // width - 1, room % width - 1
        open_ways = 0
        for step, inside in (
            (width, row + 2 < size),
            (-1, column >= 2),
            (1, column + 2 < size),
            (-width, row >= 2),
        ):
            if inside and framed[room + 2 * step] == WALL:
                ways[open_ways] = step
                open_ways += 1
        if open_ways == 0:
            depth -= 1
            continue
        step = ways[splitmix.below(rng, open_ways)]
        framed[room + step] = FREE
        framed[room + 2 * step] = FREE
        stack[depth] = room + 2 * step
        depth += 1


@njit(cache=True)
def _open_walls(rng, size, openings, framed):
    """Open each wall between two rooms with probability `openings`."""
    resolution = 1 << 30
    extent = size - 1 + size % 2  # of the lattice of rooms and the walls between them
    for row in range(extent):
        for column in range(1 - row % 2, extent, 2):
            cell = (row + 1) * (size + 2) + column + 1
            if framed[cell] == WALL and splitmix.below(rng, resolution) < openings * resolution:
                framed[cell] = FREE


@njit(cache=True)
def _draw_ends(rng, framed, steps, moves, queue, distance, parent):
    """Set S to a random free cell and G to a random one `moves` moves away; False if none is."""
    free = np.flatnonzero(framed == FREE)
    start = free[splitmix.below(rng, len(free))]
    seen = explore(framed, steps, start, -1, queue, distance, parent)
    ring = queue[:seen][distance[queue[:seen]] == moves]
    if len(ring) == 0:
        return False
    framed[start] = START
    framed[ring[splitmix.below(rng, len(ring))]] = GOAL
    return True


@njit(cache=True, nogil=True)
def _unique_batch(seed, first, size, steps, path_range, openings, mazes, gave_up):
    framed = np.empty((size + 2) * (size + 2), np.uint8)
    queue, distance, parent = np.empty((3, len(framed)), np.int32)
    stack, ways = np.empty(((size + 1) // 2) ** 2, np.int64), np.empty(4, np.int64)
    rng = np.empty(1, np.uint64)
    for n in range(len(mazes)):
        splitmix.start(rng, seed, first + n)
        # The length first: drawn again with each try, lengths hard to reach would become rare.
        moves = path_range[0] - 1 + splitmix.below(rng, path_range[1] - path_range[0] + 1)
        for _ in range(MOST_CARVED):
            if gave_up[0]:
                return
            _carve(rng, size, framed, stack, ways)
            _open_walls(rng, size, openings, framed)
            if _draw_ends(rng, framed, steps, moves, queue, distance, parent):
                break
        else:
            gave_up[0] = True
            return
        take_frame(framed, size, mazes[n])
