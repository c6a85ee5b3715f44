"""Where the parts meet: presets and the `loopbench` command line."""

from scripts.waiting import wait_asleep

wait_asleep()  # here, for torch reads it as it is loaded, by whichever module comes first
