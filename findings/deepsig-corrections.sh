#!/usr/bin/env bash
# deepsig: its Bonferroni correction relaxes with the number of comparisons, and its paired bootstrap is not paired.
#
# Guess: aso(..., num_comparisons=n) gives the bound at a confidence of 1 - 0.05 / n, as its README says ("dividing
# [alpha] by the number of comparisons"); multi_aso of two models, where nothing is to be corrected, gives what aso
# gives for them; bootstrap_test, "paired bootstrap test", notices a gain that every pair has.
# Seen with deepsig 1.2.8, numpy 2.4.6, defaults but for the seed, fewer bootstrap iterations and no progress bar:
# - the confidence becomes 0.95 + 0.05 / n where 1 - 0.05 / n is meant. That is right for two comparisons only; for
#   more the bound comes down instead of going up, for a hundred it is the uncorrected one: 0.9505 for 0.9995.
# - multi_aso corrects its single comparison of two models as well, to a confidence of 1: it answers 1 for both
#   directions (nothing is ever better), or nan where one model's scores are all above the other's; aso of the same
#   scores says 0.
# - bootstrap_test draws the scores of A and of B apart. Where each of 200 scores of A is 0.1 above its partner,
#   with a deviation of 1 between pairs, its p is over 0.1; drawn in pairs it is 0, and so is permutation_test's.
# No warning says so.
# Matters for tables of many models or data sets, whose false positives are meant to be kept down, and for paired
# scores of two models on the same puzzles.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet deepsig==1.2.8 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys
from importlib.metadata import version

import numpy as np
from deepsig import aso, bootstrap_test, multi_aso, permutation_test

print("deepsig", version("deepsig"), "numpy", np.__version__)
few = dict(num_bootstrap_iterations=200, seed=1, show_progress=False)
draw = np.random.default_rng(0)
low = draw.normal(0.0, 1.0, 12)
high = draw.normal(0.7, 1.0, 12)
there = True

plain = aso(high, low, **few)
print(f"aso without a correction: {plain:.4f}")
bounds = []
for number in (2, 3, 10, 100):
    corrected = aso(high, low, num_comparisons=number, **few)
    meant = aso(high, low, confidence_level=1 - 0.05 / number, **few)
    as_seen = aso(high, low, confidence_level=0.95 + 0.05 / number, **few)
    print(f"  num_comparisons={number}: {corrected:.4f}; at confidence 1 - 0.05 / {number}: {meant:.4f}")
    there &= bool(abs(corrected - as_seen) < 1e-9) and (number == 2 or bool(corrected < meant - 0.01))
    bounds.append(corrected)
there &= all(later < sooner for sooner, later in zip(bounds, bounds[1:])) and bool(abs(bounds[-1] - plain) < 0.01)

apart = multi_aso([list(high), list(low)], **few)
without = multi_aso([list(high), list(low)], use_bonferroni=False, **few)
print(f"two models, multi_aso {apart[0, 1]:.3f} and {apart[1, 0]:.3f}; without correction {without[0, 1]:.3f} and "
      f"{without[1, 0]:.3f}; aso {plain:.3f}")
there &= bool(apart[0, 1] == apart[1, 0] == 1) and bool(abs(without[0, 1] - plain) < 1e-9) and bool(plain < 0.6)
far = multi_aso([list(high + 100), list(low)], **few)
single = aso(high + 100, low, **few)
print(f"the same, 100 apart: multi_aso {far[0, 1]:.3f} and {far[1, 0]:.3f}; aso {single:.3f}")
there &= bool(np.isnan(far[0, 1])) and bool(single == 0)

old = draw.normal(0.0, 1.0, 200)
new = old + 0.1 + draw.normal(0.0, 0.02, 200)
rows = draw.integers(0, 200, (1000, 200))
by_pairs = np.mean((new - old)[rows].mean(axis=1) >= 2 * np.mean(new - old))
given, swapped = bootstrap_test(new, old, seed=1), permutation_test(new, old, num_samples=200, seed=1)
print(f"{np.mean(new > old):.0%} of 200 pairs better: bootstrap_test p {given:.3f}, drawn in pairs {by_pairs:.3f}, "
      f"permutation_test {swapped:.3f}")
there &= bool(given > 0.1) and bool(by_pairs == 0) and bool(swapped < 0.01)
sys.exit(0 if there else 1)
PY
