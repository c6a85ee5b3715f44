"""`loopbench bench`: how fast training, solving, evaluation and pretraining are on this machine.

Every ratio is of two things timed by turns; a training step is timed by turns with matrix products,
and stands beside their rate.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from puzzles.dataset import read_split
from reasoning.training.distribution import World, choose_device
from reasoning.training.runs import environment, write_json
from scripts.models.presets import MODELS, preset
from scripts.reports.bench_report import plot_scaling, table
from scripts.runs.recorded import load_config
from scripts.runs.session import open_run, subset
from scripts.terminal.choices import Mode, Precision
from scripts.terminal.console import Console
from scripts.timing import measures, peer_folder, peers
from scripts.timing.asked import BenchAsked
from scripts.timing.clocks import Clock, Yardstick
from scripts.timing.growth import exponents
from scripts.timing.lm_measures import language_scaling, language_training
from scripts.timing.measures import Record, against_published, full_depth, trm_d128
from scripts.timing.peer_folder import Peers
from scripts.usage import UsageError


@dataclass(frozen=True)
class Sizes:
    """What is measured, and how largely.

    presets: of training; few: of a step's parts (the first), evaluation and scaling; presets that
    are asked for by name take the place of both.
    batch, micro_batch: of the puzzle presets; rows: of a language step; None: the preset's own.
    training_batch: of training where no batch is given; None: the preset's own.
    axes: sizes that steps of scaled_batch are scaled in.
    peer_batch: puzzles that solvers of others are compared on.
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
    peer_batch: int


QUICK = Sizes(
    presets=tuple(f"{model}-cpu" for model in MODELS),
    few=("trm-cpu", "attractor-cpu"),
    lm_presets=("transformer-mini", "attractor-mini"),
    batch=None,
    micro_batch=None,
    rows=2,
    training_batch=8,
    scaled_batch=4,
    d128_batch=32,
    solves=(8,),
    evaluated=32,
    segments=16,
    evaluations=(1, 2, 4, 8),
    layers=(1, 2, 4),
    axes={
        "batch": (8, 32, 128, 512),
        "grid": (4, 9, 16, 30),
        "width": (32, 128, 512),
        "layers": (1, 2, 4),
        "segments": (1, 4, 16, 64),
        "evaluations": (1, 4, 16, 64),
        "tokens": (64, 256, 1024, 2048),
    },
    peer_batch=8,
)
FULL = Sizes(
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
        "batch": (8, 32, 128, 512),
        "grid": (4, 9, 16, 30),
        "width": (32, 128, 512),
        "layers": (1, 2, 4, 8),
        "segments": (1, 4, 16, 64),
        "evaluations": (1, 4, 16, 64),
        "tokens": (64, 256, 1024, 2048),
    },
    peer_batch=64,
)
# Residual at which a start leaves: above what bf16 states can reach (0.005 to 0.008).
_LEAVE = 0.01
# Slots of a forward pass of a model of so many layers, whose whole batch would fill a GPU.
_LARGE_LAYERS, _LARGE_MICRO_BATCH = 8, 192
# Sizes of the matrix products. A CPU without bf16 instructions takes seconds for one of 1,024.
MATMUL = {"cpu": {"fp32": 1024, "bf16": 512}, "cuda": {"fp32": 8192, "bf16": 8192}}


@dataclass(frozen=True)
class Bench:
    """One run of the bench."""

    sizes: Sizes
    clock: Clock
    yardstick: Yardstick
    precisions: tuple[Precision, ...]
    modes: tuple[Mode, ...]
    runs: tuple[Path, ...]
    others: Peers | None = None

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
            layers = config.model.nets * getattr(config.model, "layers", 0)
            if config.micro_batch is None and layers >= _LARGE_LAYERS:
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
        for name in sizes.lm_presets if "tokens" in sizes.axes else ():
            for row in language_scaling(name, self.clock, sizes.axes["tokens"]):
                yield {"preset": name} | row

    def peers(self) -> Iterator[Record]:
        if self.others is None:
            raise UsageError("solvers of others are compared where they are: give `others`")
        yield from peers.compare(self.others, self.clock, self.sizes.peer_batch)


def measure(asked: BenchAsked) -> None:
    """Measure what was asked for; every part is printed, and written, as soon as it is done."""
    for folder in asked.runs:
        load_config(folder)
    sizes = replace(QUICK if asked.quick else FULL, **asked.sizes())
    length = asked.seconds or (0.2 if asked.quick else 1.0)
    clock = Clock(choose_device(asked.device), length, least=2 if asked.quick else 3)
    console = Console(width=max(144, Console().width))
    yardstick = Yardstick(MATMUL[clock.device.type])
    products = ", ".join(f"{size} in {name}" for name, size in yardstick.sizes.items())
    console.print(f"{clock.device}; shares and ratios are of matrix products of {products}")
    record = {
        "environment": environment(),
        "device": str(clock.device),
        "matmul_sizes": yardstick.sizes,
    }
    with ExitStack() as stack:
        rivals = None
        if "peers" in asked.parts:
            rivals = stack.enter_context(peer_folder.peers(asked.peers))
            record["peer_versions"], record["peers_missing"] = rivals.versions, rivals.missing
            for name, why in rivals.missing.items():
                console.print(f"peers: without {name}: {why}")
        how = asked.precisions, asked.modes, asked.runs, rivals
        measured = Bench(sizes, clock, yardstick, *how)
        for part in asked.parts:
            record[part] = list(getattr(measured, part)())
            console.print(table(part, record[part]))
            if part == "scaling":
                record["exponents"] = exponents(record[part])
                console.print(table("exponents", record["exponents"]))
            if asked.json is not None:
                write_json(asked.json, record)
    if asked.json is not None and "scaling" in record:
        picture = asked.json.with_name(f"{asked.json.stem}-scaling.png")
        plot_scaling(record["scaling"], picture)
