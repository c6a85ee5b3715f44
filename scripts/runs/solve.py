"""`loopbench solve`: answer one puzzle with a trained run, or with the weights that ship."""

import math
from pathlib import Path

import numpy as np
from rich.console import Console

from puzzles.errors import DataError
from puzzles.kinds import puzzle_of
from puzzles.metrics import is_valid
from puzzles.render import to_text
from reasoning.training.distribution import join_world
from reasoning.training.evaluation import predict
from scripts.runs.hub_names import PREFIX
from scripts.runs.pretrained import load_pretrained
from scripts.runs.session import TrainedRun, not_finite, open_run
from scripts.terminal.choices import Device


def size_of(text: str, kind: str) -> int:
    """Cells along a side of the puzzle. DataError unless it is square."""
    cells = puzzle_of(kind).cells_in(text)
    size = math.isqrt(cells)
    if not cells or size * size != cells:
        raise DataError(f"the puzzle has {cells} cells, which make no square")
    return size


def tokens_of(text: str, run: TrainedRun) -> np.ndarray:
    """The puzzle as tokens (1, L). DataError unless it is one of the run's kind and size."""
    puzzle = puzzle_of(run.kind)
    tokens = puzzle.parse(text, run.size)
    if len(tokens) != run.size**2:
        raise DataError(
            f"the {run.kind} has {len(tokens)} cells, {run.folder} was trained on {run.size**2}"
        )
    fault = puzzle.unanswerable(tokens)
    if fault is not None:
        raise DataError(fault)
    return tokens[None]


def answer(text: str, run: Path | str, segments: int | None, device: Device) -> int:
    """Print the answer of a run, of the weights that ship for a task, or of hub:USER/NAME, to a
    puzzle's characters; 0 if it keeps the rules, 1 if it breaks one."""
    world = join_world(device)
    if isinstance(run, str) and run.startswith(PREFIX):
        from scripts.runs.hub import load_hub

        trained = load_hub(run.removeprefix(PREFIX), world)
    elif isinstance(run, str):
        trained = load_pretrained(run, size_of(text, run), world)
    else:
        trained = open_run(run, world)
    inputs = tokens_of(text, trained)
    count = segments or trained.config.supervision.segments
    console = Console(highlight=False)
    warning = puzzle_of(trained.kind).ambiguity(inputs[0])
    if warning is not None:
        console.print(f"warning: {warning}", soft_wrap=True)
    ids = np.zeros(1, dtype=np.int32)
    said = predict(trained.model, inputs, ids, count, 1, world, trained.config.precision)
    if not said.finite.all():
        raise not_finite(trained)
    answered = said.tokens[-1]
    valid = bool(is_valid(trained.kind, inputs, answered)[0])
    console.print(to_text(trained.kind, answered[0], inputs[0]))
    verdict = "valid: every rule holds"
    if not valid:
        broken = puzzle_of(trained.kind).broken(inputs[0], answered[0])
        more = f" (and {len(broken) - 1} more broken rules)" if len(broken) > 1 else ""
        verdict = f"NOT valid: {broken[0].rule}{more}"
    residual = said.diagnostics.get("residual")
    if residual is not None:
        verdict += f"; residual {residual[-1, 0]:.2g} after segment {count}"
    console.print(f"{verdict}; {int(said.net_calls[0])} net calls")
    return 0 if valid else 1
