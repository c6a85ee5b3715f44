"""What `loopbench bench` measures of puzzle models: one function a question, plain records back.

Weights are fresh and puzzles synthetic: speed depends on shapes, not on what was learned, except
where a figure says otherwise (evaluations of a solver, starts that leave the batch).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.configs import TRMConfig
from puzzles.puzzle_set import PuzzleSet, vocab_size_of
from puzzles.stream import BatchStream
from puzzles.sudoku.symmetry import augment
from reasoning.attractor import Attractor, AttractorConfig
from reasoning.fixed_point import Anderson, OneStep, Picard, solve
from reasoning.losses import LossConfig, supervision_loss
from reasoning.nn.compilation import compile_nets
from reasoning.nn.grid import GridShape
from reasoning.precision import autocast
from reasoning.solver_config import GradientConfig, SolverConfig
from reasoning.supervision import Depth, SupervisionConfig
from reasoning.training.distribution import World
from reasoning.training.evaluation import predict
from reasoning.training.loop import Trainer
from reasoning.training.memory import peak_bytes, restart_peak
from reasoning.training.meter import Meter
from scripts.models.grids import grid_shape
from scripts.models.presets import RunConfig, build_model, preset
from scripts.runs.data import training_stream
from scripts.runs.exploration import explore
from scripts.runs.search_plan import Plan
from scripts.runs.session import TrainedRun
from scripts.timing.clocks import Clock, Yardstick

Record = dict[str, Any]

_BLANK = 1
_CLUES = 25
# One training step of the published TRM code at D 128, batch 32, 9x9, T 3, n 6, on a machine whose
# fp32 matrix products ran at 200 GFLOP/s: as shipped (bf16), and the same code in fp32.
PUBLISHED_STEP = {"as shipped": 3.33, "fp32 eager": 1.31}
PUBLISHED_RATE = 200e9


def sudokus(size: int, count: int, seed: int = 0) -> PuzzleSet:
    """Solved grids with cells blanked, as the symmetries of one: for timing, not for training (a
    puzzle may have several solutions)."""
    tall = {4: 2, 6: 2, 9: 3}[size]
    wide = size // tall
    row, column = np.indices((size, size))
    grid = (wide * (row % tall) + row // tall + column) % size + _BLANK + 1
    labels = np.tile(grid.reshape(-1).astype(np.uint8), (count, 1))
    draw = np.random.default_rng(seed)
    clues = min(_CLUES, size * size // 2)
    order = draw.permuted(np.tile(np.arange(size * size), (count, 1)), axis=1)
    inputs = np.where(order < clues, labels, np.uint8(_BLANK))
    return PuzzleSet.ungrouped("sudoku", size, *augment(inputs, labels, draw))


def asked(puzzles: PuzzleSet, device: torch.device) -> tuple[Tensor, Tensor]:
    """Questions (N, L) and identifiers (N,) of puzzles, as a model takes them."""
    pair = puzzles.inputs, puzzles.puzzle_ids
    questions, ids = (torch.from_numpy(values).to(device, torch.int64) for values in pair)
    return questions, ids


def grids(size: int, count: int, seed: int = 0) -> PuzzleSet:
    """Random tokens in the shape of mazes, for timing alone."""
    tokens = np.random.default_rng(seed).integers(
        1, vocab_size_of("maze", size), (count, size * size), dtype=np.uint8
    )
    return PuzzleSet.ungrouped("maze", size, tokens, tokens)


def full_depth(config: RunConfig, **changes: Any) -> RunConfig:
    """A configuration without its curriculum: every step is as deep as the run's last."""
    flat = config.supervision.model_dump() | {"curriculum": ()}
    supervision = SupervisionConfig.model_validate(flat)
    return RunConfig.model_validate(
        config.model_dump() | {"supervision": supervision.model_dump()} | changes
    )


def trainer_of(config: RunConfig, puzzles: PuzzleSet, device: torch.device) -> Trainer:
    """A trainer of fresh weights that writes nothing."""
    model = build_model(config, grid_shape(puzzles)).to(device)
    stream = training_stream(config, puzzles)
    return Trainer(model, stream, config, World(0, 1, device))


def trm_d128(batch: int = 32) -> RunConfig:
    """The training step that published figures are of: TRM, D 128, 9x9, T 3, n 6."""
    config = preset("trm-7m")
    model = config.model.model_copy(update={"width": 128})
    assert isinstance(model, TRMConfig)
    return full_depth(config, batch=batch, model=model.model_dump())


