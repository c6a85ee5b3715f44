"""Where the parts meet: presets and the `loopbench` command line."""

from scripts.terminal.waiting import spin_briefly

spin_briefly()  # here, for torch reads it as it is loaded, by whichever module comes first
