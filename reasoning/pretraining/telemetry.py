"""What a run says of itself: per-token numbers of the solver, estimates of |J|, device figures."""

import math
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from reasoning.fixed_point import jacobian_norm
from reasoning.records import finite
from reasoning.training.distribution import World
from reasoning.training.memory import peak_bytes

_QUANTILE = 0.95
_POWER_ITERATIONS = 8  # of |J|
# Diagnostics whose tail matters too.
_TAILED = ("evaluations", "residual")
_EXECUTED = "evaluations_executed"


@runtime_checkable
class HasMap(Protocol):
    """A model that solves for a fixed point and can show the map."""

    def fixed_point(self, tokens: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor, Tensor]:
        """The map at tokens (B, S), its proposal and its solution (B, S, D)."""


def estimate_jacobian(model: HasMap, tokens: Tensor, seed: int, world: World) -> float | None:
    """|df/dy| at the solution of whole sequences (B, S) by power iteration, in fp32: the mean over
    sequences and processes; None where that is not finite.

    model: on the tokens' device; tokens: this process's, int64; seed: of the first direction;
    world: the processes, which all take part.
    """
    f, _, solution = model.fixed_point(tokens)
    generator = torch.Generator().manual_seed(seed)
    norms = jacobian_norm(f, solution, _POWER_ITERATIONS, generator).detach()
    total = world.sum(torch.stack([norms.sum(), norms.new_tensor(float(len(norms)))]))
    return finite(float(total[0] / total[1]))


class TokenStatistics:
    """Diagnostics (B, S) since the last line: means and 95th percentiles over all tokens, which
    stay on the device (8 bytes a token). Nothing waits for it before `summary`.

    Of `evaluations` also `evaluations_executed`: the mean over micro-batches of the most that any
    token took, for a micro-batch is run through the map until its last token stops.
    """

    def __init__(self):
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, float] = {}  # what the sums are of: tokens, or micro-batches
        self._tails: dict[str, list[Tensor]] = {}

    @torch.no_grad()
    def add(self, diagnostics: Mapping[str, Tensor]) -> None:
        if "evaluations" in diagnostics:
            most = diagnostics["evaluations"].max().float()
            self._sums[_EXECUTED] = self._sums.get(_EXECUTED, 0) + most
            self._counts[_EXECUTED] = self._counts.get(_EXECUTED, 0) + 1
        for name, value in diagnostics.items():
            value = value.detach().float().reshape(-1)
            self._sums[name] = self._sums.get(name, 0) + value.sum()
            self._counts[name] = self._counts.get(name, 0) + value.numel()
            if name in _TAILED:
                self._tails.setdefault(name, []).append(value)

    def state(self) -> dict[str, Any]:
        """What was gathered so far, on the CPU."""
        tails = {name: torch.cat(parts).cpu() for name, parts in self._tails.items()}
        sums = {name: value.cpu() for name, value in self._sums.items()}
        return {"sums": sums, "counts": dict(self._counts), "tails": tails}

    def restore(self, states: Sequence[dict[str, Any]], world: World) -> None:
        """Go on from every process's `state`: from its own, or, on another number of processes,
        from an equal share of the tokens (the first process has all of the sums)."""
        if not states:
            return
        own = states[world.rank] if len(states) == world.size else _shared(states, world)
        self._counts = dict(own["counts"])
        self._sums = {name: value.to(world.device) for name, value in own["sums"].items()}
        self._tails = {name: [value.to(world.device)] for name, value in own["tails"].items()}

    def summary(self, world: World) -> dict[str, float | None]:
        """Numbers over all processes (each has as many tokens)."""
        if not self._sums:
            return {}
        names = list(self._sums)
        sums = world.sum(torch.stack([self._sums[name] for name in names])).tolist()
        numbers = {
            name: finite(total / (self._counts[name] * world.size))
            for name, total in zip(names, sums, strict=True)
        }
        for name, parts in self._tails.items():
            values = world.gather_rows(torch.cat(parts)).cpu()
            # The next value above the quantile; torch.quantile takes no more than 2^24 values.
            rank = math.ceil(_QUANTILE * (len(values) - 1)) + 1
            numbers[f"{name}_p95"] = finite(float(values.kthvalue(rank).values))
        return numbers


def _shared(states: Sequence[dict[str, Any]], world: World) -> dict[str, Any]:
    """This process's share of the statistics of another number of processes."""

    def every(kind: str, name: str) -> list[Any]:
        return [state[kind][name] for state in states]

    first = states[0]
    sums = {name: torch.stack(every("sums", name)).sum() for name in first["sums"]}
    return {
        "sums": sums if world.is_main else {name: v.new_zeros(()) for name, v in sums.items()},
        "counts": {name: sum(every("counts", name)) / world.size for name in first["counts"]},
        "tails": {
            name: torch.cat(every("tails", name))[world.rank :: world.size]
            for name in first["tails"]
        },
    }


def peak_memory_gib(device: torch.device) -> float:
    """Most memory in use: the device's allocator's on cuda, in this training; else this
    process's so far."""
    peak = peak_bytes(device)
    if peak is None:
        unit = 1 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
    return peak / 2**30


def rates(
    seconds: float, tokens: int, flops: float, peak: float | None, world: World
) -> dict[str, Any]:
    """What depends on the clock, for timing.jsonl. MFU counts matmuls and all processes' peak.

    seconds: that some steps took; tokens, flops: of these steps, over all processes; peak: FLOP/s
    of a process's device, None: not known, nor MFU then; world: the processes.
    """
    per_second = flops / seconds
    return {
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "tflops_per_second": per_second / 1e12,
        "mfu": per_second / (peak * world.size) if peak else None,
        "peak_memory_gib": peak_memory_gib(world.device),
    }
