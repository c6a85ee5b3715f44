"""Baselines: one file a model, with its paper and its deviations."""

from reasoning.lazily import names_of

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
__getattr__, __dir__ = names_of(__name__, _HOMES)
