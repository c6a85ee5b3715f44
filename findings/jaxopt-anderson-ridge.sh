#!/usr/bin/env bash
# jaxopt: Anderson acceleration is slower than no acceleration where states are small or the tolerance is strict.
#
# Guess: a map, a start and a tolerance in other units take as many calls as before, and Anderson, on a linear map
# of six dimensions with a history of five, a few, far less than plain iteration.
# Seen with jaxopt 0.8.5, jax 0.10.2: on a map that shrinks by 0.9, with tolerances of 1e-4 of the state's norm,
# plain iteration takes 87 calls in all units. Anderson takes 14 where the state's norm is about 1, some 90 where
# it is 0.1 and some 240 where it is 0.01, beyond the default maxiter of 100. On a faster map (0.5) that is 9,
# 24 and 35 calls, for 14 of plain iteration. The default ridge of 1e-5 is added to products of residuals as it is;
# below about 3e-3 per residual it outweighs them, and the step becomes a mean of the last five.
# A ridge in the same units (1e-8 times the squared norm here) brings back 7 and 11 calls in all units.
# Matters for equilibrium models and comparisons of solvers: pass a ridge to the scale of the state.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" jaxopt==0.8.5 jax==0.10.2 jaxlib==0.10.2
PYTHONPATH="$folder" JAX_PLATFORMS=cpu python3 -W ignore - <<'PY'
import functools
import sys
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
from jaxopt import AndersonAcceleration, FixedPointIteration

print("jaxopt", version("jaxopt"), "jax", jax.__version__)
draw = np.random.default_rng(6)
basis = np.linalg.qr(draw.normal(size=(6, 6)))[0]
bias = draw.normal(size=6)
bias /= np.linalg.norm(bias)


@functools.partial(jax.jit, static_argnums=0)
def calls(solver, radius, unit, ridge):
    matrix = (basis * jnp.linspace(-radius, radius, 6)) @ basis.T
    options = {"ridge": ridge} if solver is AndersonAcceleration else {}
    solver = solver(
        fixed_point_fun=lambda x, b: matrix @ x + b, maxiter=1000, tol=1e-4 * unit, **options)
    return solver.run(jnp.zeros(6), bias * unit).state.iter_num


there = True
for radius in (0.5, 0.9):
    counts = []
    for unit in (1.0, 0.1, 0.01):
        plain = int(calls(FixedPointIteration, radius, unit, 0.0))
        default = int(calls(AndersonAcceleration, radius, unit, AndersonAcceleration.ridge))
        scaled = int(calls(AndersonAcceleration, radius, unit, 1e-8 * unit**2))
        print(f"radius {radius}, state in units of {unit}: plain {plain} calls, "
              f"Anderson {default}, Anderson with a ridge to scale {scaled}", flush=True)
        counts.append((plain, default, scaled))
    (plain, default, scaled), (plain_small, default_small, scaled_small) = counts[0], counts[-1]
    there &= default < plain and default_small > 2 * plain_small
    there &= abs(plain - plain_small) < 2 and max(scaled, scaled_small) < default + 3
sys.exit(0 if there else 1)
PY
