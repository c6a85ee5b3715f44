"""Baselines: one file a model, with its paper and its deviations."""

import importlib
from typing import Any

_HOMES = {
    "TRM": "baselines.trm",
    "HRM": "baselines.hrm",
    "Transformer": "baselines.transformer",
    "AttractorReset": "baselines.controls",
    "TwoStep": "baselines.controls",
    "GPT": "baselines.gpt",
    "Parcae": "baselines.parcae",
    "DEQ": "baselines.deq",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """A name of `__all__`, from the module that it is of, imported when it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
