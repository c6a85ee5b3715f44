#!/usr/bin/env bash
# py-sudoku and sudokum: half or more of the puzzles that they generate have several solutions.
#
# Guess: a generated sudoku of medium difficulty (half of the cells blank) has one solution.
# Seen with py-sudoku 2.0.0 and sudokum 0.0.1, solutions counted by an own backtracking search:
# of 20 puzzles each at half blank, 11 and 9 are ambiguous; at 0.7 blank all are. Neither says so when
# it returns the puzzle.
# Matters where such puzzles become training or test data: the stored answer is one of many, and an
# exact match counts the others as wrong. Count solutions before you import them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" py-sudoku==2.0.0 sudokum==0.0.1 numpy==2.2.6
PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import random
import sys

import numpy
import sudokum
from sudoku import Sudoku

EVERY = 0b1111111110


def more_than_one(grid):
    """Whether a second solution exists, the cell with the fewest digits left being tried first."""
    rows, columns, boxes = ([EVERY] * 9 for _ in range(3))
    blanks = []
    for i, digit in enumerate(cell or 0 for row in grid for cell in row):
        r, c = divmod(i, 9)
        if not digit:
            blanks.append((r, c, 3 * (r // 3) + c // 3))
            continue
        for unit, place in ((rows, r), (columns, c), (boxes, 3 * (r // 3) + c // 3)):
            unit[place] &= ~(1 << int(digit))

    def count(left, most):
        if not left:
            return 1
        free = [rows[r] & columns[c] & boxes[b] for r, c, b in left]
        at = min(range(len(left)), key=lambda k: free[k].bit_count())
        (r, c, b), found = left[at], 0
        rest = left[:at] + left[at + 1 :]
        for digit in range(1, 10):
            bit = 1 << digit
            if free[at] & bit:
                rows[r] &= ~bit; columns[c] &= ~bit; boxes[b] &= ~bit
                found += count(rest, most - found)
                rows[r] |= bit; columns[c] |= bit; boxes[b] |= bit
                if found >= most:
                    break
        return found

    return count(blanks, 2) > 1


random.seed(0)
numpy.random.seed(0)
ambiguous = {}
for share in (0.5, 0.7):
    made = {
        "py-sudoku 2.0.0": [Sudoku(3, seed=i).difficulty(share).board for i in range(20)],
        "sudokum 0.0.1": [sudokum.generate(mask_rate=share) for _ in range(20)],
    }
    for name, puzzles in made.items():
        ambiguous[name, share] = sum(map(more_than_one, puzzles))
        print(f"{name}, {share} of the cells blank: {ambiguous[name, share]} of 20 ambiguous")
sys.exit(0 if all(count >= (5 if share < 0.6 else 15) for (_, share), count in ambiguous.items()) else 1)
PY
