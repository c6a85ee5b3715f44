#!/usr/bin/env bash
# reasoning-gym: data sets with neighbouring seeds are the same data, shifted by one item.
#
# Guess: a data set of seed 42 to train on and one of seed 43 to test on share what chance makes them share; so do
# the chunks of ReseedingDataset, which makes a data set endless by "a unique seed" for each.
# Seen with reasoning_gym 0.1.25: item i of a data set is drawn from seed + i alone. Of 100 mazes with seed 43, 99
# are those of seed 42, in the same order; of 100 with seed 92, 50. So are mini sudokus, and shortest paths. Seeds
# 1000 apart share none. ReseedingDataset's chunk c has seed + c: of the 1,000 items of its first ten chunks of 100
# 109 are different ones, where one data set of 1,000 items has 1,000. No warning is raised, and neither the README nor
# the docstrings tell how far seeds must be apart.
# Matters for every test set made with another seed, and for runs over several seeds: they measure what was seen.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet reasoning-gym==0.1.25 numpy==2.4.6 sympy==1.14.0 matplotlib==3.11.2
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys
from importlib.metadata import version
from itertools import islice

import reasoning_gym
from reasoning_gym.dataset import ReseedingDataset

print("reasoning_gym", version("reasoning_gym"))
SIZE = 100
there = True
for task in ("maze", "mini_sudoku", "shortest_path"):
    train = [item["question"] for item in reasoning_gym.create_dataset(task, seed=42, size=SIZE)]
    shared = {}
    for seed in (43, 92, 1042):
        test = [item["question"] for item in reasoning_gym.create_dataset(task, seed=seed, size=SIZE)]
        shared[seed] = len(set(test) & set(train))
        there &= seed != 43 or test[:-1] == train[1:]
    print(f"{task}: {len(set(train))} of {SIZE} differ; of as many with seed 43, 92 and 1042",
          f"{shared[43]}, {shared[92]} and {shared[1042]} are among those of seed 42")
    there &= len(set(train)) == SIZE and shared == {43: SIZE - 1, 92: SIZE // 2, 1042: 0}

task = "shortest_path"
one = reasoning_gym.create_dataset(task, seed=42, size=10 * SIZE)
endless = ReseedingDataset(reasoning_gym.create_dataset(task, seed=42, size=SIZE), chunk_size=SIZE)
whole = {item["question"] for item in one}
chunks = {item["question"] for item in islice(endless, 10 * SIZE)}
print(f"of {10 * SIZE} items of {task}: {len(whole)} differ in one data set, {len(chunks)} in ten chunks")
there &= len(whole) == 10 * SIZE and len(chunks) == SIZE + 9
sys.exit(0 if there else 1)
PY