def training(
    name: str,
    config: RunConfig,
    clock: Clock,
    yardstick: Yardstick,
    precisions: Iterable[str],
    modes: Iterable[str],
) -> Iterator[Record]:
    """A record of a training step for every precision and mode (eager, compiled).

    name: what the record calls it; config: of the run; clock: how long to measure, on which device;
    yardstick: matrix products that are timed beside, at that precision and in fp32 if it has them;
    precisions: fp32, bf16; modes: of those named.
    """
    puzzles = sudokus(9, config.batch)
    for precision in precisions:
        flops, products = None, {"fp32", precision} & set(yardstick.sizes)
        for mode in modes:
            compiled = mode == "compiled"
            setting = config.model_copy(update={"precision": precision, "compile": compiled})
            trainer = trainer_of(setting, puzzles, clock.device)
            with peak_memory(clock.device) as memory:
                timing, rates = yardstick.beside(clock, trainer.advance, products)
            if flops is None:
                with Meter(compiled) as meter:
                    trainer.advance()
                flops = meter.flops
            slots = config.batch / timing.median
            yield {
                "preset": name,
                "precision": precision,
                "mode": mode,
                "batch": config.batch,
                "seconds_per_step": timing.median,
                "first_step_seconds": timing.first,
                "rounds": timing.rounds,
                "steps_per_second": 1 / timing.median,
                "segments_per_second": slots,
                "puzzles_per_second": slots / config.supervision.segments,
                "flops_per_step": flops,
                "matmul_flops_per_second": rates,
                "of_matmul_rate": flops / timing.median / rates[precision],
                **memory,
            }


def against_published(record: Record) -> Record:
    """A step's seconds as they would be where fp32 matrix products run at the published rate, and
    how many times faster that is than the published code."""
    rate = record["matmul_flops_per_second"]["fp32"]
    seconds = record["seconds_per_step"] * rate / PUBLISHED_RATE
    speedups = {name: published / seconds for name, published in PUBLISHED_STEP.items()}
    return record | {"seconds_at_200_gflops": seconds, "times_faster_than": speedups}


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Record]:
    """peak_bytes of what runs inside, on a GPU; nothing elsewhere."""
    peaks: Record = {}
    restart_peak(device)
    yield peaks
    peak = peak_bytes(device)
    if peak is not None:
        peaks["peak_bytes"] = peak


def attractor_d128(solver: SolverConfig, gradient: GradientConfig, **sizes: Any) -> AttractorConfig:
    """The published Attractor at D 128."""
    config = preset("attractor-7m").model
    changes = {"width": 128, "solver": solver.model_dump(), "gradient": gradient.model_dump()}
    return AttractorConfig.model_validate(config.model_dump() | changes | sizes)


