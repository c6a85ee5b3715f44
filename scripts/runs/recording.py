"""One solve as a plain record: what a model said of a puzzle after every segment.

The record holds text and numbers alone, so that a page can show it without the model
(`scripts.reports.solve_player`), and JSON can keep it. Grids are the puzzle's characters, one a
cell. Candidates are as in `scripts.runs.selection`: the starts of the question, then those of its
images, told in the question's own cells.
"""

from dataclasses import replace
from functools import partial

import numpy as np
from pydantic import Field
from torch import Tensor

from puzzles.errors import DataError
from puzzles.kinds import puzzle_of
from puzzles.painting import character_of
from puzzles.puzzle_set import PuzzleSet
from reasoning.frozen import Frozen
from reasoning.losses import LossConfig, log_probabilities
from reasoning.nn.reasoner import parameter_count
from reasoning.precision import autocast
from reasoning.search import Trajectories
from reasoning.supervision import Depth
from reasoning.training.distribution import World
from scripts.models.labels import label
from scripts.runs.exploration import candidates_of, search_images
from scripts.runs.search_plan import Plan
from scripts.runs.selection import choose
from scripts.runs.session import TrainedRun, not_finite


class BrokenRule(Frozen):
    """A rule that an answer breaks: a clause, and the cells it is in."""

    rule: str
    cells: tuple[int, ...]


class Said(Frozen):
    """What one candidate said after one segment."""

    answer: str = Field(description="the most likely token of each cell")
    confidence: tuple[int, ...] = Field(description="its probability, in percent")
    residual: float | None = Field(description="relative; none: the solve overflowed")
    halt: float = Field(description="the halting score: positive where the model would halt")
    evaluations: int = Field(description="of the map, by the solver in this segment")
    net_calls: int = Field(description="in this segment; 0: the candidate was at rest before")
    broken: tuple[BrokenRule, ...] = Field(description="none: the answer is right")


class Candidate(Frozen):
    """One start of one image of the question."""

    image: int = Field(description="0: the question itself")
    start: int = Field(description="0: the model's own initial state")
    segments: tuple[Said, ...]


class Recording(Frozen):
    """One solve of one puzzle by one model."""

    kind: str
    size: int = Field(description="cells along a side")
    box: tuple[int, int] = Field(description="rows and columns between strong lines")
    question: str
    free: tuple[int, ...] = Field(description="cells that the question leaves open")
    model: str = Field(description="the run's folder, or the weights' name")
    recipe: str
    parameters: int
    solved: bool = Field(description="whether the residual is a solver's; else the change of y")
    rule: str = Field(description="which candidate answers (`scripts.runs.selection`)")
    chosen: int = Field(description="its place in `candidates`")
    candidates: tuple[Candidate, ...]


def record(
    run: TrainedRun,
    name: str,
    question: np.ndarray,
    segments: int,
    plan: Plan,
    world: World,
    puzzle_id: int = 0,
) -> Recording:
    """Run every candidate of a plan on a question (L,) for so many segments, and keep what each
    said. The first is what `loopbench solve` answers.

    run: whose model answers; name: what the record calls it; world: this process, on whose device
    the model is. See `search_one` for puzzle_id and errors.
    """
    trajectories = search_one(run, question, segments, plan, world, puzzle_id)
    return recorded(run, name, question, trajectories, plan)


def search_one(
    run: TrainedRun,
    question: np.ndarray,
    segments: int,
    plan: Plan,
    world: World,
    puzzle_id: int = 0,
) -> Trajectories:
    """What every candidate of a plan answers to a question (L,) after each of so many segments.

    run: whose model answers; world: this process, on whose device the model is; puzzle_id: the
    puzzle's identifier, for models that embed one; 0 for all in the published sets.

    DataError for more images than the puzzle has; NotFiniteError if a score is NaN.
    """
    puzzle = puzzle_of(run.kind)
    if puzzle.images is not None and plan.symmetries > puzzle.images:
        raise DataError(
            f"a {run.kind} has {puzzle.images} images under its symmetries, not {plan.symmetries}"
        )
    one = PuzzleSet.ungrouped(run.kind, run.size, question[None], question[None])
    one = replace(one, puzzle_ids=np.array([puzzle_id], np.int32))
    believed = partial(_confidence, config=run.config.loss)
    with autocast(world.device, run.config.precision):
        trajectories = search_images(
            run, one, np.zeros(1, int), segments, plan, world, Depth(), confidence=believed
        )
    if any(
        np.isnan(values).any()
        for values in (trajectories.halt, trajectories.residual, trajectories.confidence)
    ):
        raise not_finite(run)
    return trajectories


def recorded(
    run: TrainedRun, name: str, question: np.ndarray, trajectories: Trajectories, plan: Plan
) -> Recording:
    """The record of a question (L,) that `search_one` has answered by this plan.

    run: whose model answered; name: what the record calls it; trajectories: what `search_one` gave.
    """
    puzzle = puzzle_of(run.kind)
    every = candidates_of(run.kind, question[None], trajectories)

    def segment(k: int, s: int) -> Said:
        tokens = trajectories.tokens[0, k, s]
        residual = float(trajectories.residual[0, k, s])
        broken = () if every.valid[0, k, s] else puzzle.broken(question, tokens)
        return Said(
            answer=_characters(run, tokens),
            confidence=tuple(np.rint(100 * trajectories.confidence[0, k, s]).astype(int).tolist()),
            residual=residual if np.isfinite(residual) else None,
            halt=float(trajectories.halt[0, k, s]),
            evaluations=int(every.evaluations[0, k, s]),
            net_calls=int(trajectories.net_calls[0, k, s]),
            broken=tuple(BrokenRule(rule=each.rule, cells=each.cells) for each in broken),
        )

    return Recording(
        kind=run.kind,
        size=run.size,
        box=puzzle.box(run.size),
        question=_characters(run, question),
        free=tuple(np.flatnonzero(_is_free(run.kind, question)).tolist()),
        model=name,
        recipe=_recipe(run),
        parameters=parameter_count(run.model),
        solved=bool(every.evaluations.any()),
        rule=plan.rule,
        chosen=int(choose(plan.rule, every).candidate[0]),
        candidates=tuple(
            Candidate(
                image=k // plan.breadth,
                start=k % plan.breadth,
                segments=tuple(segment(k, s) for s in range(trajectories.tokens.shape[2])),
            )
            for k in range(plan.candidates)
        ),
    )


def _recipe(run: TrainedRun) -> str:
    """The preset, and what of the model differs from it."""
    name, *changed = label(run.config, run.kind, run.shape.cells).split()
    model = [word.removeprefix("model.") for word in changed if word.startswith("model.")]
    return " ".join([name, *model])


def _confidence(logits: Tensor, config: LossConfig) -> Tensor:
    """(B, C): the probability of each cell's most likely token."""
    return log_probabilities(logits, config).amax(-1).exp().float()


def _characters(run: TrainedRun, tokens: np.ndarray) -> str:
    known = puzzle_of(run.kind).characters(run.size)
    return "".join(character_of(int(token), known) for token in tokens)


def _is_free(kind: str, question: np.ndarray) -> np.ndarray:
    """bool (L,): cells that some token may stand in without contradicting the question."""
    puzzle = puzzle_of(kind)
    size = int(np.sqrt(len(question)))
    free = np.zeros(len(question), bool)
    for token in range(1, puzzle.vocabulary(size)):
        other = np.full_like(question, token)
        free |= (other != question) & ~puzzle.contradicts(other, question)
    return free
