"""How fast a device runs loopbench, in the seconds there are: `python -m scripts.gpu.device_rates`.

Items in order of worth, each written as soon as it is measured and begun only while its least time
is left; one that fails, for memory say, is recorded and passed over. Training steps are in bf16 at
the published batch, by turns with matrix products of the same precision, and stand beside their
rate (`loopbench bench` measures the same at leisure).
"""

import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from reasoning.names import Device
from reasoning.nn.compilation import compile_nets
from reasoning.precision import autocast
from reasoning.supervision import Depth
from reasoning.training.distribution import choose_device
from reasoning.training.runs import environment, write_json
from scripts.gpu.device_checks import described
from scripts.models.grids import grid_shape
from scripts.models.presets import RunConfig, build_model, preset
from scripts.terminal.console import Console
from scripts.terminal.guard import run_guarded
from scripts.timing import measures
from scripts.timing.clocks import Clock, Yardstick
from scripts.timing.lm_measures import language_training, pretrainer_of
from scripts.timing.measures import Record, asked, full_depth, sudokus, trainer_of
from scripts.usage import UsageError, parse

_WAITS = ("aten::_local_scalar_dense", "aten::nonzero")  # what makes the host wait for numbers
_GAPS = 5
_PROFILER = "Activity Buffer Request"  # what the profile itself makes the host do

Interval = tuple[float, float]


@dataclass(frozen=True)
class Sizes:
    """What is measured. micro_batch: of puzzle presets by name, where memory asks for one."""

    puzzles: tuple[str, ...]
    large: tuple[str, ...]
    language: tuple[str, ...]
    batch: int
    micro_batch: dict[str, int]
    rows: int | None
    evaluations: tuple[int, ...]
    profiled: str
    matmul: int
    modes: tuple[str, ...]
    precision: str
    seconds: float


# All 768 slots at once keep 91 GiB of trm-7m for an eager backward pass, which metering makes.
_PUBLISHED = {"trm-7m": 256, "trm-mlp-7m": 256, "attractor-7m": 256, "attractor-27m": 128}
CARD = Sizes(
    puzzles=("trm-7m", "attractor-7m", "trm-mlp-7m"),
    large=("attractor-27m",),
    language=("transformer-140m", "attractor-140m", "parcae-140m"),
    batch=768,
    micro_batch=_PUBLISHED,
    rows=None,
    evaluations=(1, 4, 16, 64),
    profiled="attractor-7m",
    matmul=8192,
    modes=("eager", "compiled"),
    precision="bf16",
    seconds=0.4,
)
TOY = Sizes(
    puzzles=("trm-mini", "attractor-mini"),
    large=(),
    language=("transformer-mini",),
    batch=8,
    micro_batch={"attractor-mini": 4},
    rows=2,
    evaluations=(1, 4),
    profiled="attractor-mini",
    matmul=256,
    modes=("eager",),
    precision="fp32",
    seconds=0.02,
)


@dataclass(frozen=True)
class Item:
    """One thing to measure: the record's list it goes to, and the seconds it takes at least."""

    name: str
    part: str
    least: float
    rows: Callable[[], Iterable[Record]]


def items(sizes: Sizes, device: torch.device) -> Iterator[Item]:
    """Everything, in order of worth."""
    clock = Clock(device, sizes.seconds)
    yardstick = Yardstick({sizes.precision: sizes.matmul})

    def steps(name: str) -> Iterator[Record]:
        config = step_config(sizes, name)
        given = (name, config, clock, yardstick, (sizes.precision,), sizes.modes)
        for row in measures.training(*given):
            yield row | {"micro_batch": config.micro_batch}

    def language(name: str) -> Iterator[Record]:
        given = (name, clock, yardstick, (sizes.precision,), sizes.modes[-1:], sizes.rows)
        yield from language_training(*given)

    def training(names: Iterable[str]) -> Iterator[Item]:
        for name in names:
            yield Item(name, "training", 12.0, lambda name=name: steps(name))

    yield Item("matrix products", "matmul", 2.0, lambda: [matmul_rate(clock, yardstick)])
    first, *others = sizes.puzzles
    yield from training([first])
    yield Item("gaps", "gaps", 8.0, lambda: [host_gaps(sizes, device)])
    yield from training(others)
    yield Item("memory", "memory", 4.0, lambda: memory(sizes, device))
    small, *rest = sizes.language
    yield Item(small, "language", 12.0, lambda: language(small))
    yield from training(sizes.large)
    for name in rest:
        yield Item(name, "language", 15.0, lambda name=name: language(name))


