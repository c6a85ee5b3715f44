"""Puzzles as arrays: rules, solvers, generators, symmetries, datasets, metrics (numpy and numba)."""
