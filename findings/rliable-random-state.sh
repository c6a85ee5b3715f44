#!/usr/bin/env bash
# rliable: the random_state of its bootstraps is not used, the same one gives other intervals.
#
# Guess: get_interval_estimates(..., random_state=RandomState(0)) gives the same intervals whenever it is called
# with it, and leaves numpy's own generator alone: "random_state: If specified, ensures reproducibility in uncertainty
# estimates", say its docstrings.
# Seen with rliable 1.2.0, arch 7.2.0, numpy 2.4.6, for the IQM of 5 runs of 10 tasks and for the probability of
# improvement: resamples are drawn from numpy's global generator, whatever is given. Two calls with equal random
# states differ as two without one do (here by up to some hundredths of an interval's width with 2,000 resamples,
# and a tenth with 100), and both move the global generator. After np.random.seed two calls are equal, with
# different random states too. arch's own IIDBootstrap, which these classes extend, is reproducible.
# No warning is raised.
# Matters for tables that are to be reproduced from a seed: the last digits of every interval change, and what
# is drawn behind the call as well.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet \
    rliable==1.2.0 arch==7.2.0 numpy==2.4.6 scipy==1.17.1 pandas==2.3.3
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys
from importlib.metadata import version

import numpy as np
from arch.bootstrap import IIDBootstrap
from rliable import library, metrics

print(*(f"{name} {version(name)}" for name in ("rliable", "arch", "numpy")))
scores = np.random.RandomState(7).rand(5, 10)
others = np.random.RandomState(8).rand(5, 10) + 0.1
cases = {"IQM": (metrics.aggregate_iqm, scores), "improvement": (metrics.probability_of_improvement, (others, scores))}


def interval(case, seed, reps):
    """The interval of a case with a random state of that seed."""
    function, data = cases[case]
    state = np.random.RandomState(seed)
    return library.get_interval_estimates({"it": data}, function, reps=reps, random_state=state)[1]["it"].ravel()


there = True
np.random.seed(3)
for case, reps in (("IQM", 100), ("IQM", 2000), ("improvement", 100)):
    found = [interval(case, 0, reps) for _ in range(3)]
    width = np.mean([high - low for low, high in found])
    apart = np.ptp(found, axis=0).max() / width
    print(f"{case}, {reps} resamples, thrice with RandomState(0):",
          *(f"{low:.4f} to {high:.4f}," for low, high in found), f"apart by {apart:.1%} of the width")
    np.random.seed(1)
    first = interval(case, 0, reps)
    np.random.seed(1)
    second = interval(case, 5, reps)
    print("  after np.random.seed(1), with RandomState(0) and RandomState(5):",
          *(f"{low:.4f} to {high:.4f}" for low, high in (first, second)))
    there &= bool(apart > 0) and np.array_equal(first, second)

np.random.seed(1)
untouched = np.random.rand()
np.random.seed(1)
interval("IQM", 0, 100)
print("the next np.random.rand() is", untouched, "without the call and", np.random.rand(), "after it")
np.random.seed(1)
interval("IQM", 0, 100)
there &= np.random.rand() != untouched

plain = [IIDBootstrap(scores[:, 0], seed=np.random.RandomState(0)).conf_int(np.mean, reps=100, method="percentile")
         for _ in range(2)]
print("arch's IIDBootstrap with RandomState(0) twice:", *plain[0].ravel(), "and", *plain[1].ravel())
there &= np.array_equal(*plain)
sys.exit(0 if there else 1)
PY
