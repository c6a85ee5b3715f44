"""Training FLOPs by two rules, from a model's `Cost`; a multiply-add is 2 FLOPs.

The published rule charges every parameter that is neither embedding nor core as a matmul, lookup
tables included, and takes fixed numbers of core passes, forward f and backward b:

    per token: 6 N_nc + 3 F L_nc + 2 N_core f + 4 N_core b + F L_core (f + 2 b),   F = 4 S d

The matmul rule counts what is multiplied: no lookups, norms or gates, the unembedding included,
with the passes that were measured. A token's evaluations count until it stops; those that a batch
goes on with for its other tokens do not (`evaluations_executed` in metrics.jsonl has them). Both
charge attention as if it were not causal (F per layer).
S tokens of context, d width.
"""

import math
from collections.abc import Mapping

import torch

from reasoning.pretraining.passes import NO_CORE, Passes
from reasoning.pretraining.protocol import Cost

# Peak dense bf16 TFLOP/s by the makers' data sheets; the first name that is in the device's.
_PEAK_TFLOPS = {
    **{"B200": 2250.0, "H200 NVL": 835.0, "H200": 989.0, "H100 PCIe": 756.0, "H100 NVL": 835.0},
    **{"H100": 989.0, "A100": 312.0, "L40S": 362.0},
}


def _attention(cost: Cost, context: int) -> int:
    """F: forward FLOPs per token of one attention layer's products."""
    return 4 * context * cost.width


def published_rule(cost: Cost, context: int, passes: Passes) -> float:
    """Training FLOPs per token by the published rule."""
    attention = _attention(cost, context)
    core = cost.core + cost.core_scales
    outside = cost.total - cost.embedding - core
    f, b = passes.forward, passes.backward
    return (
        6 * outside
        + 3 * attention * cost.once_layers
        + 2 * core * f
        + 4 * core * b
        + attention * cost.core_layers * (f + 2 * b)
    )


def matmul_rule(cost: Cost, context: int, passes: Passes) -> float:
    """Training FLOPs per token by the matmuls alone, the unembedding included."""
    attention = _attention(cost, context)
    once = 2 * (cost.once + cost.embedding) + attention * cost.once_layers
    core = 2 * cost.core + attention * cost.core_layers
    return 3 * once + core * (passes.forward + 2 * passes.backward)


def measured_passes(numbers: Mapping[str, float | None], gradient: Passes) -> Passes:
    """Passes of steps with these mean diagnostics per token: the `evaluations` of the core that the
    model reports, and what its gradient takes beyond them.

    A model that reports none has no core; one whose tokens make no evaluation reads out what it
    proposes, and the gradient does not pass the core either.
    """
    evaluations = numbers.get("evaluations")
    if not evaluations:
        return NO_CORE
    forward = evaluations + gradient.forward
    return Passes(forward, forward if math.isinf(gradient.backward) else gradient.backward)


def peak_flops(device: torch.device, stated_tflops: float | None) -> float | None:
    """Peak FLOP/s of a device: as stated, else from the table, else None."""
    if stated_tflops is not None:
        return stated_tflops * 1e12
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((1e12 * peak for key, peak in _PEAK_TFLOPS.items() if key in name), None)
