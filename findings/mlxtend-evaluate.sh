#!/usr/bin/env bash
# mlxtend: a difference of proportions has p = 0.04 or 0.96 by the order of the models; a feature group's importance
# is that of other columns, which it leaves shuffled.
#
# Guess: proportion_difference(0.84, 0.92, 100) and the same with the models exchanged have one p, that of the
# two-tailed test its guide describes; feature_importance_permutation(..., feature_groups=[0, 1, [2, 3]]) permutes
# columns 2 and 3 for the group and gives X back as it was; RandomHoldoutSplit(stratify=False) does not stratify.
# Seen with mlxtend 0.23.4: the p is the lower tail's: 0.04 with the better model second, 0.96 with it first, and
# 1.0 for 99 % against 50 % of 1,000 (two-tailed 0.08 and 0). A group of k columns permutes the first k columns
# of X, whichever it names, and puts back those it names: where only columns 2 and 3 matter, their group has
# importance 0, and where only 0 and 1 do it has 2.2, more than these. The caller's columns 0 and 1 stay shuffled,
# so that what is computed next from X is off too.
# RandomHoldoutSplit stratifies in both cases: of 10 rare examples always 5 are held out. No warning is raised.
# Matters for who compares accuracies with the function, and for importances of groups (one-hot cells of a puzzle).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet \
    mlxtend==0.23.4 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6 pandas==2.3.3 matplotlib==3.11.2
MPLBACKEND=agg "$folder/venv/bin/python" -W ignore - <<'PY'
import sys
from importlib.metadata import version

import numpy as np
from mlxtend.evaluate import RandomHoldoutSplit, feature_importance_permutation, proportion_difference
from scipy.stats import norm

print(*(f"{name} {version(name)}" for name in ("mlxtend", "scikit-learn", "numpy")))
there = True
for one, two, number in ((0.84, 0.92, 100), (0.92, 0.84, 100), (0.99, 0.5, 1000)):
    z, p = proportion_difference(one, two, number)
    print(f"{one} against {two}, {number} examples each: z {z:.2f}, p {p:.3f}, two-tailed {2 * norm.sf(abs(z)):.3f}")
    there &= bool(np.isclose(p, norm.cdf(z)))

draw = np.random.default_rng(0)
inputs = draw.normal(size=(500, 4))
for used, groups in (((2, 3), [[2, 3]]), ((0, 1), [[2, 3], [0], [1]])):
    target = inputs[:, used].sum(axis=1)
    given = inputs.copy()
    found, _ = feature_importance_permutation(
        given, target, lambda x: x[:, used].sum(axis=1), "r2", feature_groups=groups, seed=0)
    shuffled = [column for column in range(4) if (given[:, column] != inputs[:, column]).any()]
    print(f"target of columns {used}: importances", *(f"{group} {value:.2f}," for group, value in zip(groups, found)),
          f"columns of X shuffled for good: {shuffled}")
    there &= shuffled == [0, 1] and (abs(found[0]) < 1e-9 if used == (2, 3) else found[0] > 1)

rare = np.arange(100) < 10
held = {stratify: [int(rare[next(RandomHoldoutSplit(0.5, seed, stratify).split(inputs[:100], rare))[1]].sum())
                   for seed in range(10)] for stratify in (True, False)}
print("rare examples of 10 held out, by seed, stratified:", *held[True], "and not:", *held[False])
there &= held[False] == [5] * 10
sys.exit(0 if there else 1)
PY
