"""Where the parts meet: presets and the `loopbench` command line."""

from reasoning.lazily import names_of
from scripts.terminal.waiting import spin_briefly

spin_briefly()  # here, for torch reads it as it is loaded, by whichever module comes first

_HOMES = {
    "build_model": "scripts.models.presets",
    "compare": "scripts.studies.compare",
    "evaluate": "scripts.runs.scoring",
    "grid_shape": "scripts.models.grids",
    "open_run": "scripts.runs.session",
    "preset": "scripts.models.presets",
    "solve": "scripts.runs.solve",
}
__all__ = [*_HOMES]
__getattr__, __dir__ = names_of(__name__, _HOMES)
