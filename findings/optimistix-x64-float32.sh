#!/usr/bin/env bash
# optimistix: with jax's float64 enabled, a fixed-point iteration of a float32 state is refused.
#
# Guess: jax_enable_x64 allows float64 and changes nothing for a float32 state, so that one program
# may solve in both.
# Seen with optimistix 0.1.0, jax 0.10.2: FixedPointIteration raises ValueError, "`body_fun` must have
# the same input and output structure": its first error estimate is a float64 infinity, those after
# it are float32. The same solve passes without the flag, and with a float64 state under it.
# Matters where a float64 reference and the float32 model that it checks are solved side by side.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" optimistix==0.1.0 jax==0.10.2 jaxlib==0.10.2
PYTHONPATH="$folder" JAX_PLATFORMS=cpu python3 -W ignore - <<'PY'
import sys
from importlib.metadata import version

import jax
import jax.numpy as jnp
import optimistix

print("optimistix", version("optimistix"), "jax", jax.__version__)
solver = optimistix.FixedPointIteration(rtol=1e-4, atol=1e-4)
seen = {}
for enabled, dtype in ((False, "float32"), (True, "float64"), (True, "float32")):
    with jax.enable_x64(enabled):
        start = jnp.ones(3, dtype)
        try:
            found = optimistix.fixed_point(lambda y, args: jnp.cos(y), solver, start)
            seen[enabled, dtype] = found.value.dtype.name
        except ValueError as error:
            seen[enabled, dtype] = "ValueError: " + str(error).splitlines()[0]
    print(f"x64 {enabled}, state {dtype}: {seen[enabled, dtype]}")
passes = [seen[False, "float32"] == "float32", seen[True, "float64"] == "float64"]
sys.exit(0 if all(passes) and seen[True, "float32"].startswith("ValueError") else 1)
PY