def solver_cost(clock: Clock, batch: int, evaluations: int, compiled: bool) -> Iterator[Record]:
    """Seconds of a solve over those of as many evaluations of its map: all but the map.

    clock: how long to measure, on which device; batch: puzzles solved at once; compiled: whether
    the map's net is.
    """
    puzzles = sudokus(9, batch)
    config = attractor_d128(SolverConfig(), GradientConfig())
    model = Attractor(config, grid_shape(puzzles)).to(clock.device).eval()
    if compiled:
        compile_nets(model.nets())
    questions, ids = asked(puzzles, clock.device)
    with torch.no_grad(), autocast(clock.device, "auto"):
        x, start = model.embedding(questions, ids), model.initial_state(batch)
        start = tuple(part.contiguous() for part in start)

        def f(w: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            y, z = w
            for _ in range(config.inner_steps):
                z = model.net(z, y + x)
            return model.net(y, z), z

        def bare() -> None:
            w = start
            for _ in range(evaluations):
                w = f(w)

        budget = {"tolerance": 1e-30, "max_evaluations": evaluations}
        solvers = {
            "anderson": Anderson(**budget, min_evaluations=evaluations),
            "picard": Picard(**budget, min_evaluations=evaluations),
        }
        rivals = {
            name: lambda solver=solver: solve(f, start, solver, OneStep())
            for name, solver in solvers.items()
        }
        timings = clock.compare({"map": bare, **rivals})
    alone = timings["map"].median
    for name in solvers:
        yield {
            "solver": name,
            "mode": "compiled" if compiled else "eager",
            "evaluations": evaluations,
            "batch": batch,
            "map_seconds": alone / evaluations,
            "solver_seconds": (timings[name].median - alone) / evaluations,
            "over_map": timings[name].median / alone - 1,
        }


def shares(config: RunConfig, clock: Clock) -> Iterator[Record]:
    """Seconds of a step's parts, and their share of the step: the batch without and with its
    augmentation, the loss with its backward pass in fp32 and fp64, optimiser and average."""
    puzzles = sudokus(9, config.batch)
    trainer = trainer_of(config, puzzles, clock.device)
    trainer.advance()
    plain = BatchStream(puzzles, config.batch, config.seed, augment=False)
    mapped = BatchStream(puzzles, config.batch, config.seed, augment=True)
    shape = (config.batch, puzzles.seq_len, puzzles.vocab_size)
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=draw).to(clock.device)
    q = torch.randn(config.batch, 2, generator=draw).to(clock.device)
    labels = torch.from_numpy(puzzles.labels[: config.batch]).to(clock.device, torch.int64)

    def loss(dtype: torch.dtype, cells: str) -> None:
        leaf = logits.to(dtype, copy=True).requires_grad_()
        setting = LossConfig(cells=cells)
        supervision_loss(leaf, q, labels, setting).total.sum().backward()

    parts = {
        "batch": lambda: plain.batch_at(trainer.done),
        "batch, augmented": lambda: mapped.batch_at(trainer.done),
        "optimiser": lambda: trainer.optimizers.step(
            trainer.done, config.steps, trainer.carry.puzzle.puzzle_ids
        ),
        "average": lambda: trainer.ema.update(trainer.model, trainer.done),
    }
    for cells in ("stablemax", "softmax"):
        for name, dtype in (("fp32", torch.float32), ("fp64", torch.float64)):
            parts[f"loss, {cells} {name}"] = lambda d=dtype, c=cells: loss(d, c)
    timings = clock.compare({"step": trainer.advance, **parts})
    step = timings["step"].median
    for name in parts:
        seconds = timings[name].median
        yield {"part": name, "seconds": seconds, "step_seconds": step, "of_step": seconds / step}


def fresh_run(name: str, config: RunConfig, puzzles: PuzzleSet, device: torch.device) -> TrainedRun:
    """Fresh weights as a run whose answers stand at once, for the residual alone to decide who
    leaves: the net of fresh weights does not come to rest.

    name: its folder's, which is not there; config: of the run; puzzles: whose shape it is made for;
    device: where the weights are.
    """
    model = build_model(config, grid_shape(puzzles)).to(device).eval()
    torch.nn.init.zeros_(model.heads.lm_head.weight)
    shape = grid_shape(puzzles)
    return TrainedRun(Path(name), config, puzzles.kind, puzzles.size, shape, model, 0)


def evaluation(
    run: TrainedRun, puzzles: PuzzleSet, clock: Clock, segments: int, leave: float | None
) -> Record:
    """Puzzles a second of an evaluation, every start kept to the end and starts at rest leaving.

    run: what answers; puzzles: all of which are asked; clock: how long to measure, on the run's
    device; segments: of every start; leave: residual at which a start leaves; None: the median of
    the residuals after the last segment, so that many do. `calls_left` is the share of net calls
    that were still made: no evaluation can be faster than its inverse.
    """
    world = World(0, 1, clock.device)
    if leave is None:
        leave = float(np.median(explore(run, puzzles, segments, Plan(), world).last_residual))
    plans = {"stay": Plan(), "leave": Plan(leave=leave)}
    calls: dict[str, float] = {}

    def once(kind: str) -> None:
        outcome = explore(run, puzzles, segments, plans[kind], world)
        calls[kind] = float(outcome.net_calls[:, 0, -1, -1].sum())

    timings = clock.compare({kind: lambda kind=kind: once(kind) for kind in plans})
    rates = {f"puzzles_per_second_{k}": len(puzzles) / t.median for k, t in timings.items()}
    return {
        "preset": run.folder.name,
        "step": run.step,
        "puzzles": len(puzzles),
        "segments": segments,
        "leave": leave,
        **rates,
        "calls_left": calls["leave"] / calls["stay"],
        "times_faster": timings["stay"].median / timings["leave"].median,
    }


