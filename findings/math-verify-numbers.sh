#!/usr/bin/env bash
# math-verify: ways to write a number that it reads as another number, and counts as right.
#
# Guess: parse and verify find a number in its usual forms equal to itself and different from other numbers;
# (1,2) and {1,2} differ while strict is on, as its documentation says ("sets are not comparable with tuples").
# Seen with math-verify 0.9.0 (latex2sympy2_extended 1.11.0), all with the defaults:
# - repeating decimals lose what repeats: 0.\overline{3} is 0, so are 0.\overline{27} and 0.\overline{72};
#   2.\overline{6} equals 2 and not 8/3. \bar and \dot do the same.
# - outside of $...$ an exponent is cut off: 1e-4 is 1 and equals 1e5; 2.5e6 is 2.5. Inside, e is Euler's number.
# - a thin space between thousands adds: 12\,345 is 357 (12 + 345, a "mixed number"), and does not equal 12345.
# - the point (1,2), read as an open interval, equals the set {1,2}, and (1,2,3) equals {1,2,3}; (2,1) and
#   (3,2,1) do not.
# No warning is raised.
# Matters for evaluation, and more for rewards in reinforcement learning: a wrong answer is paid, a right one not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet math-verify==0.9.0 latex2sympy2_extended==1.11.0 \
    antlr4-python3-runtime==4.13.2 sympy==1.14.0 mpmath==1.3.0
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys
from importlib.metadata import version

from math_verify import parse, verify

print("math-verify", version("math-verify"), "latex2sympy2_extended", version("latex2sympy2_extended"))


def read(text):
    return parse(text, parsing_timeout=60)


def equal(gold, answer):
    return verify(read(gold), read(answer), timeout_seconds=60)


right = [
    ("$0.5$", r"$\frac12$", True), ("0.25", "1/4", True), ("$12,345$", "12345", True), ("-5", "5", False),
    (r"$1.5\times10^3$", "1500", True), (r"$(2,1)$", r"$\{1,2\}$", False), (r"$(1,2)$", r"$[1,2]$", False),
    (r"$(3,2,1)$", r"$\{1,2,3\}$", False), (r"$6.02\times10^{23}$", r"$6.02\times10^{22}$", False)]
there = True
for gold, answer, expected in right:
    found = equal(gold, answer)
    print(f"as expected: {gold} and {answer}: {found}")
    there &= found == expected

wrong = [
    (r"$0.\overline{3}$", r"$\frac13$", True), (r"$0.\overline{3}$", "0", False),
    (r"$0.\overline{27}$", r"$0.\overline{72}$", False), (r"$\frac83$", r"$2.\overline{6}$", True),
    (r"$2.\overline{6}$", "2", False), (r"$0.\dot{3}$", r"$\frac13$", True), (r"$0.\bar{3}$", r"$\frac13$", True),
    ("1e-4", "0.0001", True), ("1e-4", "1", False), ("1e-4", "1e5", False), ("2.5e6", "2.5", False),
    (r"$12\,345$", "12345", True), (r"$12\,345$", "357", False),
    ("$(1,2)$", r"$\{1,2\}$", False), ("$(1,2,3)$", r"$\{1,2,3\}$", False)]
for gold, answer, expected in wrong:
    found = equal(gold, answer)
    print(f"{gold} (read as {read(gold)[0]}) and {answer} (read as {read(answer)[0]}): {found}")
    there &= found != expected
sys.exit(0 if there else 1)
PY
