#!/usr/bin/env bash
# ortools: CP-SAT with several workers leaves out solutions when it enumerates them all, and reports that it has all.
#
# Guess: enumerate_all_solutions finds the 288 sudokus of 4x4 with any number of workers, some of them several times
# with more than one worker, as the parameter's documentation and a line of the log say ("it is up to the client to
# deduplicate them"); the status OPTIMAL is, as documented for it, returned only if all were enumerated.
# Seen with ortools 9.15.6755, Python 3.11: one worker (the default here) finds all. Two to eight workers answer
# OPTIMAL with 168 to 268 different sudokus of 288, 35 to 40 of the 70 ways to switch 4 of 8 booleans on, 2 or 3 of 4
# placements of 6 queens, 130 to 136 of the 415 quadruples of digits with sum 12, other ones from run to run. All are
# there with symmetry_level=0 or with share_level_zero_bounds=False: the log counts bounds that workers share by
# symmetry, and what one worker has excluded because it was found already seems to be among them.
# Matters for counts of solutions, for "exactly one solution" of generated puzzles and for data sets of all solutions:
# num_workers is what one sets first on a larger machine.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet ortools==9.15.6755
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys
from importlib.metadata import version

from ortools.sat.python import cp_model

print("ortools", version("ortools"))


class Collected(cp_model.CpSolverSolutionCallback):
    def __init__(self, variables):
        super().__init__()
        self.variables, self.solutions = variables, []

    def on_solution_callback(self):
        self.solutions.append(tuple(self.value(variable) for variable in self.variables))


def sudoku(model):
    cells = [model.new_int_var(1, 4, f"cell {i}") for i in range(16)]
    for i in range(4):
        top, left = 2 * (i // 2), 2 * (i % 2)
        model.add_all_different(cells[4 * i:4 * i + 4])
        model.add_all_different(cells[i::4])
        model.add_all_different([cells[4 * (top + j) + left + k] for j in range(2) for k in range(2)])
    return cells


def queens(model):
    rows = [model.new_int_var(0, 5, f"queen {i}") for i in range(6)]
    for slope in (-1, 0, 1):
        model.add_all_different([row + slope * i for i, row in enumerate(rows)])
    return rows


def booleans(model):
    switches = [model.new_bool_var(f"switch {i}") for i in range(8)]
    model.add(sum(switches) == 4)
    return switches


def digits(model):
    four = [model.new_int_var(0, 9, f"digit {i}") for i in range(4)]
    model.add(sum(four) == 12)
    return four


def enumerated(build, workers, **options):
    """The status and the number of different solutions."""
    model = cp_model.CpModel()
    collected = Collected(build(model))
    solver = cp_model.CpSolver()
    solver.parameters.enumerate_all_solutions = True
    for name, value in options.items():
        setattr(solver.parameters, name, value)
    if workers is not None:
        solver.parameters.num_workers = workers
    status = solver.solve(model, collected)
    return solver.status_name(status), len(set(collected.solutions))


there = True
for build, all_of_them in ((sudoku, 288), (queens, 4), (booleans, 70), (digits, 415)):
    seen = {workers: enumerated(build, workers) for workers in (None, 1, 2, 4, 8)}
    for workers, (status, found) in seen.items():
        print(f"{build.__name__}, {workers or 'default'} workers: {status}, {found} of {all_of_them}")
    there &= seen[None] == seen[1] == ("OPTIMAL", all_of_them)
    there &= any(status == "OPTIMAL" and found < all_of_them for status, found in seen.values())
for options in ({"symmetry_level": 0}, {"share_level_zero_bounds": False}):
    seen = enumerated(sudoku, 2, **options)
    print(f"sudoku, 2 workers, {options}: {seen[0]}, {seen[1]} of 288")
    there &= seen[1] == 288
sys.exit(0 if there else 1)
PY
