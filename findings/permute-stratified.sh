#!/usr/bin/env bash
# permute: stratified tests give equal conditions p = 0, and their "greater" and "less" do not know a direction.
#
# Guess: stratified_two_sample and stratified_permutationtest, permuting within groups, give p = 1 where all answers
# are equal, reject a true null in at most a twentieth of cases at 0.05, and know from which side they are asked.
# Seen with permute 0.2, numpy 2.4.6, scipy 1.17.1:
# - p for "less" is 1 minus p for "greater", which leaves out the permutations that tie with what was observed; so it
#   can be 0, and twice the smaller of both, "two-sided", too. Two conditions whose answers are all right have p = 1
#   for "greater" and 0 for the others. Of 200 true nulls with right or wrong answers, 3 groups of 4 in each condition,
#   "greater", "less" and "two-sided" reject 6, 30 and 20 at 0.05.
# - "mean_within_strata", and stratified_permutationtest, add the groups' absolute differences ("f is the difference if
#   there are two conditions"): the better and the worse condition exchanged, "greater" has the same small p.
# - the number of groups decides what is the number of conditions' to decide: in two groups, the third of three
#   conditions is not looked at, however far off it is.
# - stat="t" raises a NameError.
# spearman_corr is not a rank correlation, as is known (statlab/permute issue 191, closed in 2021; no release has the
# fix): 0.8 for five shuffled numbers and their negatives. On the stratified tests' p we found no issue.
# Matters for comparisons of models by puzzle or by seed, for which one stratifies.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --no-compile permute==0.2 numpy==2.4.6 scipy==1.17.1
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys
from importlib.metadata import version

import numpy as np
from permute.core import spearman_corr
from permute.stratified import stratified_permutationtest, stratified_two_sample

print(*(f"{name} {version(name)}" for name in ("permute", "numpy", "scipy")))
ALTERNATIVES = ("greater", "less", "two-sided")


def cells(groups, conditions, each):
    """The group and the condition of each answer."""
    group, condition, _ = np.indices((groups, conditions, each))
    return group.ravel(), condition.ravel()


group, condition = cells(3, 2, 4)
right = np.ones(len(group))
equal = [stratified_two_sample(group, condition, right, alternative=side, reps=100, seed=0)[0] for side in ALTERNATIVES]
print("all answers right:", *(f"p {p:.3f} ({side})" for side, p in zip(ALTERNATIVES, equal, strict=True)))
there = equal[0] == 1 and max(equal[1:]) < 1e-9

rejected = dict.fromkeys(ALTERNATIVES, 0)
for seed in range(200):
    answers = (np.random.default_rng(seed).random(len(group)) < 0.7).astype(float)
    for side in ALTERNATIVES:
        p, _ = stratified_two_sample(group, condition, answers, alternative=side, reps=100, seed=seed)
        rejected[side] += int(p <= 0.05)
print("true nulls rejected of 200:", rejected)
there &= rejected["greater"] <= 14 and min(rejected["less"], rejected["two-sided"]) >= 17

draw = np.random.default_rng(0)
better = 2.0 * condition + draw.standard_normal(len(group))
shown = []
for name, answers in (("better", better), ("worse", -better)):
    p, _ = stratified_two_sample(group, condition, answers, stat="mean_within_strata", reps=200, seed=0)
    q, _, _ = stratified_permutationtest(group, condition, answers, reps=200, seed=0)
    shown += [p, q]
    print(f"greater, one condition the {name}: mean_within_strata p {p:.3f}, stratified_permutationtest p {q:.3f}")
there &= max(shown) < 0.02

group, condition = cells(2, 3, 8)
answers = draw.standard_normal(len(group)) + 5.0 * (condition == 2)
_, before, _ = stratified_permutationtest(group, condition, answers, reps=200, seed=0)
_, after, _ = stratified_permutationtest(group, condition, answers + 100.0 * (condition == 2), reps=200, seed=0)
print(f"two groups, three conditions: statistic {before:.3f}, the third condition's answers raised by 100 {after:.3f}")
there &= before == after

try:
    stratified_two_sample(*cells(3, 2, 4), better, stat="t", reps=10, seed=0)
    error = "none"
except NameError as raised:
    error = repr(raised)
print("stat='t':", error)
falling, _, _ = spearman_corr(np.arange(5.0), np.array([9.0, 7.0, 5.0, 3.0, 1.0]), reps=10, seed=0)
numbers = np.array([3.0, 1.0, 5.0, 2.0, 4.0])
shuffled, _, _ = spearman_corr(numbers, -numbers, reps=10, seed=0)
print(f"spearman_corr of x and -x: {falling:.2f} for an ordered x, {shuffled:.2f} for a shuffled one")
sys.exit(0 if there and error != "none" and shuffled > -0.99 else 1)
PY