def memory(device: torch.device, batch: int, evaluations: Iterable[int], layers: Iterable[int]):
    """Bytes autograd keeps in a segment, against solver evaluations and against depth, by gradient;
    on a GPU also the peak. batch: puzzles on the device; evaluations: of a solve, by nets of 2
    layers; layers: of a net, whose solves take 4."""
    puzzles = sudokus(9, batch)
    shape = grid_shape(puzzles)
    for kind in ("phantom", "one-step", "unrolled"):
        for count in evaluations:
            yield _kept(device, puzzles, shape, kind, count, 2)
    for depth in layers:
        yield _kept(device, puzzles, shape, "phantom", 4, depth)


def _kept(
    device: torch.device, puzzles: PuzzleSet, shape: GridShape, kind: str, count: int, layers: int
) -> Record:
    solver = SolverConfig(tolerance=1e-30, max_evaluations=count, min_evaluations=count)
    gradient = GradientConfig(kind=kind)
    model = Attractor(attractor_d128(solver, gradient, layers=layers), shape).to(device).train()
    questions, ids = asked(puzzles, device)

    def segment() -> None:
        with autocast(device, "auto"):
            output = model.segment(model.initial_state(len(questions)), questions, ids, Depth())
        output.logits.sum().backward()

    with Meter() as meter:
        segment()
    with peak_memory(device) as peak:
        segment()
    return {
        "gradient": kind,
        "evaluations": count,
        "layers": layers,
        "batch": len(questions),
        "saved_bytes": meter.saved_bytes,
        **peak,
    }


def scaling(config: RunConfig, clock: Clock, axes: dict[str, tuple[int, ...]]) -> Iterator[Record]:
    """A training step and an evaluation as one size at a time departs from a configuration: their
    seconds and FLOPs, and what the step keeps for its backward pass. Evaluation is of one segment,
    every puzzle at once; along the axis of segments of as many, and nothing is trained.

    The axis of solver evaluations is left out for models without a solver, that of segments for
    those which make one pass, and that of tokens, which is of language models.
    """
    kind, recurrent = config.model.solver_settings(), config.supervision.segments > 1
    apart = {"tokens": False, "evaluations": kind is not None, "segments": recurrent}
    for axis, values in axes.items():
        if not apart.get(axis, True):
            continue
        for value in values:
            batch = value if axis == "batch" else config.batch
            puzzles = grids(value if axis == "grid" else 9, batch)
            changes: Record = {"batch": batch, "augment": False}
            if axis in ("width", "layers", "evaluations"):
                changes["model"] = _resized(config, axis, value)
            trainer = trainer_of(full_depth(config, **changes), puzzles, clock.device)
            segments = value if axis == "segments" else None
            grown = _grown(trainer, puzzles, clock, segments)
            yield {"axis": axis, "value": value, "batch": batch} | grown


def _resized(config: RunConfig, axis: str, value: int) -> Record:
    """The model with another width, layers, or number of evaluations of every solve."""
    model = config.model.model_dump()
    if axis != "evaluations":
        return model | {axis: value}
    budget = {"tolerance": 1e-30, "max_evaluations": value, "min_evaluations": value}
    return model | {"solver": model["solver"] | budget}


def _grown(trainer: Trainer, puzzles: PuzzleSet, clock: Clock, segments: int | None) -> Record:
    """The numbers of one size: the trainer's net on the puzzles, by the clock.

    segments: evaluated, without a training step; None: one, with it.
    """
    world, count = World(0, 1, clock.device), len(puzzles)
    run = segments or 1

    def evaluate() -> None:
        questions = puzzles.inputs, puzzles.puzzle_ids
        predict(trainer.model, *questions, run, count, world, trainer.config.precision)

    rivals = {"evaluation": evaluate} | ({} if segments else {"step": trainer.advance})
    with peak_memory(clock.device) as memory:
        timings = clock.compare(rivals)
    evaluated = timings["evaluation"].median
    with Meter() as meter:
        evaluate()
    record = {
        "segments": run,
        "seconds_per_evaluated_segment": evaluated / run,
        "flops_per_evaluated_segment": meter.flops / run,
        "evaluated_per_second": count * run / evaluated,
    }
    if segments:
        return record | memory
    with Meter() as meter:
        trainer.advance()
    return record | {
        "seconds_per_step": timings["step"].median,
        "flops_per_step": meter.flops,
        "saved_bytes": meter.saved_bytes,
        **memory,
    }
