#!/usr/bin/env bash
# pathfinding: bi-directional A* returns paths that are not the shortest, and passes over the grid's weights.
#
# Guess: BiAStarFinder ("find shortest path using Bi-A* algorithm") gives paths as short as Dijkstra's, as A* does;
# only the work differs.
# Seen with pathfinding 1.0.23: it stops where its two searches meet first, and sets weighted to False for itself.
# On grids without weights, 12x12 with a quarter of walls, some of its paths with diagonal steps are longer, by up
# to 8 %. On grids with weights from 1 to 9 all or nearly all are dearer, up to twice. A* and Dijkstra agree
# in all. With neither weights nor diagonal steps it is right. No warning is raised.
# Matters for the lengths of shortest paths in maze data, which look right: every path is one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" pathfinding==1.0.23
PYTHONPATH="$folder" python3 - <<'PY'
import random
import sys
from importlib.metadata import version

from pathfinding.core.diagonal_movement import DiagonalMovement
from pathfinding.core.grid import Grid
from pathfinding.finder.a_star import AStarFinder
from pathfinding.finder.bi_a_star import BiAStarFinder
from pathfinding.finder.dijkstra import DijkstraFinder

print("pathfinding", version("pathfinding"))
SIZE, GRIDS = 12, 40


def price(finder, matrix, diagonal):
    """What the found path costs: each step its cell's weight, times the root of 2 if diagonal; None without one."""
    grid = Grid(matrix=matrix)
    path, _ = finder(diagonal_movement=diagonal).find_path(grid.node(0, 0), grid.node(SIZE - 1, SIZE - 1), grid)
    steps = zip(path, path[1:])
    return sum(matrix[b.y][b.x] * (2**0.5 if a.x != b.x and a.y != b.y else 1) for a, b in steps) if path else None


draw = random.Random(0)
there = True
for weights in (1, 9):
    for diagonal in ("never", "only_when_no_obstacle", "always"):
        longer, most, agree, solved = 0, 1.0, 0, 0
        for _ in range(GRIDS):
            matrix = [[0 if draw.random() < 0.25 else draw.randint(1, weights) for _ in range(SIZE)]
                      for _ in range(SIZE)]
            matrix[0][0] = matrix[-1][-1] = 1
            one, two, both = (price(finder, matrix, getattr(DiagonalMovement, diagonal))
                              for finder in (DijkstraFinder, AStarFinder, BiAStarFinder))
            if one is None:
                continue
            solved += 1
            agree += abs(one - two) < 1e-9
            longer += both > one + 1e-9
            most = max(most, both / one)
        print(f"weights up to {weights}, diagonal steps {diagonal}: {solved} grids, A* as Dijkstra in {agree},",
              f"bi-directional A* dearer in {longer}, up to {most:.2f} times")
        there &= agree == solved
        there &= longer > solved / 2 if weights > 1 else (longer > 0) == (diagonal != "never")
sys.exit(0 if there else 1)
PY
