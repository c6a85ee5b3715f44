#!/usr/bin/env bash
# scikit-posthocs: Quade's comparisons with dist="normal" find differences between equal models in a quarter of pairs.
#
# Guess: posthoc_quade compares groups in blocks, say models on data sets; with dist="t", the default, and with
# "normal" alike it finds a difference in about 5 % of pairs at 0.05 where there is none.
# Seen with scikit-posthocs 0.17.1, numpy 2.4.6, pandas 3.1.1, 300 times 3, 4 or 8 equal groups in 20 blocks:
# - dist="t": 4 to 6 % of pairs below 0.05. dist="normal": 25, 25, 20 %, and with p_adjust="holm" a difference somewhere
#   in 36, 38, 44 % of the times instead of 3 to 4.
# - the z that belong to these p have a deviation of 1.7, 1.6, 1.5 instead of 1: the variance in the denominator is
#   computed from the number of values, blocks times groups, where the number of blocks belongs. It is as bad with 100
#   blocks.
# No warning is raised; the project's issues on wrong p that we found are on other tests.
# Matters for tables of models over data sets: the normal approximation is what one takes when blocks are many.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --no-compile \
    scikit-posthocs==0.17.1 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1 statsmodels==0.15.0
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys
from importlib.metadata import version

import numpy as np
from scikit_posthocs import posthoc_quade
from scipy.stats import norm

print(*(f"{name} {version(name)}" for name in ("scikit-posthocs", "numpy", "pandas")))
TIMES = 300


def compared(groups, blocks, **options):
    """The p of all pairs of equal groups, each time drawn anew."""
    upper = np.triu_indices(groups, 1)
    draw = np.random.default_rng(groups)
    return np.array([
        posthoc_quade(draw.standard_normal((blocks, groups)), **options).to_numpy()[upper] for _ in range(TIMES)])


there = True
for groups, blocks in ((3, 20), (4, 20), (8, 20), (3, 100)):
    small, deviation, wrong = {}, {}, {}
    for dist in ("t", "normal"):
        p = compared(groups, blocks, dist=dist)
        small[dist] = (p < 0.05).mean()
        deviation[dist] = np.sqrt((norm.isf(p / 2) ** 2).mean())
        wrong[dist] = (compared(groups, blocks, dist=dist, p_adjust="holm") < 0.05).any(1).mean()
    print(f"{groups} equal groups in {blocks} blocks:")
    for dist, share in small.items():
        print(f"  {dist}: {100 * share:.1f} % of pairs below 0.05, deviation of z {deviation[dist]:.2f}, with Holm's "
              f"correction a difference in {100 * wrong[dist]:.1f} % of times")
    there &= small["t"] < 0.08 and wrong["t"] < 0.1 and small["normal"] > 0.15 and wrong["normal"] > 0.25
sys.exit(0 if there else 1)
PY
