#!/usr/bin/env bash
# lineax: GMRES stops by entries, not by norms: one small entry of the right side decides.
#
# Guess: GMRES(rtol, atol=0) is done when |A x - b| <= rtol |b|, as in scipy and as papers say it.
# Seen with lineax 0.1.1, jax 0.10.2, float32: every entry's residual is divided by rtol |b_i|. Where
# one entry of b is 1e-9 and the others are near 1, the solve fails with a stagnation at a residual
# whose norm is far below rtol |b|; without that entry it passes.
# Matters for implicit gradients (optimistix' ImplicitAdjoint with GMRES), whose right side, a gradient,
# has small entries as a rule. Give norms a floor: rtol=0 and an absolute tolerance, or both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" lineax==0.1.1 jax==0.10.2 jaxlib==0.10.2
PYTHONPATH="$folder" JAX_PLATFORMS=cpu python3 -W ignore - <<'PY'
import sys
from importlib.metadata import version

import jax
import jax.numpy as jnp
import lineax

print("lineax", version("lineax"), "jax", jax.__version__)
key = jax.random.key(0)
basis = jnp.linalg.qr(jax.random.normal(key, (32, 32)))[0]
matrix = jnp.eye(32) - basis * jnp.linspace(-0.9, 0.9, 32) @ basis.T
plain = 1 + 0.1 * jax.random.normal(jax.random.key(1), (32,))
seen = {}
for name, right in (("all near 1", plain), ("one is 1e-9", plain.at[0].set(1e-9))):
    solved = lineax.linear_solve(
        lineax.MatrixLinearOperator(matrix), right, lineax.GMRES(rtol=1e-5, atol=0.0), throw=False
    )
    error = float(jnp.linalg.norm(matrix @ solved.value - right) / jnp.linalg.norm(right))
    passed = bool(solved.result == lineax.RESULTS.successful)
    seen[name] = passed, error
    print(f"entries of b: {name}; succeeds: {passed}; |A x - b| / |b| = {error:.1e}")
(first, _), (second, error) = seen.values()
sys.exit(0 if first and not second and error < 1e-5 else 1)
PY
