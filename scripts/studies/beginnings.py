"""How the weights that a run began with were trained: part of what makes the run."""

from pathlib import Path
from typing import Any

from reasoning.training.runs import RunError, read_config
from scripts.models.labels import settings
from scripts.reports.curves import starts
from scripts.runs.recorded import load_config
from scripts.terminal.choices import PACKAGED


def trained_before(run: Path) -> list[dict[str, Any]]:
    """Of each run that a run's weights came from, the last one first: its settings, the puzzles
    that it learned, and the step at which its weights were taken. No seeds, so it is alike for the
    seeds of a recipe. Of one that is not there any more, the step alone; of packaged weights, which
    do not tell their training, the file's name."""
    links, last = [], run
    try:
        for start, step in starts(run):
            config = load_config(start)[0]
            links.append(settings(config) | {"training puzzles": config.data, "step": step})
            last = start
    except RunError:
        begun = read_config(last)["started_from"]
        name = Path(begun["run"]).name
        named = {"file": name} if name.endswith(PACKAGED) else {}
        links.append({"step": begun["step"]} | named)
    return links