def matmul_rate(clock: Clock, yardstick: Yardstick) -> Record:
    """FLOP/s of matrix products alone."""
    [(precision, size)] = yardstick.sizes.items()
    timing = clock.time(yardstick.product(clock.device, precision))
    rate = 2 * size**3 / timing.median
    return {"precision": precision, "size": size, "flops_per_second": rate}


def memory(sizes: Sizes, device: torch.device) -> Iterator[Record]:
    """What a segment keeps for its backward pass against the solver's evaluations."""
    for row in measures.memory(device, min(32, sizes.batch), sizes.evaluations, ()):
        if row["gradient"] == "phantom":
            yield row


def host_gaps(sizes: Sizes, device: torch.device) -> Record:
    """How long the device is idle in a training step: what a profile says it was busy, of the time
    that a step takes without one, for profiling makes the host slow. Its longest gaps, with what
    the host did then; and for what the host waits in a segment, see `segment_waits`."""
    config = step_config(sizes, sizes.profiled).model_copy(update={"precision": sizes.precision})
    puzzles = sudokus(9, sizes.batch)
    trainer = trainer_of(config, puzzles, device)
    if "compiled" in sizes.modes:
        compile_nets(trainer.model.nets())
    clock = Clock(device, sizes.seconds)
    seconds = clock.time(trainer.advance).median
    clock.wait()
    with _profile(device) as step:
        trainer.advance()
        clock.wait()
    cuda = DeviceType.CUDA if device.type == "cuda" else DeviceType.CPU
    events = [e for e in step.events() if not e.is_user_annotation]  # these span idle times too
    on_device = [_interval(e) for e in events if e.device_type == cuda]
    hosts = [(e.name, _interval(e)) for e in events if e.device_type == DeviceType.CPU]
    begin, end = min(a for a, _ in on_device), max(b for _, b in on_device)
    idle = gaps(on_device)
    busy = (end - begin - sum(b - a for a, b in idle)) / 1e6
    waits = segment_waits(sizes, device)
    longest = sorted(idle, key=lambda gap: gap[0] - gap[1])
    told = (  # as far as they are asked for: each looks at everything the host did
        {"microseconds": b - a, "at": (a - begin) / (end - begin), "host": during(hosts, a, b)}
        for a, b in longest
    )
    return {
        "preset": sizes.profiled,
        "mode": sizes.modes[-1],
        "step_seconds": seconds,
        "busy_seconds": busy,
        "idle_share": max(0.0, 1 - busy / seconds),
        "longest": list(islice((gap for gap in told if gap["host"] != _PROFILER), _GAPS)),
        "waits_in_a_segment": len(waits),
        "waits": waits,
    }


def segment_waits(sizes: Sizes, device: torch.device) -> list[str]:
    """What asks the device for a number (`aten::item` and the like) in one segment of evaluation,
    which a solve should not do: for each time, the operations it is part of, outermost first."""
    puzzles = sudokus(9, 8)
    config = preset(sizes.profiled)
    model = build_model(config, grid_shape(puzzles)).to(device).eval()
    questions, ids = asked(puzzles, device)
    state = model.initial_state(8)
    with torch.no_grad(), autocast(device, sizes.precision), _profile(device) as profile:
        model.segment(state, questions, ids, Depth())
    events = [e for e in profile.events() if e.device_type == DeviceType.CPU]
    return [" > ".join(_within(e)) for e in events if e.name in _WAITS]


def _within(event: Any) -> list[str]:
    """Names of the operations that an event is part of, itself last."""
    return [*(_within(event.cpu_parent) if event.cpu_parent else ()), event.name]


def _profile(device: torch.device) -> profile:
    kinds = [ProfilerActivity.CPU]
    if device.type == "cuda":
        kinds.append(ProfilerActivity.CUDA)
    return profile(activities=kinds)


def _interval(event: Any) -> Interval:
    return event.time_range.start, event.time_range.end


