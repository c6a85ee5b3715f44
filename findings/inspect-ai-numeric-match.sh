#!/usr/bin/env bash
# inspect-ai: a numeric match compares five significant digits: wrong answers of six digits and more are correct.
#
# Guess: the scorer match(numeric=True), which "matches text or a number", takes 123461 and 123456 for two numbers, the
# more so with location="exact" ("requires the output be exactly equal to the target").
# Seen with inspect-ai 0.3.285, Python 3.11:
# - both sides are written with five significant digits before they are compared. "The answer is 123461" is scored C
#   for a target of 123456, "1000004" for 1000000 at every location, exact too, 3.14159 for 3.1416.
# - of products of two numbers of four digits with one wrong digit, 26 % are scored as correct; of sums of them, which
#   have four or five digits, none. Of products of numbers of six digits 52 % are.
# - the answer in the log is rounded as well: '1.2346e+05'.
# What is documented are the signs that are stripped before numbers "are normalized and compared", no precision. For
# integers a string match without numeric tells them apart, where no comma and no unit may stand in an answer.
# Matters for arithmetic, where a model that has the first digits and not the last ones is the usual case.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --no-compile inspect-ai==0.3.285
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import asyncio
import random
import sys
from importlib.metadata import version

from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Target, match
from inspect_ai.solver import TaskState

print("inspect-ai", version("inspect-ai"))


async def scored(text, target, **options):
    output = ModelOutput.from_content("mockllm/model", text)
    state = TaskState(model="mockllm/model", sample_id=1, epoch=1, input="?", messages=[], output=output)
    return await match(**options)(state, Target([str(target)]))


def changed(number, draw):
    """The number with one wrong digit, the first one not 0."""
    digits = list(str(number))
    place = draw.randrange(len(digits))
    digits[place] = draw.choice([d for d in "0123456789" if d != digits[place] and (place or d != "0")])
    return "".join(digits)


async def share(operation, low, high, draw):
    accepted = 0
    for _ in range(1000):
        number = operation(draw.randrange(low, high), draw.randrange(low, high))
        wrong = changed(number, draw)
        accepted += (await scored(f"It is {wrong}", number, numeric=True)).text == "C"
        assert (await scored(f"It is {number}", number, numeric=True)).text == "C"
    return accepted / 1000


async def main():
    there = True
    for text, target in (("The answer is 123461", "123456"), ("1000004", "1000000"), ("It is 3.14159", "3.1416"),
                         ("The answer is 12346", "12345")):
        seen = {place: await scored(text, target, numeric=True, location=place) for place in ("end", "any", "exact")}
        values = {place: score.text for place, score in seen.items()}
        plain = (await scored(text, target)).text
        print(f"{text!r} for {target}:", values, "answer", repr(seen["end"].answer), "not numeric:", plain)
        there &= (values["end"] == "C") == (target != "12345") and plain == "I"
        if text == "1000004":
            there &= values["exact"] == "C"
    draw = random.Random(0)
    for name, operation, low, high, least, most in (
            ("sums of 4 digits", int.__add__, 1000, 10000, 0, 0),
            ("products of 4 digits", int.__mul__, 1000, 10000, 0.2, 0.35),
            ("products of 6 digits", int.__mul__, 100000, 1000000, 0.45, 0.6)):
        accepted = await share(operation, low, high, draw)
        print(f"{name}, one of them wrong: {accepted:.1%} correct")
        there &= least <= accepted <= most
    return there


sys.exit(0 if asyncio.run(main()) else 1)
PY
