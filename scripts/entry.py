"""Where the console script enters: loading the libraries takes seconds, and Ctrl-C in them ends in
one line as it does later."""

import importlib
import os
import sys
from collections.abc import Sequence


def main(module: str = "scripts.cli", words: Sequence[str] | None = None) -> int:
    """Load a module and run its `main`.

    A model or a puzzle of one's own may lie in the working folder, which is looked at last, so that
    folders of the same name as ours hide nothing there.
    """
    try:
        for ours in ("baselines", "puzzles", "reasoning"):
            importlib.import_module(ours)  # before the folder is looked at: some finders come after
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        return importlib.import_module(module).main(words)
    except KeyboardInterrupt:
        print("loopbench: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
