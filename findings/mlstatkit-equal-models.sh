#!/usr/bin/env bash
# MLstatkit: two models with the same ranking, say one and its calibrated self, differ with p = 0.
#
# Guess: Delong_test of a model against itself, or against its scores divided by a temperature, which have the same
# AUC in every sample, has p = 1, as has R's roc.test, which its docstring names; Permutation_test, drawn n times, has
# a p of at least 1 / (n + 1).
# Seen with MLstatkit 0.1.91, numpy 2.4.6, scikit-learn 1.9.1, 20 samples of 100:
# - where the variance of the difference is 0, Delong_test "falls back" to a bootstrap, whose two-sided p is twice the
#   smaller of the shares of differences <= 0 and > 0. All differences are 0, so that p is 0, with z = 0. That is the
#   answer for a model against itself, against its scores at another temperature, and for two perfect models, in every
#   sample. No warning is raised.
# - Permutation_test gives p = 0 to two models that 1,000 swaps of their answers do not bring as far apart.
# For models that rank otherwise the test has the right size: 0.043 of 400 samples at 0.05. We found no issue on this.
# Matters for tables of pairwise tests, in which saturated models become significantly different.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --no-compile \
    MLstatkit==0.1.91 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
"$folder/venv/bin/python" -W ignore - <<'PY' 2> /dev/null
import sys
from importlib.metadata import version

import numpy as np
from MLstatkit import Delong_test, Permutation_test

print(*(f"{name} {version(name)}" for name in ("MLstatkit", "numpy", "scikit-learn")))
SAMPLES, SIZE = 20, 100


def drawn(seed, shift=1.0):
    """Labels and the logits of two models of one quality."""
    draw = np.random.default_rng(seed)
    labels = np.arange(SIZE) % 2
    shared = draw.standard_normal(SIZE)
    return labels, *(shift * labels + shared + 0.5 * draw.standard_normal(SIZE) for _ in range(2))


def squashed(logits, temperature=1.0):
    return 1 / (1 + np.exp(-logits / temperature))


zeros, ones, outcomes = {}, {}, set()
for seed in range(SAMPLES):
    labels, one, two = drawn(seed)
    pairs = {
        "a model and itself": (squashed(one), squashed(one)),
        "a model at temperatures 1 and 2": (squashed(one), squashed(one, 2.0)),
        "two perfect models": (squashed(one + 9 * labels), squashed(two + 9 * labels)),
    }
    for name, (first, second) in pairs.items():
        z, p = Delong_test(labels, first, second, return_ci=False, return_auc=False, n_boot=50, random_state=seed)
        zeros[name] = zeros.get(name, 0) + (p == 0)
        ones[name] = ones.get(name, 0) + (p == 1)
        outcomes.add(z)
for name, count in zeros.items():
    print(f"{name}: p = 0 in {count} of {SAMPLES} samples, p = 1 in {ones[name]}; z", *sorted(outcomes))

small = [Delong_test(*drawn(seed), return_ci=False, return_auc=False)[1] < 0.05 for seed in range(400)]
print(f"two models of one quality: p below 0.05 in {np.mean(small):.3f} of 400 samples")

labels, one, _ = drawn(0)
worse = np.where(np.random.default_rng(1).random(SIZE) < 0.6, -one, one)
*_, p, benchmark, _, _ = Permutation_test(labels, squashed(one + labels), squashed(worse), metric_str="accuracy")
print(f"Permutation_test of 1,000 draws: accuracies apart by {benchmark:.3f}, p = {p}")
there = min(zeros.values()) > SAMPLES // 2 and all(zeros[name] + ones[name] == SAMPLES for name in zeros)
sys.exit(0 if there and outcomes == {0.0} and 0.02 < np.mean(small) < 0.09 and p == 0 else 1)
PY
