"""Baselines: one file a model, with its paper and its deviations."""
