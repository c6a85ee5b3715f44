"""Shortest paths: breadth-first search from S over a batch of mazes.

Neighbours are visited in the order down, left, right, up and the first parent is kept, so the
path found is a definite one among the many that are as short. It is the tie-break of the published
Maze-Hard labels: all 2,000 are reproduced.

Kernels work on a maze with a frame of walls, (size + 2)^2 cells, where the neighbours of a cell
are at fixed offsets.
"""

import numpy as np
from numba import njit

from puzzles.errors import DataError
from puzzles.maze.rules import FREE, GOAL, PATH, START, WALL, check_inputs, size_of

UNSEEN = -1


def offsets(size: int) -> np.ndarray:
    """Steps down, left, right and up between the cells of a framed maze."""
    return np.array([size + 2, -1, 1, -size - 2], dtype=np.int32)


@njit(cache=True)
def set_frame(maze, size, framed):
    """Write a maze (L,) into `framed` ((size + 2)^2,), whose frame holds walls already."""
    for row in range(size):
        first = (row + 1) * (size + 2) + 1
        for column in range(size):
            framed[first + column] = maze[row * size + column]


@njit(cache=True)
def take_frame(framed, size, maze):
    """Write a framed maze into `maze` (L,) without its frame."""
    for row in range(size):
        first = (row + 1) * (size + 2) + 1
        for column in range(size):
            maze[row * size + column] = framed[first + column]


@njit(cache=True)
def find(framed, token):
    """The first cell of a framed maze that holds a token; it must be there."""
    cell = 0
    while framed[cell] != token:
        cell += 1
    return cell


@njit(cache=True)
def explore(framed, steps, start, stop, queue, distance, parent):
    """Breadth-first search from `start`: the number of cells seen, queue[:seen] in their order.

    framed: tokens of a maze in its frame of walls; steps: to a cell's neighbours, as `offsets`
    orders them. Sets `distance` (moves from the start, UNSEEN where not reached) and `parent` of
    cells seen. Ends early once the cell `stop` is seen; stop = -1 explores everything in reach.
    """
    distance[:] = UNSEEN
    distance[start] = 0
    queue[0] = start
    seen, next_cell = 1, 0
    while next_cell < seen:
        cell = queue[next_cell]
        next_cell += 1
        for step in steps:
            neighbour = cell + step
            if framed[neighbour] != WALL and distance[neighbour] == UNSEEN:
                distance[neighbour] = distance[cell] + 1
                parent[neighbour] = cell
                queue[seen] = neighbour
                seen += 1
                if neighbour == stop:
                    return seen
    return seen


@njit(cache=True, nogil=True)
def _label_batch(inputs, size, steps, labels, cells):
    framed = np.full((size + 2) * (size + 2), WALL, np.uint8)
    queue, distance, parent = np.empty((3, len(framed)), np.int32)
    for n in range(len(inputs)):
        set_frame(inputs[n], size, framed)
        start, goal = find(framed, START), find(framed, GOAL)
        explore(framed, steps, start, goal, queue, distance, parent)
        cells[n] = distance[goal] + 1  # 0 where the goal is UNSEEN
        if cells[n] == 0 or len(labels) == 0:
            continue
        labels[n] = inputs[n]
        cell = parent[goal]
        while cell != start:
            row, column = cell // (size + 2) - 1, cell % (size + 2) - 1
            labels[n, row * size + column] = PATH
            cell = parent[cell]


@njit(cache=True, nogil=True)
def _count_batch(inputs, size, steps, counts):
    framed = np.full((size + 2) * (size + 2), WALL, np.uint8)
    queue, distance, parent = np.empty((3, len(framed)), np.int32)
    paths = np.empty(len(framed), np.float64)
    for n in range(len(inputs)):
        set_frame(inputs[n], size, framed)
        start, goal = find(framed, START), find(framed, GOAL)
        seen = explore(framed, steps, start, -1, queue, distance, parent)
        paths[:] = 0.0
        paths[start] = 1.0
        for cell in queue[:seen]:
            for step in steps:
                if distance[cell + step] == distance[cell] + 1:
                    paths[cell + step] += paths[cell]
        counts[n] = paths[goal]


def _prepared(inputs: np.ndarray) -> tuple[np.ndarray, int, np.ndarray]:
    check_inputs(inputs)
    size = size_of(inputs)
    return np.ascontiguousarray(inputs, dtype=np.uint8), size, offsets(size)


def label(inputs: np.ndarray) -> np.ndarray:
    """Labels uint8 (N, L): the shortest path that is first in the order down, left, right, up.

    Raises DataError naming the row if a question (N, L) is malformed or has no path.
    """
    inputs, size, steps = _prepared(inputs)
    labels = np.empty_like(inputs)
    cells = np.empty(len(inputs), dtype=np.int32)
    _label_batch(inputs, size, steps, labels, cells)
    if (cells == 0).any():
        row = int(np.argmax(cells == 0))
        raise DataError(f"mazes, row {row} (from 0): no path from S to G; remove the maze")
    return labels


def path_cells(inputs: np.ndarray) -> np.ndarray:
    """Cells int32 (N,) of a shortest path with S and G, 0 if there is none; inputs (N, L)."""
    inputs, size, steps = _prepared(inputs)
    cells = np.empty(len(inputs), dtype=np.int32)
    _label_batch(inputs, size, steps, inputs[:0], cells)
    return cells


def count_shortest_paths(inputs: np.ndarray) -> np.ndarray:
    """Number of shortest paths float64 (N,), 0 if there is none; exact up to 2^53."""
    inputs, size, steps = _prepared(inputs)
    counts = np.empty(len(inputs), dtype=np.float64)
    _count_batch(inputs, size, steps, counts)
    return counts


def is_one_path(inputs: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """bool (N,): the answers (N, L) change nothing of the questions (N, L) but free cells into one
    path from S to G, of any length. ValueError for what is no maze."""
    check_inputs(inputs)
    marked = (inputs == FREE) & (predictions == PATH)
    kept = (marked | (inputs == predictions)).all(axis=1)
    size = size_of(inputs)
    on_path = np.where(marked | (inputs == START) | (inputs == GOAL), inputs, WALL)
    joined = np.empty(len(inputs), dtype=np.bool_)
    _one_path(on_path.astype(np.uint8), size, offsets(size), joined)
    return kept & joined


@njit(cache=True, nogil=True)
def _one_path(on_path, size, steps, joined):
    """Whether the cells that are no walls form one path from S to G, for every row.

    S and G must touch one such cell, every other one two. A walk from S that meets these counts
    cannot branch or return, so it ends in G or at a fault; it must have met all cells.
    """
    framed = np.full((size + 2) * (size + 2), WALL, np.uint8)
    for n in range(len(on_path)):
        set_frame(on_path[n], size, framed)
        cell, previous, met = find(framed, START), -1, 1
        while True:
            touching, following = 0, -1
            for step in steps:
                if framed[cell + step] != WALL:
                    touching += 1
                    if cell + step != previous:
                        following = cell + step
            is_end = framed[cell] != FREE
            if touching != (1 if is_end else 2):
                joined[n] = False
                break
            if framed[cell] == GOAL:
                joined[n] = met == np.count_nonzero(on_path[n] != WALL)
                break
            previous, cell = cell, following
            met += 1
