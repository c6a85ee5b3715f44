"""Comparisons of runs: tables and figures of the paper, ablations, trials."""
