"""Puzzles as arrays: rules, solvers, generators, symmetries, datasets, metrics (no torch)."""
