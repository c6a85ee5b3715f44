#!/usr/bin/env bash
# reasoning-gym: answers that score_answer pays in full or by half though they are wrong.
#
# Guess: score_answer gives 1 for what solves the puzzle and next to nothing for what does not.
# Seen with reasoning_gym 0.1.25:
# - puzzle24 ("Make 24 using 4, 3, 9, 8. You can only use each number once.") looks for four numbers from 1 to 10,
#   not for those four, and cuts the value to a whole number: 6*4*1*1 earns 1 in every puzzle, and so does
#   (10*10-1)/4, which is 24.75. countdown compares the numbers and the value, and pays 0.05.
# - game_of_life_halting compares bool(answer) with bool("False"), which is True: "True", "False" and any other
#   text earn 1, whatever the right one is.
# - tasks that only have the common scorer (maze, rotten_oranges, largest_island and others) pay for a text that
#   contains the right one, by its share of the length: where 8 steps are right, 18, 80 and -8 earn a half, which is
#   more than "8 steps" does.
# Matters for rewards in reinforcement learning, and for averages over tasks: what is learnt is 6*4*1*1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet reasoning-gym==0.1.25 matplotlib==3.11.2 numpy==2.4.6 sympy==1.14.0
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys
from importlib.metadata import version

import reasoning_gym

print("reasoning_gym", version("reasoning_gym"))
SIZE = 8


def scores(task, answers):
    """The scores in the first items of a task, of answers that each item is asked for."""
    data = reasoning_gym.create_dataset(task, seed=42, size=SIZE)
    return [[data.score_answer(answer, item) for answer in answers(item)] for item in data]


expressions = ("6*4*1*1", "(10*10-1)/4", "6+4+1+1")
numbers = [sorted(item["metadata"]["numbers"]) for item in reasoning_gym.create_dataset("puzzle24", seed=42, size=SIZE)]
found = scores("puzzle24", lambda item: expressions)
print("puzzle24 with the numbers", *numbers)
for expression, row in zip(expressions, zip(*found)):
    print(f"  {expression} earns", *row)
there = [1, 4, 4, 6] not in numbers and [1, 1, 4, 6] not in numbers and [1, 4, 10, 10] not in numbers
there &= all(row == [1, 1, 0.01] for row in found)
same = scores("countdown", lambda item: (item["answer"], str(item["metadata"]["target"])))
print("countdown: its own answer and the bare target earn", *same)
there &= all(row == [1, 0.05] for row in same)

found = scores("game_of_life_halting", lambda item: ("True", "False", "I do not know"))
right = [item["answer"] for item in reasoning_gym.create_dataset("game_of_life_halting", seed=42, size=SIZE)]
print("game_of_life_halting, where the answers are", *right)
print("  True, False and another text earn", *found)
there &= set(right) == {"True", "False"} and all(row == [1, 1, 1] for row in found)

for task in ("maze", "rotten_oranges"):
    data = [item for item in reasoning_gym.create_dataset(task, seed=42, size=SIZE)]
    single = [item for item in data if len(item["answer"]) == 1 and item["answer"] != "0"]
    scorer = reasoning_gym.create_dataset(task, seed=42, size=SIZE).score_answer
    for item in single[:2]:
        right = item["answer"]
        wrong = [f"1{right}", f"{right}0", f"-{right}", str(int(right) + 1), f"{right} steps"]
        paid = [round(scorer(answer, item), 3) for answer in (right, *wrong)]
        print(f"{task}, where {right} is right:", *(f"{a} earns {p}," for a, p in zip((right, *wrong), paid)))
        there &= paid[:5] == [1, 0.5, 0.5, 0.5, 0] and paid[5] < 0.2
sys.exit(0 if there else 1)
PY
