"""What the page of `loopbench demo` answers to what is asked of it: values for its parts.

What is asked is bounded: characters, segments, candidates.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
from pydantic import ValidationError

from puzzles.difficulty import at_level
from puzzles.errors import DataError
from puzzles.kinds import puzzle_of
from puzzles.puzzle_set import PuzzleSet
from puzzles.sudoku.well_known import WELL_KNOWN
from reasoning.errors import InputError
from reasoning.training.distribution import World
from scripts.reports.solve_player import MOST_CANDIDATES, MOST_SEGMENTS, element
from scripts.runs.opened import example, text_of
from scripts.runs.recording import record
from scripts.runs.search_plan import Plan
from scripts.runs.session import TrainedRun
from scripts.runs.solve import tokens_of

LONGEST = 5000  # characters of a puzzle
NONE = "none"  # of a second model


@dataclass(frozen=True)
class Options:
    """What the page begins with. segments: none: as the model was configured."""

    segments: int | None = None
    breadth: int = 1
    symmetries: int = 1


@dataclass(frozen=True)
class Answers:
    """Models by name, and what is asked of them. published: puzzles to load by number."""

    models: Mapping[str, TrainedRun]
    world: World
    options: Options
    published: PuzzleSet | None

    def numbered(self, name: str) -> int:
        """How many puzzles can be loaded by number for a model: 0 where they are of another kind
        or size."""
        fits = self.published is not None and _same(self.models[name], self.published)
        return len(self.published) if fits else 0

    def others(self, name: str) -> list[str]:
        """None, and the other models of the same puzzles."""
        run = self.models[name]
        same = [o for o, other in self.models.items() if o != name and _same(run, other)]
        return [NONE, *same]

    def well_known(self, name: str) -> list[str]:
        run = self.models[name]
        return list(WELL_KNOWN) if (run.kind, run.size) == ("sudoku", 9) else []

    def segments(self, name: str) -> int:
        return self.options.segments or self.models[name].config.supervision.segments

    def puzzle(self, name: str, text: str | None = None) -> tuple[str, str]:
        """A puzzle as text and as drawn; none: one that is known or made."""
        run = self.models[name]
        text = example(run) if text is None else text
        return text, _grid(run, text)

    def choose(self, name: str) -> list[Any]:
        """All that another model changes: the puzzle, what can be loaded, the second model, the
        segments, and nothing said or shown yet."""
        known, others = self.well_known(name), self.others(name)
        return [
            *self.puzzle(name),
            gr.update(choices=known, value=None, visible=bool(known)),
            gr.update(visible=self.numbered(name) > 0),
            gr.update(choices=others, value=NONE, visible=len(others) > 1),
            self.segments(name),
            "",
            "",
        ]

    def generate(self, name: str, level: str) -> tuple[str, str, str]:
        run, seed = self.models[name], secrets.randbelow(2**31)
        part = at_level(run.kind, run.size, level, seed)
        hard = "" if part.difficulty is None else f"{part.difficulty[0]:.3g} {part.difficulty_name}"
        told = alert(f"Generated, {level}: {hard or 'no measure'}")
        return *self.puzzle(name, text_of(run.kind, part.inputs[0])), told

    def load(self, name: str, chosen: str | None) -> tuple[str, str]:
        return self.puzzle(name, None if chosen is None else WELL_KNOWN.get(chosen))

    def load_row(self, name: str, row: float | None) -> tuple[Any, Any, str]:
        count = self.numbered(name)
        if self.published is None or not 0 <= (row or 0) < count:
            told = f"There is no puzzle {row}; they are numbered 0 to {count - 1}."
            return gr.skip(), gr.skip(), alert(told)
        question = self.published.inputs[int(row or 0)]
        return *self.puzzle(name, text_of(self.models[name].kind, question)), ""

    def solve(
        self, text: str, name: str, beside: str, segments: float, breadth: float, images: float
    ) -> tuple[str, str]:
        """What is to be told and shown, both as markup.

        text: the puzzle's characters; name: of a model; beside: of a second one, or NONE; segments,
        breadth, images: how many segments, starts and images, whole numbers as a slider gives them.
        """
        try:
            plan = Plan(breadth=int(breadth), symmetries=int(images))
            return self._solved(text, (name, beside), int(segments), plan)
        except (DataError, InputError, ValidationError) as error:
            return alert(str(error)), ""

    def _solved(
        self, text: str, names: Sequence[str], segments: int, plan: Plan
    ) -> tuple[str, str]:
        if len(text) > LONGEST:
            raise DataError(f"the puzzle has {len(text)} characters; at most {LONGEST} are read")
        if not 1 <= segments <= MOST_SEGMENTS:
            raise DataError(f"{segments} segments; 1 to {MOST_SEGMENTS} are run here")
        if plan.candidates > MOST_CANDIDATES:
            raise DataError(
                f"{plan.breadth} starts of {plan.symmetries} images are {plan.candidates} "
                f"candidates; at most {MOST_CANDIDATES} are run here"
            )
        asked = [(name, self.models[name]) for name in names if name in self.models]
        first = asked[0][1]
        puzzle = tokens_of(text, first)
        shown = [
            record(run, name, puzzle, segments, plan, self.world).model_dump(mode="json")
            for name, run in asked
            if _same(run, first)
        ]
        warning = puzzle_of(first.kind).ambiguity(puzzle)
        return "" if warning is None else alert(f"Warning: {warning}"), element(shown)


def alert(sentence: str) -> str:
    """A sentence to the reader, as markup."""
    return f'<p role="alert">{escape(sentence)}</p>'


def _grid(run: TrainedRun, text: str) -> str:
    """What <loopbench-grid> draws: the puzzle, and what it may be drawn with."""
    puzzle = puzzle_of(run.kind)
    palette = puzzle.palette(run.size)
    cells = palette[0][0] * run.size**2
    if text:
        cells = "".join(puzzle.characters(run.size)[t] for t in puzzle.parse(text, run.size))
    look = {"kind": run.kind, "size": run.size, "box": puzzle.box(run.size)}
    return json.dumps(look | {"cells": cells, "palette": palette})


def _same(run: TrainedRun, other: TrainedRun | PuzzleSet) -> bool:
    return (run.kind, run.size) == (other.kind, other.size)