def gaps(busy: Iterable[Interval]) -> list[Interval]:
    """The intervals between the first beginning and the last end in which nothing was busy."""
    idle, until = [], math.inf
    for begin, end in sorted(busy):
        if begin > until:
            idle.append((until, begin))
        until = end if until == math.inf else max(until, end)
    return idle


def during(hosts: Iterable[tuple[str, Interval]], begin: float, end: float) -> str:
    """The shortest thing the host did that lasted over the middle of a gap."""
    middle = (begin + end) / 2
    over = [(b - a, name) for name, (a, b) in hosts if a <= middle <= b]
    return min(over)[1] if over else "Python"


def warm(device: str, toy: bool) -> None:
    """Compile what is to be measured, two models at a time, each in a process of its own; what was
    compiled is in the compiler's cache on disk, where a later process finds it."""
    names = [(name, device, toy) for name in compiled_models(TOY if toy else CARD)]
    context = multiprocessing.get_context("spawn")
    with context.Pool(2, maxtasksperchild=1) as pool:
        for line in pool.imap_unordered(_compile, names):
            print(line, flush=True)


def compiled_models(sizes: Sizes) -> list[str]:
    """Models whose step is measured compiled, in order of worth."""
    first, *others = sizes.puzzles
    return [first, sizes.profiled, *(n for n in others if n != sizes.profiled), *sizes.language]


def _compile(given: tuple[str, str, bool]) -> str:
    """Two steps of a model as they will be measured; returns what to say of it."""
    name, device, toy = given
    sizes, began = TOY if toy else CARD, time.monotonic()
    place, mode = torch.device(device), sizes.modes[-1]
    try:
        if name in sizes.language:
            config, trainer = pretrainer_of(name, place, sizes.precision, mode, sizes.rows)
            advance = trainer.step
        else:
            config = step_config(sizes, name)
            changes = {"precision": sizes.precision, "compile": mode == "compiled"}
            config = config.model_copy(update=changes)
            advance = trainer_of(config, sudokus(9, config.batch), place).advance
        advance()
        advance()
    except Exception as error:  # its measurement will compile, and tell
        return f"{name}: not compiled beforehand: {described(error)}"
    return f"{name}: {mode} beforehand in {time.monotonic() - began:.0f} s"


def step_config(sizes: Sizes, name: str) -> RunConfig:
    """The configuration of a puzzle preset's measured step."""
    changes = {"batch": sizes.batch, "micro_batch": sizes.micro_batch.get(name)}
    return full_depth(preset(name), **changes)


def measure(
    json: Path | None = None,
    device: Device = "auto",
    toy: bool = False,
    seconds: float = 90.0,
    warm_up: Annotated[bool, tyro.conf.arg(name="warm")] = False,
) -> None:
    """Measure rates in the seconds there are; exit code 1 if an item failed.

    Args:
        json: file for the figures, written after every row.
        warm_up: measure nothing: compile what is to be measured, for a later process to find.
        device: which; auto: the best present.
        toy: at toy size, for a CPU.
        seconds: begin nothing whose least time is not left of so many.
    """
    end = time.monotonic() + seconds
    chosen, sizes = choose_device(device), TOY if toy else CARD
    if warm_up:
        warm(str(chosen), toy)
        return
    if json is None:
        raise UsageError("give --json FILE for the figures")
    record: dict[str, Any] = {"environment": environment(), "device": str(chosen)}
    record |= {"seconds": seconds, "left_out": [], "failed": {}}
    for item in items(sizes, chosen):
        if end - time.monotonic() < (0.2 if toy else item.least):
            record["left_out"].append(item.name)
            write_json(json, record)
            continue
        try:
            for row in item.rows():
                record.setdefault(item.part, []).append(row)
                write_json(json, record)
        except Exception as error:  # out of memory, a compiler's: the others go on
            record["failed"][item.name] = described(error)
            torch.cuda.empty_cache()
        write_json(json, record)
    console = Console(width=110)
    for name, why in record["failed"].items():
        console.print(f"{name}: failed: {why}", soft_wrap=True)
    if record["left_out"]:
        console.print(f"no time left for {', '.join(record['left_out'])}", soft_wrap=True)
    if record["failed"]:
        raise SystemExit(1)


def main(words: Sequence[str]) -> int:
    parse(measure, words, "python -m scripts.gpu.device_rates")()
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded(main, sys.argv[1:]))
