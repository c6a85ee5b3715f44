"""Models by the names that a person gives them: folders of runs, weights that ship, the hub."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from puzzles.difficulty import at_level
from puzzles.errors import DataError
from puzzles.kinds import puzzle_of
from puzzles.sudoku.well_known import WELL_KNOWN
from reasoning.training.distribution import World
from scripts.runs.hub_names import PREFIX
from scripts.runs.pretrained import load_packaged, load_pretrained, shipped
from scripts.runs.session import TrainedRun, open_run
from scripts.terminal.choices import PACKAGED


def open_weights(run: Path | str, size: Callable[[], int], world: World) -> TrainedRun:
    """A run by its folder, or by a file that `package` wrote; as text, also by hub:USER/NAME, or by
    a task that weights ship for, those of a size. RunError for what cannot be read."""
    if isinstance(run, str) and not run.startswith(PREFIX) and run not in shipped():
        run = Path(run)
    if isinstance(run, Path):
        return (load_packaged if run.suffix == PACKAGED else open_run)(run, world)
    return _of_hub(run, world) if run.startswith(PREFIX) else load_pretrained(run, size(), world)


def _of_hub(name: str, world: World) -> TrainedRun:
    from scripts.runs.hub import load_hub

    return load_hub(name.removeprefix(PREFIX), world)


def open_models(
    runs: Sequence[str], pretrained: Sequence[str], world: World
) -> dict[str, TrainedRun]:
    """Runs by folder, and by name the weights of hub:USER/NAME or of a task, of every size there
    are any for. RunError for what cannot be read."""
    models = {run: open_run(Path(run), world) for run in runs}
    for name in pretrained:
        if name.startswith(PREFIX):
            models[name] = _of_hub(name, world)
            continue
        for size in reversed(shipped()[name]):
            label = f"{name} {size}x{size} (ships with loopbench)"
            models[label] = load_pretrained(name, size, world)
    return models


def models_for(models: Mapping[str, TrainedRun], text: str) -> list[str]:
    """The models that a puzzle's characters are of the kind and size of. DataError for none."""
    faults = []
    for kind, size in dict.fromkeys((run.kind, run.size) for run in models.values()):
        try:
            if len(puzzle_of(kind).parse(text, size)) == size * size:
                return [n for n, run in models.items() if (run.kind, run.size) == (kind, size)]
            faults.append(f"it is no {kind} {size}x{size}")
        except DataError as error:
            faults.append(str(error))
    raise DataError(f"no model here answers this puzzle: {faults[0]}")


def example(run: TrainedRun) -> str:
    """A puzzle's text to begin with."""
    if (run.kind, run.size) == ("sudoku", 9):
        return next(iter(WELL_KNOWN.values()))
    return text_of(run.kind, at_level(run.kind, run.size, "easy", 0).inputs[0])


def text_of(kind: str, question: np.ndarray) -> str:
    """A question (L,) as a person would paste it."""
    return puzzle_of(kind).written(question)
