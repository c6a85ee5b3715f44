#!/usr/bin/env bash
# draccus and pyrallis: what is passed for a field of type str on the command line is not the string it gets.
#
# Guess: a field annotated str gets the text of its argument; YAML, whose syntax the arguments share, matters
# for lists, numbers and the like.
# Seen with draccus 0.11.6, pyrallis 0.3.1, PyYAML 6.0.4: the text is read as YAML 1.1 first, and what that makes
# of it turned to text again. 007 becomes 7, the 4x4 puzzle 0103200400302001 (an octal number) another one of 13
# digits, 12:30 becomes 750 (in base 60), 1.10 becomes 1.1, 1_0 becomes 10, yes becomes True, "a #2" loses its
# end, "loss: mean" becomes {'loss': 'mean'}, and null is None though the field is not optional (pyrallis: the
# text None, which an empty string gives too). No error is raised. With quotes inside the shell's quotes they
# arrive as they are, as they do from a saved configuration, which quotes them.
# Matters for run names, versions, commits, times and puzzles passed as options.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet draccus==0.11.6 pyrallis==0.3.1 pyyaml==6.0.4 \
    mergedeep==1.3.4 toml==0.10.2 typing-inspect==0.9.0
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys
from dataclasses import dataclass
from importlib.metadata import version

import draccus
import pyrallis

print("draccus", version("draccus"), "pyrallis", version("pyrallis"), "PyYAML", version("pyyaml"))


@dataclass
class Config:
    name: str = "run"


def parse(library, text):
    return library.parse(config_class=Config, args=["--name", text]).name


there = True
for text in ("run7", "a-b_c.d", "2026-01-02", "3e5", "700", "None"):
    got = [parse(library, text) for library in (draccus, pyrallis)]
    print(f"as expected: {text!r} gives", *map(repr, got))
    there &= got == [text, text]

changed = ("007", "0103200400302001", "12:30", "1.10", "1_0", "0x1f", "+5", ".5", "1.5e+3", "yes", "true", "a #2",
           "loss: mean", "[1,2]", "null")
for text in changed:
    got = [parse(library, text) for library in (draccus, pyrallis)]
    print(f"{text!r} gives", *map(repr, got))
    there &= text not in got

quoted = [parse(library, "'007'") for library in (draccus, pyrallis)]
empty = [parse(library, "") for library in (draccus, pyrallis)]
print("in quotes of its own, '007' gives", *quoted, "and an empty string", *map(repr, empty))
print("saved:", draccus.dump(Config(name="007")).strip())
there &= quoted == ["007", "007"] and empty == ["", "None"]
sys.exit(0 if there else 1)
PY
