#!/usr/bin/env bash
# mazelib: a solver that finds no way between two inner cells, and an Aldous-Broder that is far from uniform.
#
# Guess: ShortestPath solves any maze whose start and end generate_entrances made, inside or on the walls, as
# ShortestPaths does; AldousBroder, the algorithm known for it, draws every perfect maze equally often.
# Seen with mazelib 0.9.16: of 100 solvable mazes with start and end inside, ShortestPath solves none, with the
# start on a wall and the end inside about a quarter; solutions is an empty list, no error. It looks at the
# start to decide whether the end lies on a wall. ShortestPaths solves all, and by ways as short as possible.
# Of the 192 perfect mazes of 3 x 3 cells, AldousBroder makes 135 in 6000 draws, some six times as often as
# uniform: as long as a neighbour is unvisited it walks there, which is another algorithm. Wilsons is uniform
# (chi-squared 207 at 191 degrees of freedom; AldousBroder 13533).
# Matters for whoever makes puzzle sets: solvable mazes pass as unsolvable, and a "uniform" set is none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" mazelib==0.9.16 cython==3.3.1 numpy==2.2.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import random
import sys
from collections import Counter, deque
from importlib.metadata import version

from mazelib import Maze
from mazelib.generate.AldousBroder import AldousBroder
from mazelib.generate.Prims import Prims
from mazelib.generate.Wilsons import Wilsons
from mazelib.solve.ShortestPath import ShortestPath
from mazelib.solve.ShortestPaths import ShortestPaths

print("mazelib", version("mazelib"))


def steps(grid, start, end):
    seen, queue = {start: 0}, deque([start])
    while queue:
        row, column = cell = queue.popleft()
        for near in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            inside = 0 <= near[0] < grid.shape[0] and 0 <= near[1] < grid.shape[1]
            if inside and near not in seen and (not grid[near] or near == end):
                seen[near] = seen[cell] + 1
                queue.append(near)
    return seen[end]


def solve(solver, start_outer, end_outer):
    found = Counter()
    for seed in range(100):
        maze = Maze(seed)
        maze.generator = Prims(6, 6)
        maze.generate()
        maze.generate_entrances(start_outer, end_outer)
        maze.solver = solver()
        maze.solve()
        ways = [[maze.start, *map(tuple, way), maze.end] for way in maze.solutions]
        shortest = steps(maze.grid, maze.start, maze.end)
        found["none" if not ways else "shortest" if len(ways[0]) - 1 == shortest else "other"] += 1
    print(f"{solver.__name__}, start {'on a wall' if start_outer else 'inside'}, "
          f"end {'on a wall' if end_outer else 'inside'}: {dict(found)}")
    return found


there = solve(ShortestPath, True, True)["shortest"] == 100
there &= solve(ShortestPath, False, False)["none"] == 100
there &= solve(ShortestPath, True, False)["none"] > 50
for outer in ((True, True), (False, False), (True, False)):
    there &= solve(ShortestPaths, *outer)["none"] == 0


def passages(grid):
    return tuple((row, column) for row in range(1, 6) for column in range(1, 6)
                 if (row + column) % 2 and not grid[row, column])


chi = {}
for generator in (Wilsons, AldousBroder):
    random.seed(0)
    counts = Counter(passages(generator(3, 3).generate()) for _ in range(6000))
    assert {len(maze) for maze in counts} == {8}
    each = 6000 / 192
    chi[generator] = sum((n - each) ** 2 / each for n in counts.values()) + (192 - len(counts)) * each
    print(f"{generator.__name__}: {len(counts)} of 192 mazes in 6000 draws, the commonest {max(counts.values())} "
          f"times for {each:.0f}, chi-squared {chi[generator]:.0f} at 191 degrees of freedom")
there &= chi[Wilsons] < 270 and chi[AldousBroder] > 5000
sys.exit(0 if there else 1)
PY
