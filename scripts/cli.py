"""`loopbench`: every command of the suite.

Exit codes: 0 done, 1 the answer is wrong or the run failed, 2 bad input, told in one line.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib import metadata

from puzzles.plugins import look_here
from scripts.commands import COMMANDS
from scripts.terminal.guard import refuse, run_guarded
from scripts.usage import unknown_name


def usage() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        ["usage: loopbench COMMAND [OPTIONS]", "", *lines, "", "loopbench COMMAND --help explains."]
    )


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; the console script's entry."""
    words = sys.argv[1:] if words is None else list(words)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"loopbench {metadata.version('loopbench')}")
        return 0
    if words[0] not in COMMANDS:
        return refuse(unknown_name("command", words[0], COMMANDS, "`loopbench --help`"), 2)
    if any(":" in word for word in words):  # a solver's import path is read with the settings
        look_here()
    module, _ = COMMANDS[words[0]]
    return run_guarded(lambda rest: importlib.import_module(module).main(rest), words[1:])


if __name__ == "__main__":
    sys.exit(main())
