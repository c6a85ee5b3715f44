"""`python -m scripts COMMAND ...`, as `loopbench COMMAND ...`: what torchrun starts."""

import sys

from scripts.entry import main

if __name__ == "__main__":
    sys.exit(main())
