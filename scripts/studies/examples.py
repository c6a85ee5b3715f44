"""Puzzles of a comparison as pictures: one being solved, the hardest solved, the easiest failed."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from puzzles.puzzle_set import PuzzleSet
from puzzles.render import to_png
from reasoning.randomness import content_seeds
from reasoning.search import SearchConfig, search
from reasoning.training.distribution import World
from reasoning.training.evaluation import autocast
from scripts.models.variants import file_name
from scripts.reports.html_report import Frame, Solve
from scripts.runs.evaluate import Evaluated
from scripts.runs.session import TrainedRun

SHOWN = (1, 2, 4)  # segments in the picture of one being solved, before the last


@dataclass(frozen=True)
class Pictured:
    """What pictures need of a run: its puzzles, its scores, and one puzzle being solved.

    puzzle: of the set; settled: the segment from which on its answer is right, 0 if it ends wrong;
    trajectory: uint8 (S, C), the answer to it after each segment; residual, halt: (S,), as in
    `search.Trajectories`.
    """

    puzzles: PuzzleSet
    scored: Evaluated
    puzzle: int
    settled: int
    trajectory: np.ndarray
    residual: np.ndarray
    halt: np.ndarray


def pictured(run: TrainedRun, puzzles: PuzzleSet, scored: Evaluated, world: World) -> Pictured:
    """A run's scores with the puzzle whose solving shows most, answered once more."""
    segments = scored.right_after.shape[1]
    puzzle, settled = telling_puzzle(scored.right_after)
    question = puzzles.inputs[puzzle : puzzle + 1]
    inputs, ids = (
        torch.from_numpy(values).to(world.device, torch.int64)
        for values in (question, puzzles.puzzle_ids[puzzle : puzzle + 1])
    )
    seeds = content_seeds(torch.from_numpy(question), 0).to(world.device)
    q_learning = run.config.supervision.halting == "q-learning"
    with autocast(world.device, run.config.precision):
        trajectories = search(
            run.model, inputs, ids, seeds, segments, SearchConfig(), 1, q_learning=q_learning
        )
    each = (
        values[0, 0] for values in (trajectories.tokens, trajectories.residual, trajectories.halt)
    )
    return Pictured(puzzles, scored, puzzle, settled, *each)


def telling_puzzle(right_after: np.ndarray) -> tuple[int, int]:
    """(puzzle, segment it is right from) whose solving shows most, of right (N, S): of those that
    are right from some segment on and never before, the first that takes longest. Without one, the
    first of those that end right; (0, 0) if none does."""
    segments = right_after.shape[1]
    stays = right_after[:, ::-1].cumprod(1).sum(1)  # segments at the end that are all right
    settled = np.where(stays > 0, segments - stays + 1, 0)
    steady = right_after.argmax(1) + 1 == settled
    puzzle = int((settled * steady).argmax()) if steady.any() else int((settled > 0).argmax())
    return puzzle, int(settled[puzzle])


def draw_solving(name: str, shown: Pictured, path: Path) -> str:
    """Draw the puzzle that a model was pictured with after some of its segments; returns the
    caption."""
    settled, puzzles = shown.settled, shown.puzzles
    last = settled or len(shown.trajectory)
    chosen = [*(s for s in SHOWN if s < last), last]
    question, answer = puzzles.inputs[shown.puzzle], puzzles.labels[shown.puzzle]
    panels = [("puzzle", question)]
    panels += [(f"after segment {s}", shown.trajectory[s - 1]) for s in chosen]
    to_png(puzzles.kind, panels, path, given=question, label=answer)
    outcome = f"right from segment {settled} on" if settled else "never right for good"
    return (
        f"Held-out puzzle {shown.puzzle + 1} of {len(puzzles.inputs)}, answered by {name}: "
        f"{outcome}. Blue cells are as in the answer, red ones are not."
    )


def recorded_solve(shown: Pictured, caption: str) -> Solve:
    """The same puzzle after every segment, with what each of them did."""
    puzzles, segments = shown.puzzles, len(shown.trajectory)
    question, answer = puzzles.inputs[shown.puzzle], puzzles.labels[shown.puzzle]

    def frame(title: str, tokens: np.ndarray, text: str) -> Frame:
        file = io.BytesIO()
        to_png(puzzles.kind, [(title, tokens)], file, given=question, label=answer)
        return Frame(file.getvalue(), text)

    frames, before = [frame("puzzle", question, "The puzzle, before the first segment.")], question
    for s, (tokens, residual, halt) in enumerate(
        zip(shown.trajectory, shown.residual, shown.halt, strict=True), start=1
    ):
        wrong, changed = (tokens != answer).sum(), (tokens != before).sum()
        text = (
            f"Segment {s} of {segments}: {changed} of {len(tokens)} cells changed, {wrong} not as "
            f"in the answer; residual {residual:.2g}, halting score {halt:+.2f}."
        )
        known = float(residual) if np.isfinite(residual) and residual > 0 else None
        frames.append(replace(frame(f"after segment {s}", tokens, text), residual=known))
        before = tokens
    return Solve(frames, caption, "residual" if shown.scored.solved else "change of y")


def draw_extremes(name: str, shown: Pictured, folder: Path) -> Sequence[tuple[Path, str]]:
    """Pictures of the hardest puzzle that was solved and of the easiest that was not."""
    puzzles, scored = shown.puzzles, shown.scored
    difficulty = puzzles.difficulty
    order = np.arange(len(puzzles.inputs)) if difficulty is None else np.argsort(difficulty)
    solved, failed = order[scored.right[order]][-1:], order[~scored.right[order]][:1]
    folder.mkdir(exist_ok=True)
    pictures = []
    for row, outcome in ((solved, "solved"), (failed, "failed")):
        if not len(row):
            continue
        path = folder / f"{file_name(name)}-{outcome}.png"
        question, answer = puzzles.inputs[row[0]], puzzles.labels[row[0]]
        panels = [("puzzle", question), (outcome, scored.answers[row[0]])]
        to_png(puzzles.kind, panels, path, given=question, label=answer)
        pictures.append((path, f"{name}: {outcome}"))
    return pictures
