"""`loopbench export`: a run on puzzles as ONNX or torch.export files, compared with the run.

OUT/map.onnx  OUT/heads.onnx  OUT/solve.onnx    (.pt2 with --to torch); see `exported`

Every file holds its metadata: format, versions, the run's configuration and what was measured. A
file is written only if its values are the run's to within TOLERANCE, in batches of several sizes;
after one segment, which amplifies a difference in rounding, to within twice what the run's own is
if that is more (ten times TOLERANCE at most). The whole solve is compared as well, and its
difference recorded, but not judged: where a map does not contract, segments amplify it without end.
"""

import copy
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from puzzles.kinds import puzzle_of
from reasoning.nn.reasoner import Reasoner
from reasoning.supervision import Depth, infer
from reasoning.training.distribution import join_world
from reasoning.training.runs import environment, make_folder
from scripts.exchange.exported import Cycle, Program, programs
from scripts.runs.session import TrainedRun, open_run
from scripts.terminal.choices import Target
from scripts.terminal.console import Console

TOLERANCE = 1e-5  # of |theirs - ours| / max(1, |ours|)
BATCHES = (1, 2, 7)

# A program run on named arguments, all of them its own: what it returns, in order.
Call = Callable[[dict[str, Tensor]], Sequence[Any]]


@dataclass(frozen=True)
class Compared:
    """The largest difference of the values of map, heads, one segment and the whole solve from the
    model's, relative where a value is above 1; rounding: of the model's segment from its own in
    float64; answers: share of cells that a solve answers alike.
    """

    map: float
    heads: float
    segment: float
    rounding: float
    solve: float
    answers: float

    def too_far(self) -> str | None:
        """What differs by more than is allowed; None: nothing."""
        segment = min(max(TOLERANCE, 2 * self.rounding), 10 * TOLERANCE)
        for name, allowed in (("map", TOLERANCE), ("heads", TOLERANCE), ("segment", segment)):
            if not getattr(self, name) <= allowed:
                return f"{name} differs by {getattr(self, name):.2g} (allowed: {allowed:.2g})"
        return None


