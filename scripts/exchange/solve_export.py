"""`loopbench demo --export`: one self-contained page of a recorded solve."""

from collections.abc import Mapping
from pathlib import Path

from reasoning.training.distribution import World
from reasoning.training.runs import write_whole
from scripts.reports.solve_player import page
from scripts.runs.opened import example, models_for
from scripts.runs.recording import record
from scripts.runs.search_plan import Plan
from scripts.runs.session import TrainedRun
from scripts.runs.solve import tokens_of
from scripts.terminal.console import Console
from scripts.usage import UsageError

_MOST = 2  # models on a page


def write_page(
    models: Mapping[str, TrainedRun],
    text: str | None,
    segments: int | None,
    breadth: int,
    symmetries: int,
    world: World,
    path: Path,
) -> None:
    """Solve a puzzle's text (None: one for the first model) by the models of its kind and size, and
    write what they said.

    models: by name, one or more, on `world.device`; segments: of every start, None: as each model
    was configured; breadth, symmetries: starts of every image of the puzzle, and images; world:
    this process; path: the file to write.

    DataError for a puzzle that none of them answers; UsageError if more than two do.
    """
    text = example(next(iter(models.values()))) if text is None else text
    names = models_for(models, text)
    if len(names) > _MOST:
        raise UsageError(f"{', '.join(names)}: all answer this puzzle, and a page holds {_MOST}")
    plan = Plan(breadth=breadth, symmetries=symmetries)
    recordings = []
    for name in names:
        run = models[name]
        count = segments or run.config.supervision.segments
        recordings.append(record(run, name, tokens_of(text, run), count, plan, world))
    one = recordings[0]
    title = f"A {one.kind} {one.size}x{one.size} being solved, segment by segment"
    about = (
        "Recorded by loopbench. Play it, or step with the slider; arrow keys on a grid tell of its "
        "cells."
    )
    write_whole(path, page([each.model_dump(mode="json") for each in recordings], title, about))
    left_out = [name for name in models if name not in names]
    if left_out:
        others = ", ".join(left_out)
        Console(highlight=False).print(f"not of this puzzle: {others}", soft_wrap=True)
    for each in recordings:
        last = each.candidates[each.chosen].segments[-1]
        verdict = "every rule holds" if not last.broken else f"breaks: {last.broken[0].rule}"
        Console(highlight=False).print(f"{each.model}: {verdict}", soft_wrap=True)
    Console(highlight=False).print(f"wrote {path}", soft_wrap=True)
