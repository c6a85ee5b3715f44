"""Where the console script enters: loading the libraries takes seconds, and Ctrl-C in them ends in
one line as it does later."""

import importlib
import sys
from collections.abc import Sequence


def main(words: Sequence[str] | None = None) -> int:
    """Load the command line and run it."""
    try:
        return importlib.import_module("scripts.cli").main(words)
    except KeyboardInterrupt:
        print("loopbench: interrupted", file=sys.stderr)
        return 130


def moved(command: str) -> None:
    """What `python -m scripts.COMMAND` did before there was `python -m scripts COMMAND`."""
    old = command.replace("-", "_")
    print(
        f"loopbench: python -m scripts.{old} is python -m scripts {command} now; the old form goes "
        "with the next version",
        file=sys.stderr,
    )
    sys.exit(main([command, *sys.argv[1:]]))
