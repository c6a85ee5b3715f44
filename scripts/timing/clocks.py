"""Times that can be compared: warm-up first, rounds that take every rival in turn, medians.

Rivals are timed in turn, not one after the other, so that a slow minute of the machine falls on all
of them and their ratio stands. Work on a GPU is waited for before the clock is read.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

Work = Callable[[], Any]

_TURN = 5e-3  # seconds, least of a turn


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: the median over `rounds`, and the first call (compilation is in it)."""

    median: float
    first: float
    rounds: int


@dataclass(frozen=True)
class Clock:
    """How long to measure: after `warmup` rounds, rounds until `seconds` have passed, `least` of
    them at least."""

    device: torch.device
    seconds: float = 2.0
    least: int = 3
    warmup: int = 1

    def once(self, work: Work, repeats: int = 1) -> float:
        """Seconds of one call, with what it left to do on the device."""
        self.wait()
        began = time.perf_counter()
        for _ in range(repeats):
            work()
        self.wait()
        return (time.perf_counter() - began) / repeats

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def compare(self, rivals: Mapping[str, Work]) -> dict[str, Timing]:
        """Time every rival by turns."""
        first = {name: self.once(work) for name, work in rivals.items()}
        warm = dict(first)
        for _ in range(self.warmup):
            warm = {name: self.once(work) for name, work in rivals.items()}
        # What is over in no time takes its turn several times in a row: a single call would find
        # the caches full of its rivals.
        repeats = {name: math.ceil(_TURN / max(warm[name], _TURN / 1000)) for name in rivals}
        taken: dict[str, list[float]] = {name: [] for name in rivals}
        began, rounds = time.perf_counter(), 0
        while rounds < self.least or time.perf_counter() - began < self.seconds:
            for name, work in rivals.items():
                taken[name].append(self.once(work, repeats[name]))
            rounds += 1
        return {
            name: Timing(statistics.median(times), first[name], rounds)
            for name, times in taken.items()
        }

    def time(self, work: Work) -> Timing:
        """Time one thing."""
        return self.compare({"": work})[""]


@dataclass(frozen=True)
class Yardstick:
    """Products of square matrices of random numbers, of a size for each precision, which other work
    is timed beside."""

    sizes: Mapping[str, int]

    def product(self, device: torch.device, precision: str) -> Work:
        """One product, in fp32 or bf16."""
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        draw = torch.Generator().manual_seed(0)
        size = self.sizes[precision]
        square = torch.randn(size, size, generator=draw).to(device, dtype)
        out = torch.empty_like(square)
        return lambda: torch.mm(square, square, out=out)

    def beside(
        self, clock: Clock, work: Work, precisions: Iterable[str]
    ) -> tuple[Timing, dict[str, float]]:
        """Time work by turns with products, so that both meet the machine as it is just then;
        returns the work's timing and the products' FLOP/s by precision."""
        products = {name: self.product(clock.device, name) for name in precisions}
        timings = clock.compare({"": work, **products})
        rates = {name: 2 * self.sizes[name] ** 3 / timings[name].median for name in products}
        return timings[""], rates
