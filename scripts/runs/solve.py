"""`loopbench solve`: answer one puzzle with a trained run, or with the weights that ship."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from puzzles.errors import DataError
from puzzles.kinds import puzzle_of
from puzzles.metrics import is_valid
from puzzles.render import to_text
from reasoning.names import Device
from reasoning.training.distribution import join_world
from reasoning.training.evaluation import predict
from scripts.runs.hub_names import PREFIX
from scripts.runs.pretrained import load_packaged, load_pretrained
from scripts.runs.session import TrainedRun, not_finite, open_run
from scripts.terminal.choices import PACKAGED
from scripts.terminal.console import Console


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


@dataclass(frozen=True)
class Solved:
    """A puzzle and what a model says of it; printed, the last answer and whether it is right.

    question: uint8 (L,); answers: uint8 (segments, L), after each segment; valid: whether the last
    keeps every rule; residual: (segments,), None of a model that solves nothing; net_calls: made in
    all; warning: why the puzzle has more than one answer, if it has.
    """

    kind: str
    question: np.ndarray
    answers: np.ndarray
    valid: bool
    residual: np.ndarray | None
    net_calls: int
    warning: str | None

    def __str__(self) -> str:
        verdict = "valid: every rule holds"
        if not self.valid:
            broken = puzzle_of(self.kind).broken(self.question, self.answers[-1])
            more = f" (and {len(broken) - 1} more broken rules)" if len(broken) > 1 else ""
            verdict = f"NOT valid: {broken[0].rule}{more}"
        if self.residual is not None:
            verdict += f"; residual {self.residual[-1]:.2g} after segment {len(self.residual)}"
        grid = to_text(self.kind, self.answers[-1], self.question)
        return f"{grid}\n{verdict}; {self.net_calls} net calls"


def solve(
    puzzle: str, run: Path | str, segments: int | None = None, device: Device = "auto"
) -> Solved:
    """What a trained run says of a puzzle's characters.

    run: its folder, or a file that `package` wrote, as a Path; or, as a string, a task that weights
    ship for, or hub:USER/NAME.
    segments: None: as the run was configured. DataError for what is no puzzle of the run's kind and
    size, and RunError for weights that give no number.
    """
    world = join_world(device)
    if isinstance(run, Path):
        trained = (load_packaged if run.suffix == PACKAGED else open_run)(run, world)
    elif run.startswith(PREFIX):
        from scripts.runs.hub import load_hub

        trained = load_hub(run.removeprefix(PREFIX), world)
    else:
        trained = load_pretrained(run, size_of(puzzle, run), world)
    inputs = tokens_of(puzzle, trained)
    count = segments or trained.config.supervision.segments
    ids = np.zeros(1, dtype=np.int32)
    predictions = predict(trained.model, inputs, ids, count, 1, world, trained.config.precision)
    if not predictions.finite.all():
        raise not_finite(trained)
    residual = predictions.diagnostics.get("residual")
    return Solved(
        kind=trained.kind,
        question=inputs[0],
        answers=predictions.tokens[:, 0],
        valid=bool(is_valid(trained.kind, inputs, predictions.tokens[-1])[0]),
        residual=None if residual is None else residual[:, 0],
        net_calls=int(predictions.net_calls[0]),
        warning=puzzle_of(trained.kind).ambiguity(inputs[0]),
    )


def answer(text: str, run: Path | str, segments: int | None, device: Device) -> int:
    """Print what `solve` says; 0 if it keeps the rules, 1 if it breaks one."""
    solved = solve(text, run, segments, device)
    console = Console(highlight=False)
    if solved.warning is not None:
        console.print(f"warning: {solved.warning}", soft_wrap=True)
    console.print(str(solved), soft_wrap=True)
    return 0 if solved.valid else 1
