"""Kept for one version: now `python -m scripts compare`, and scripts.studies.compare to import."""

import sys
from types import ModuleType
from typing import Any

from scripts.studies.compare import compare
from scripts.studies.comparison import *  # noqa: F403


class _Callable(ModuleType):
    """Once imported, a module stands in its package in place of the function of its name."""

    def __call__(self, *given: Any, **named: Any) -> dict[str, Any]:
        return compare(*given, **named)


if __name__ == "__main__":
    from scripts.entry import moved

    moved("compare")
else:
    sys.modules[__name__].__class__ = _Callable
