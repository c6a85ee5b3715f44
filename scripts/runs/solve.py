"""`loopbench solve`: answer one puzzle with a trained run, or with the weights that ship."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from puzzles.errors import DataError
from puzzles.kinds import puzzle_of
from puzzles.render import to_text
from reasoning.names import Device
from reasoning.training.distribution import join_world
from scripts.runs.exploration import candidates_of
from scripts.runs.opened import open_weights
from scripts.runs.recording import search_one
from scripts.runs.search_plan import Plan
from scripts.runs.selection import choose
from scripts.runs.session import TrainedRun
from scripts.terminal.console import Console
from scripts.usage import UsageError


def size_of(text: str, kind: str) -> int:
    """Cells along a side of the puzzle. DataError unless it is square."""
    cells = puzzle_of(kind).cells_in(text)
    size = math.isqrt(cells)
    if not cells or size * size != cells:
        raise DataError(f"the puzzle has {cells} cells, which make no square")
    return size


def tokens_of(text: str, run: TrainedRun) -> np.ndarray:
    """The puzzle as tokens (L,). DataError unless it is one of the run's kind and size."""
    puzzle = puzzle_of(run.kind)
    tokens = puzzle.parse(text, run.size)
    if len(tokens) != run.size**2:
        raise DataError(
            f"the {run.kind} has {len(tokens)} cells, {run.folder} was trained on {run.size**2}"
        )
    fault = puzzle.unanswerable(tokens)
    if fault is not None:
        raise DataError(fault)
    return tokens


@dataclass(frozen=True)
class Solved:
    """A puzzle and what a model says of it; printed, the last answer and whether it is right.

    question: uint8 (L,); answers: uint8 (segments, L), after each segment of the start that
    answers; valid: whether the last keeps every rule; residual: (segments,), None of a model that
    solves nothing; net_calls: made in all; warning: why the puzzle has more than one answer, if it
    has; starts: how many were run.
    """

    kind: str
    question: np.ndarray
    answers: np.ndarray
    valid: bool
    residual: np.ndarray | None
    net_calls: int
    warning: str | None
    starts: int = 1

    def __str__(self) -> str:
        verdict = "valid: every rule holds"
        if not self.valid:
            broken = puzzle_of(self.kind).broken(self.question, self.answers[-1])
            more = f" (and {len(broken) - 1} more broken rules)" if len(broken) > 1 else ""
            verdict = f"NOT valid: {broken[0].rule}{more}"
        if self.residual is not None:
            verdict += f"; residual {self.residual[-1]:.2g} after segment {len(self.residual)}"
        grid = to_text(self.kind, self.answers[-1], self.question)
        starts = f", {self.starts} starts" if self.starts > 1 else ""
        return f"{grid}\n{verdict}; {self.net_calls} net calls{starts}"


def solve(
    puzzle: str,
    run: Path | str,
    segments: int | None = None,
    device: Device = "auto",
    starts: int = 1,
) -> Solved:
    """What a trained run says of a puzzle's characters.

    run: its folder, or a file that `package` wrote; or, as a string, a task that weights ship for,
    or hub:USER/NAME. segments: of a start; None: as the run was configured. device: where it
    computes; auto: the best present. starts: at most so many, the model's own first, until one
    claims an answer that stood (`reasoning.search`). DataError for what is no puzzle of the run's
    kind and size, UsageError for several starts of one segment, and RunError for weights that give
    no number.
    """
    world = join_world(device)
    trained = open_weights(run, lambda: size_of(puzzle, str(run)), world)
    question = tokens_of(puzzle, trained)
    count = segments or trained.config.supervision.segments
    if starts > 1 and count < 2:
        raise UsageError("--starts: an answer stands, to be claimed, from the second segment on")
    if puzzle_of(trained.kind).is_valid(question[None], question[None])[0]:
        # It is its own answer. No net was trained on such: it would change what is given.
        return Solved(trained.kind, question, question[None], True, None, 0, None)
    plan = Plan(breadth=starts, until_claimed=starts > 1)
    trajectories = search_one(trained, question, count, plan, world)
    candidates = candidates_of(trained.kind, question[None], trajectories)
    choice = choose(plan.rule, candidates)
    start, last = int(choice.candidate[0]), int(choice.segment[0])
    residual = trajectories.diagnostics.get("residual")
    return Solved(
        kind=trained.kind,
        question=question,
        answers=trajectories.tokens[0, start, : last + 1],
        valid=bool(candidates.valid[0, start, last]),
        residual=None if residual is None else residual[0, start, : last + 1],
        net_calls=int(trajectories.net_calls.sum()),
        warning=puzzle_of(trained.kind).ambiguity(question),
        starts=int(trajectories.ran.sum()),
    )


def answer(
    text: str, run: Path | str, segments: int | None, device: Device, starts: int = 1
) -> int:
    """Print what `solve` says; 0 if it keeps the rules, 1 if it breaks one.

    text: the puzzle's characters; run, segments, device, starts: as in `solve`.
    """
    solved = solve(text, run, segments, device, starts)
    console = Console(highlight=False)
    if solved.warning is not None:
        console.print(f"warning: {solved.warning}", soft_wrap=True)
    console.print(str(solved), soft_wrap=True)
    return 0 if solved.valid else 1
