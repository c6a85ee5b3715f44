"""`python -m scripts COMMAND ...`, as `loopbench COMMAND ...`: what torchrun starts."""

import sys

from scripts.entry import main

sys.exit(main())