@torch.no_grad()
def compare(model: Reasoner, calls: dict[str, Call], segments: int, seed: int = 0) -> Compared:
    """Compare programs with their model on random puzzles of each of BATCHES, from states that a
    segment has left.

    calls: the programs `map`, `heads` and `solve` by name; segments: of a whole solve, 1 or more;
    seed: of the puzzles' tokens.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = model.shape
    worst = dict.fromkeys(("map", "heads", "segment", "rounding", "solve"), 0.0)
    alike, exact = [], copy.deepcopy(model).double()

    def take(name: str, theirs: Sequence[Any], ours: Sequence[Tensor]) -> None:
        worst[name] = max(worst[name], *map(_difference, theirs, ours))

    for batch in BATCHES:
        cells = (batch, shape.cells)
        inputs = torch.randint(1, shape.vocabulary, cells, generator=generator)
        puzzle = {"inputs": inputs, "puzzle_ids": torch.arange(batch) % shape.puzzles}
        outputs = list(infer(model, *puzzle.values(), segments, Depth()))
        state = outputs[0].state
        cycled, read = Cycle(model)(*puzzle.values(), *state), model.decode(state[0])
        wide = next(infer(exact, *puzzle.values(), 1, Depth()))
        take("rounding", (outputs[0].logits, outputs[0].q), (wide.logits, wide.q))
        given = puzzle | dict(zip(model.names, state, strict=True))
        take("map", calls["map"](given), cycled)
        take("heads", calls["heads"]({"y": state[0]}), read)
        for name, output in (("segment", outputs[0]), ("solve", outputs[-1])):
            count = torch.tensor(1 if name == "segment" else segments)
            theirs = calls["solve"](puzzle | {"segments": count})
            residual = [output.diagnostics[key] for key in ("residual",) if len(theirs) == 3]
            take(name, theirs, (output.logits, output.q, *residual))
        answers = np.asarray(theirs[0]).argmax(-1) == outputs[-1].logits.argmax(-1).numpy()
        alike.append(answers.ravel())
    return Compared(**worst, answers=float(np.concatenate(alike).mean()))


def _difference(theirs: Any, ours: Tensor) -> float:
    """Infinite where theirs is no number."""
    expected = ours.detach().numpy().astype(np.float64)
    gap = np.abs(np.asarray(theirs, dtype=np.float64) - expected) / np.maximum(1, np.abs(expected))
    return float(np.nan_to_num(gap, nan=np.inf).max())


def describe_run(run: TrainedRun, compared: Compared) -> dict[str, str]:
    """What a file says of itself, whatever its format."""
    return {
        "loopbench": metadata.version("loopbench"),
        "commit": environment()["commit"] or "",
        "torch": torch.__version__,
        "task": run.kind,
        "size": str(run.size),
        "tokens": puzzle_of(run.kind).characters(run.size),
        "segments": str(run.config.supervision.segments),
        "step": str(run.step),
        "config": json.dumps(run.config.model_dump(mode="json", exclude={"data"})),
        "difference": json.dumps(vars(compared)),
    }


Files = dict[str, Callable[[Path, dict[str, str]], None]]  # writes one, with its metadata


def _onnx(model: Reasoner) -> tuple[dict[str, Call], Files, dict[str, str]]:
    import onnx

    from scripts.exchange.exported_onnx import DECOMPOSITIONS, OPSET, session, to_onnx

    models = {name: to_onnx(each) for name, each in programs(model, DECOMPOSITIONS).items()}

    def call(model: onnx.ModelProto) -> Call:
        running = session(model)
        return lambda given: running({name: value.numpy() for name, value in given.items()})

    def write(model: onnx.ModelProto, path: Path, facts: dict[str, str]) -> None:
        onnx.helper.set_model_props(model, facts)
        path.write_bytes(model.SerializeToString())

    versions = {name: metadata.version(name) for name in ("onnx", "onnxscript", "onnxruntime")}
    return (
        {name: call(each) for name, each in models.items()},
        {f"{name}.onnx": partial(write, each) for name, each in models.items()},
        versions | {"opset": str(OPSET)},
    )


def _torch(model: Reasoner) -> tuple[dict[str, Call], Files, dict[str, str]]:
    traced = programs(model)

    def call(program: Program) -> Call:
        module = program.traced.module()
        return lambda given: module(*(given[name] for name in program.inputs))

    def write(program: Program, path: Path, facts: dict[str, str]) -> None:
        names = {"inputs": program.inputs, "outputs": program.outputs}
        with path.open("wb") as file:
            torch.export.save(
                program.traced, file, extra_files={"loopbench.json": json.dumps(facts | names)}
            )

    return (
        {name: call(each) for name, each in traced.items()},
        {f"{name}.pt2": partial(write, each) for name, each in traced.items()},
        {},
    )


def export(run: Path, to: Target, out: Path | None = None) -> int:
    """Write the programs of a run; 1, and nothing written, where they differ from it.

    out: folder to write to; none: RUN/onnx or RUN/torch.
    """
    opened = open_run(run, join_world("cpu"))
    opened.model.requires_grad_(False)  # nor do the outputs of who loads it
    out = run / to if out is None else out
    make_folder(out)
    calls, files, versions = (_onnx if to == "onnx" else _torch)(opened.model)
    segments = opened.config.supervision.segments
    compared = compare(opened.model, calls, segments)
    if (fault := compared.too_far()) is not None:
        print(
            f"loopbench: {run}: exported, its {fault} from the run's; nothing was written",
            file=sys.stderr,
        )
        return 1
    for name, write in files.items():
        unfinished = out / f".{name}.partial"
        write(unfinished, describe_run(opened, compared) | versions)
        os.replace(unfinished, out / name)
    Console(highlight=False).print(
        f"wrote {', '.join(files)} to {out}; from the run they differ by {compared.map:.1g}, "
        f"{compared.heads:.1g} and, after one segment, {compared.segment:.1g}; after {segments} "
        f"by {compared.solve:.1g}, with {100 * compared.answers:.4g} % of the cells answered alike",
        soft_wrap=True,
    )
    return 0
