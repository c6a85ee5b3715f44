"""Puzzles of a comparison as pictures: one being solved, the hardest solved, the easiest failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from puzzles.puzzle_set import PuzzleSet
from puzzles.render import to_png
from reasoning.training.distribution import World
from scripts.models.variants import file_name
from scripts.runs.evaluate import Evaluated
from scripts.runs.recording import Recording, recorded, search_one
from scripts.runs.search_plan import Plan
from scripts.runs.session import TrainedRun

SHOWN = (1, 2, 4)  # segments in the picture of one being solved, before the last


@dataclass(frozen=True)
class Pictured:
    """What pictures need of a run: its puzzles, its scores, and one puzzle being solved.

    puzzle: of the set; settled: the segment from which on its answer is right, 0 if it ends wrong;
    answers: tokens (S, L), what the run answers it after every segment;
    recording: of the same, one candidate, under the name of the run's preset.
    """

    puzzles: PuzzleSet
    scored: Evaluated
    puzzle: int
    settled: int
    answers: np.ndarray
    recording: Recording


def pictured(run: TrainedRun, puzzles: PuzzleSet, scored: Evaluated, world: World) -> Pictured:
    """A run's scores with the puzzle whose solving shows most, answered once more.

    puzzles: those that it was scored on; scored: what came of it; world: this process, on whose
    device the run's model is.
    """
    puzzle, settled = telling_puzzle(scored.right_after)
    question, segments = puzzles.inputs[puzzle], scored.right_after.shape[1]
    which, plan = int(puzzles.puzzle_ids[puzzle]), Plan()
    trajectories = search_one(run, question, segments, plan, world, which)
    recording = recorded(run, run.config.preset, question, trajectories, plan)
    return Pictured(puzzles, scored, puzzle, settled, trajectories.tokens[0, 0], recording)


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


def caption(name: str, shown: Pictured) -> str:
    """A sentence on the puzzle that a model was pictured with."""
    settled, puzzles = shown.settled, shown.puzzles
    outcome = f"right from segment {settled} on" if settled else "never right for good"
    which = f"Held-out puzzle {shown.puzzle + 1} of {len(puzzles.inputs)}"
    return f"{which}, answered by {name}: {outcome}."


def draw_solving(shown: Pictured, path: Path) -> None:
    """Draw the puzzle after some of the segments: blue cells are as in the answer, red not."""
    settled, puzzles = shown.settled, shown.puzzles
    last = settled or len(shown.answers)
    chosen = [*(s for s in SHOWN if s < last), last]
    question, answer = puzzles.inputs[shown.puzzle], puzzles.labels[shown.puzzle]
    panels = [("puzzle", question)]
    panels += [(f"after segment {s}", shown.answers[s - 1]) for s in chosen]
    to_png(puzzles.kind, panels, path, given=question, label=answer)


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
