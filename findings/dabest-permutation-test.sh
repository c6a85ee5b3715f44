#!/usr/bin/env bash
# dabest: its permutation test gives p = 0 to the smallest samples, and of paired medians tests something else.
#
# Guess: pvalue_permutation of 3 runs against 3, wholly apart, is about 0.1 (2 of 20 ways to share them out), that of
# 5 pairs which all improve 2/32 = 0.06; that of a paired median difference is the share of sign flips with as large
# a median of differences.
# Seen with dabest 2025.10.20: it counts the permutations with an effect beyond the observed one, not those with as
# large a one, so that the sample itself and its mirror image do not count: p is 0.0 for 3 and 3 runs, for 4 and 4
# and for 5 pairs. With paired medians, the median of the differences is compared with differences of the permuted
# medians: of 12 samples of 15 pairs with a gain 8 have p < 0.05 by sign flips and 2 by dabest, where 0.008 is 0.5 or
# 1.0. (Numba is off here, to be quick; it changes no value.) No warning is raised but one on medians and BCa.
# Matters for comparisons of few seeds, where no permutation test can be significant at 0.05.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet \
    dabest==2025.10.20 numpy==2.1.3 scipy==1.15.3 pandas==2.2.3 numba==0.61.2 statsmodels==0.15.0 matplotlib==3.10.9
MPLBACKEND=agg NUMBA_DISABLE_JIT=1 SKIP_NUMBA_COMPILE=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import itertools
import sys
from importlib.metadata import version

import dabest
import numpy as np
import pandas as pd

print(*(f"{name} {version(name)}" for name in ("dabest", "numpy", "scipy")))


def by_dabest(old, new, paired, effect):
    """The permutation test's p of dabest, its permutations left at 5,000."""
    frame = pd.DataFrame({"old": old, "new": new, "run": range(len(old))})
    options = {"paired": "baseline", "id_col": "run"} if paired else {}
    results = getattr(dabest.load(frame, idx=("old", "new"), resamples=200, **options), effect).results
    return results.pvalue_permutation.item()


def by_hand(old, new, paired, function):
    """The share of all ways to share out the runs, or to swap pairs, with at least the observed effect."""
    old, new = np.array(old), np.array(new)
    if paired:
        signs = np.array(list(itertools.product((-1, 1), repeat=len(old))))
        effects = function(signs * (new - old), axis=1)
        observed = function(new - old)
    else:
        both = np.concatenate([old, new])
        chosen = [list(one) for one in itertools.combinations(range(len(both)), len(old))]
        effects = [function(np.delete(both, one)) - function(both[one]) for one in chosen]
        observed = function(new) - function(old)
    return np.mean(np.abs(effects) >= abs(observed) - 1e-9)


there = True
for paired, old, new in (
        (False, [71, 72, 73], [81, 82, 85]),
        (False, [71, 72, 73, 74], [81, 82, 85, 86]),
        (True, [71, 72, 73, 74, 75], [72, 74, 76, 78, 80])):
    p, exact = by_dabest(old, new, paired, "mean_diff"), by_hand(old, new, paired, np.mean)
    print(f"{len(old)} {'pairs' if paired else 'runs against as many'}, mean difference: p {p},",
          f"of all permutations {exact:.3f}")
    there &= p == 0 and exact > 0.02

ours, theirs = [], []
for seed in range(12):
    draw = np.random.default_rng(seed)
    old = draw.normal(size=15)
    new = old + draw.exponential(0.3, 15) - 0.1
    ours.append(by_hand(old, new, True, np.median))
    theirs.append(by_dabest(old, new, True, "median_diff"))
print("15 pairs, median difference: p", *(f"{p:.3f}" for p in theirs))
print("       by all sign flips:      p", *(f"{p:.3f}" for p in ours))
there &= np.mean(np.array(ours) < 0.05) > 2 * np.mean(np.array(theirs) < 0.05)
sys.exit(0 if there else 1)
PY
