"""`loopbench bench`: how fast training, solving, evaluation and pretraining are on this machine.

Every ratio is of two things timed by turns; a training step is timed by turns with matrix products,
and stands beside their rate.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from puzzles.dataset import read_split
from reasoning.training.distribution import World, choose_device
from reasoning.training.runs import environment, write_json
from scripts import measures
from scripts.bench_report import plot_scaling, table
from scripts.lm_measures import language_training
from scripts.lm_presets import language_preset
from scripts.measures import Record, against_published, full_depth, trm_d128
from scripts.presets import MODELS, preset
from scripts.session import load_config, open_run, subset
from scripts.timing import Clock, Yardstick
from scripts.usage import UsageError, parse

Part = Literal[
    "training", "published", "solver", "shares", "evaluation", "language", "memory", "scaling"
]
PARTS: tuple[Part, ...] = Part.__args__
Mode = Literal["eager", "compiled"]
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Sizes:
    """What is measured, and how largely.

    presets: of training; few: of a step's parts (the first), evaluation and scaling; presets that
    are asked for by name take the place of both.
    batch, micro_batch: of the puzzle presets; rows: of a language step; None: the preset's own.
    training_batch: of training where no batch is given; None: the preset's own.
    axes: sizes that steps of scaled_batch are scaled in.
    """

    presets: tuple[str, ...]
    few: tuple[str, ...]
    lm_presets: tuple[str, ...]
    batch: int | None
    micro_batch: int | None
    rows: int | None
    training_batch: int | None
    scaled_batch: int
    d128_batch: int
    solves: tuple[int, ...]
    evaluated: int
    segments: int
    evaluations: tuple[int, ...]
    layers: tuple[int, ...]
    axes: dict[str, tuple[int, ...]]


_QUICK = Sizes(
    presets=tuple(f"{model}-cpu" for model in MODELS),
    few=("trm-cpu", "attractor-cpu"),
    lm_presets=("transformer-mini", "attractor-mini"),
    batch=None,
    micro_batch=None,
    rows=2,
    training_batch=8,
    scaled_batch=8,
    d128_batch=32,
    solves=(8,),
    evaluated=32,
    segments=16,
    evaluations=(1, 2, 4, 8),
    layers=(1, 2, 4),
    axes={
        "batch": (4, 8, 16, 32),
        "grid": (4, 6, 9),
        "width": (32, 64, 128),
        "layers": (1, 2, 4),
        "evaluations": (1, 2, 4, 8),
    },
)
_FULL = Sizes(
    presets=tuple(f"{model}-{scale}" for scale in ("7m", "27m") for model in MODELS),
    few=("trm-7m", "attractor-7m"),
    lm_presets=("transformer-140m", "parcae-140m", "attractor-140m"),
    batch=None,
    micro_batch=None,
    rows=None,
    training_batch=None,
    scaled_batch=128,  # 30x30 grids of 768 would fill a GPU
    d128_batch=32,
    solves=(3, 8, 64),
    evaluated=1024,
    segments=16,
    evaluations=(1, 2, 4, 8, 16, 32, 64),
    layers=(1, 2, 4, 8),
    axes={
        "batch": (96, 192, 384, 768),
        "grid": (9, 16, 30),
        "width": (128, 256, 512),
        "layers": (1, 2, 4, 8),
        "evaluations": (1, 4, 16, 64),
    },
)
# Residual at which a start leaves: above what bf16 states can reach (0.005 to 0.008).
_LEAVE = 0.01
# Slots of a forward pass of the eight-layer presets, whose whole batch would fill a GPU.
_LARGE_MICRO_BATCH = 192
# Sizes of the matrix products. A CPU without bf16 instructions takes seconds for one of 1,024.
_MATMUL = {"cpu": {"fp32": 1024, "bf16": 512}, "cuda": {"fp32": 8192, "bf16": 8192}}


@dataclass(frozen=True)
class _Bench:
    """One run of the bench."""

    sizes: Sizes
    clock: Clock
    yardstick: Yardstick
    precisions: tuple[Precision, ...]
    modes: tuple[Mode, ...]
    runs: tuple[Path, ...]

    def configs(self, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
        given = {"batch": self.sizes.batch, "micro_batch": self.sizes.micro_batch}
        changes = {key: value for key, value in given.items() if value is not None}
        for name in names:
            yield name, full_depth(preset(name), **changes)

    def training(self) -> Iterator[Record]:
        sizes = self.sizes
        for name, config in self.configs(sizes.presets):
            if sizes.batch is None and sizes.training_batch is not None:
                config = full_depth(config, batch=sizes.training_batch)
            if config.micro_batch is None and name.endswith("-27m"):
                micro_batch = min(_LARGE_MICRO_BATCH, config.batch)
                config = full_depth(config, micro_batch=micro_batch)
            yield from measures.training(
                name, config, self.clock, self.yardstick, self.precisions, self.modes
            )

    def published(self) -> Iterator[Record]:
        config = trm_d128(self.sizes.d128_batch)
        rows = measures.training(
            "TRM, D 128", config, self.clock, self.yardstick, self.precisions, self.modes
        )
        for row in rows:
            yield against_published(row)

    def solver(self) -> Iterator[Record]:
        for mode in self.modes:
            for evaluations in self.sizes.solves:
                yield from measures.solver_cost(
                    self.clock, self.sizes.d128_batch, evaluations, mode == "compiled"
                )

    def shares(self) -> Iterator[Record]:
        rows = [("TRM, D 128", trm_d128(self.sizes.d128_batch)), next(self.configs(self.sizes.few))]
        for name, config in rows:
            for row in measures.shares(config, self.clock):
                yield {"preset": name} | row

    def evaluation(self) -> Iterator[Record]:
        sizes = self.sizes
        for name, config in self.configs(sizes.few):
            puzzles = measures.sudokus(9, sizes.evaluated)
            run = measures.fresh_run(name, config, puzzles, self.clock.device)
            yield measures.evaluation(run, puzzles, self.clock, sizes.segments, None)
        for folder in self.runs:
            run = open_run(folder, World(0, 1, self.clock.device))
            puzzles = subset(read_split(run.config.data, "test"), sizes.evaluated)
            yield measures.evaluation(run, puzzles, self.clock, sizes.segments, _LEAVE)

    def language(self) -> Iterator[Record]:
        for name in self.sizes.lm_presets:
            yield from language_training(
                name, self.clock, self.yardstick, self.precisions, self.modes, self.sizes.rows
            )

    def memory(self) -> Iterator[Record]:
        sizes = self.sizes
        batch = min(sizes.d128_batch, 8) if self.clock.device.type == "cpu" else sizes.d128_batch
        yield from measures.memory(self.clock.device, batch, sizes.evaluations, sizes.layers)

    def scaling(self) -> Iterator[Record]:
        sizes = self.sizes
        for name in sizes.few:
            config = full_depth(preset(name), batch=sizes.scaled_batch)
            for row in measures.scaling(config, self.clock, sizes.axes):
                yield {"preset": name} | row


def bench(
    quick: bool = False,
    json: Path | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    parts: tuple[Part, ...] = PARTS,
    presets: tuple[str, ...] | None = None,
    lm_presets: tuple[str, ...] | None = None,
    precisions: tuple[Precision, ...] = ("fp32", "bf16"),
    modes: tuple[Mode, ...] = ("eager", "compiled"),
    runs: tuple[Path, ...] = (),
    batch: int | None = None,
    micro_batch: int | None = None,
    rows: int | None = None,
    seconds: float | None = None,
) -> None:
    """Time training, the solver, a step's parts, evaluation and language models; memory; scaling.

    Medians after a warm-up, rivals by turns, beside the matrix product rate of the same run. A
    curriculum is left out: every step is at full depth.

    Args:
        quick: presets of the small scales, small batches and few repetitions, for a CPU.
        json: file for the figures; STEM-scaling.png is drawn beside it.
        device: where to run; auto: the best present.
        parts: what to measure.
        presets: puzzle presets; none: every one of 7m and 27m, or of cpu with --quick, and for all
            but training the Attractor and TRM of the smallest.
        lm_presets: language presets; none: by --quick.
        precisions: activations.
        modes: how the nets run; compiled needs a C++ compiler on a CPU.
        runs: folders of trained runs to evaluate too, on their own held-out puzzles.
        batch: slots of a puzzle step (scaling has its own); none: the preset's, or 8 for training
            with --quick.
        micro_batch: slots of a forward pass of a puzzle step; none: all at once, or 192 for 27m.
        rows: rows of a language step; none: the preset's, or 2 with --quick.
        seconds: how long every figure is measured; none: 1, or 0.2 with --quick.
    """
    for name, count in (("batch", batch), ("rows", rows), ("seconds", seconds)):
        if count is not None and count <= 0:
            raise UsageError(f"--{name}: must be above 0 (got {count})")
    for name in presets or ():
        preset(name)
    for name in lm_presets or ():
        language_preset(name)
    if json is not None and not json.parent.is_dir():
        raise UsageError(f"--json: there is no folder {json.parent}; make it first")
    sizes = _QUICK if quick else _FULL
    given = {
        "presets": presets,
        "few": presets,
        "lm_presets": lm_presets,
        "batch": batch,
        "micro_batch": micro_batch,
        "rows": rows,
    }
    sizes = replace(sizes, **{name: value for name, value in given.items() if value is not None})
    for folder in runs:
        load_config(folder)
    length = (0.2 if quick else 1.0) if seconds is None else seconds
    clock = Clock(choose_device(device), length, least=2 if quick else 3)
    console = Console(width=max(144, Console().width))
    yardstick = Yardstick(_MATMUL[clock.device.type])
    products = ", ".join(f"{size} in {name}" for name, size in yardstick.sizes.items())
    console.print(f"{clock.device}; shares and ratios are of matrix products of {products}")
    record = {
        "environment": environment(),
        "device": str(clock.device),
        "matmul_sizes": yardstick.sizes,
    }
    made = _Bench(sizes, clock, yardstick, precisions, modes, runs)
    for part in parts:  # each printed and written as soon as it is done
        record[part] = list(getattr(made, part)())
        console.print(table(part, record[part]))
        if json is not None:
            write_json(json, record)
    if json is not None and "scaling" in record:
        plot_scaling(record["scaling"], json.with_name(f"{json.stem}-scaling.png"))


def main(words: Sequence[str]) -> int:
    parse(bench, words, "loopbench bench")()
    return 0
