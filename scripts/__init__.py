"""Where the parts meet: presets and the `loopbench` command line."""

import importlib
from typing import Any

from scripts.terminal.waiting import spin_briefly

spin_briefly()  # here, for torch reads it as it is loaded, by whichever module comes first

_HOMES = {
    "build_model": "scripts.models.presets",
    "compare": "scripts.studies.compare",
    "grid_shape": "scripts.models.grids",
    "open_run": "scripts.runs.session",
    "preset": "scripts.models.presets",
    "solve": "scripts.runs.solve",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """A name of `__all__`, from the module that it is of, imported when it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
