#!/usr/bin/env bash
# maze-dataset: generated in parallel, every worker process makes the same mazes.
#
# Guess: gen_parallel=True changes how long it takes and at most which mazes come; 400 mazes of 8x8 are
# 400 different ones, as they are when generated serially.
# Seen with maze-dataset 1.4.2 on Linux (fork), 4 workers: gen_wilson and gen_percolation, which draw
# from numpy only, give 400 mazes of which 100 to 130 differ. The worker's number, meant to shift
# its seed, is added to the fallback seed instead ("seed or GLOBAL_SEED + id"), so that each starts
# at the config's seed. gen_dfs, which draws from Python's random too, is spared under fork, but
# gives others each time for the same seed; with spawn (macOS, Windows) it repeats mazes as well.
# Matters for whoever splits such a set: nine in ten test mazes of a random split are in the training
# part too, and a training set is about an n-th of its size with n workers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" maze-dataset==1.4.2 muutils==0.8.12 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import multiprocessing
import random
import sys
from importlib.metadata import version

from maze_dataset import MazeDataset, MazeDatasetConfig
from maze_dataset.generation import LatticeMazeGenerators as generators

multiprocessing.set_start_method("fork")
print("maze-dataset", version("maze-dataset"))


def mazes(make, parallel, **options):
    config = MazeDatasetConfig(
        name="demo", grid_n=8, n_mazes=400, maze_ctor=make, maze_ctor_kwargs=options, seed=5)
    made = MazeDataset.generate(config, gen_parallel=parallel, pool_kwargs={"processes": 4})
    return [(maze.connection_list.tobytes(), maze.solution.tobytes()) for maze in made]


there = True
for make, options in ((generators.gen_wilson, {}), (generators.gen_percolation, {"p": 0.9})):
    serial, parallel = (mazes(make, parallel, **options) for parallel in (False, True))
    random.Random(0).shuffle(parallel)
    leaked = len([maze for maze in parallel[300:] if maze in set(parallel[:300])])
    print(f"{make.__name__}: serial {len(serial)} mazes, {len(set(serial))} distinct; "
          f"4 workers {len(parallel)} mazes, {len(set(parallel))} distinct; "
          f"of a random 100 of these {leaked} are among the other 300")
    there &= len(set(serial)) == len(serial) and len(set(parallel)) < 0.9 * len(parallel)
again = [mazes(generators.gen_dfs, True) for _ in range(2)]
print("gen_dfs, 4 workers, the same seed twice:", len(set(again[0]) & set(again[1])), "of 400 in common")
sys.exit(0 if there else 1)
PY
