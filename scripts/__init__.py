"""Where the parts meet: presets and the `loopbench` command line."""
