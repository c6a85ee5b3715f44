#!/usr/bin/env bash
# python-constraint2: string constraints of several forms are read as others, and solved for those.
#
# Guess: a constraint given as a string ("experimental string format, automatically parsed, preferable over
# callables") has the solutions of the same expression as a lambda; what the parser has no class for falls back to
# a function.
# Seen with python-constraint2 2.9.0, over variables from 1 to 6: where an expression of variables alone is compared
# with a variable, the parser looks for + and * only. a % b == c, a & b == c and a ^ b == c are solved as
# a == b + c, a ** b == c as a * b == c, a // b == c as a == b * c (which leaves out all that have a remainder);
# a - b + c == d loses its minus and -a + b == c too (of 146 and 15 solutions none is found, 20 and 15 wrong ones
# are), a * b / c == d its division. The same with <=, and with the sides exchanged. Without a second operator
# (a - b == c, a / b == c), beside a number (a - b + c == 3) and with lambdas all is right. No warning is raised.
# Matters for puzzles written or counted this way: wrong solutions, and unique ones that are not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" python-constraint2==2.9.0
PYTHONPATH="$folder" python3 - <<'PY'
import itertools
import sys
from importlib.metadata import version

from constraint import Problem

print("python-constraint2", version("python-constraint2"))
DOMAIN = range(1, 7)
WRONG = ("a % b == c", "c == a % b", "a & b == c", "a ^ b == c", "a ** b == c", "a // b == c", "a * b / c == d",
         "a - b + c == d", "d == a - b + c", "a + b - c == d", "a - b + c <= d", "-a + b == c")
RIGHT = ("a - b == c", "a / b == c", "a * b == c", "a - b <= c", "a - b + c == 3", "a + b == c + d", "a % b != c")


def solutions(names, constraint):
    """The solutions of a problem over these variables with that one constraint."""
    problem = Problem()
    problem.addVariables(names, DOMAIN)
    problem.addConstraint(constraint, names)
    return {tuple(found[name] for name in names) for found in problem.getSolutions()}


there = True
for expression in WRONG + RIGHT:
    names = [name for name in "abcd" if name in expression]
    function = eval(f"lambda {', '.join(names)}: {expression}")
    true = {values for values in itertools.product(DOMAIN, repeat=len(names)) if function(*values)}
    lambdas, strings = solutions(names, function), solutions(names, expression)
    print(f"{expression:15} has {len(true):3} solutions; as a lambda {len(lambdas):3},",
          f"as a string {len(strings):3}, of them wrong {len(strings - true):2}")
    there &= lambdas == true and (strings != true) == (expression in WRONG)

there &= solutions(list("abc"), "a % b == c") == solutions(list("abc"), lambda a, b, c: a == b + c)
there &= solutions(list("abc"), "a ** b == c") == solutions(list("abc"), lambda a, b, c: a * b == c)
there &= solutions(list("abc"), "a // b == c") == solutions(list("abc"), lambda a, b, c: a == b * c)
there &= solutions(list("abcd"), "a - b + c == d") == solutions(list("abcd"), lambda a, b, c, d: a + b + c == d)
sys.exit(0 if there else 1)
PY
