"""Runs as their folders tell of them: what each is, where it stands and its best numbers so far."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reasoning.training.logs import RunLog
from reasoning.training.runs import RunError, list_checkpoints, read_config
from scripts.terminal.folders import kind_of

_PUSHED = ("loopbench.json", "model.safetensors")  # what a run is on the hub, beside its settings


def find_runs(folder: Path) -> Iterator[Path]:
    """Every folder with a config.json at or under this one, in order of their names; none within
    another."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        if "config.json" in files:
            folders.clear()
            yield Path(place)


@contextmanager
def reading(run: Path) -> Iterator[None]:
    """RunError, by the run's name, for records of its folder that are not as a run's."""
    try:
        yield
    except RunError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RunError(f"{run}: not as a run's ({error!r})") from error


def describe_run(run: Path) -> dict[str, Any]:
    """What a run is, where it stands and the best of its held-out scores.

    state: finished; stopped (it has a checkpoint to resume from, and may be running now); begun (it
    has none yet); imported (weights that others trained, of no step); pulled (files of the hub, of
    the step that they were pushed at, no run to go on with); unreadable, with a `reason`.
    best, last: `name`, `value`, `stderr` and `n` of a held-out score and the `step` it is of: exact
    of puzzles, of text the loss in nats per token at the model's own budget. None before the first.
    """
    row: dict[str, Any] = {"run": str(run)}
    try:
        with reading(run):
            _describe(run, row)
    except (RunError, OSError) as error:
        row |= {"state": "unreadable", "reason": str(error)}
    return row


def _describe(run: Path, row: dict[str, Any]) -> None:
    """Fill a row; what was read before a fault stays in it."""
    kind, record = kind_of(run), read_config(run)
    config = record["config"]
    language = kind == "language run"
    steps = config["steps"]
    row |= {"preset": config["preset"], "seed": config["seed"], "steps": steps}
    row["task"] = "language" if language else f"{record['grid']['kind']} {_size(record)}"
    log = RunLog(run)
    lines = log.learned() if log.exists else []
    split = "validation" if language else "test"
    held_out = [_score(line, language) for line in lines if line["split"] == split]
    scores = [score for score in held_out if score is not None]
    choose = min if language else max
    row["best"] = choose(scores, key=lambda score: score["value"]) if scores else None
    row["last"] = scores[-1] if scores else None
    row |= _standing(run, record, steps)
    row["logged"] = max((line["step"] for line in lines), default=0)
    newest = max(
        path.stat().st_mtime for path in (run / "config.json", log.learned_in) if path.exists()
    )
    row["written"] = datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds")


def _size(record: dict[str, Any]) -> str:
    side = record["grid"]["size"]
    return f"{side}x{side}"


def _standing(run: Path, record: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """The state of a run that can be read, and the step of its weights."""
    saved = list_checkpoints(run)
    if not saved and all((run / name).is_file() for name in _PUSHED):
        pushed = json.loads((run / _PUSHED[0]).read_text())
        return {"state": "pulled", "step": pushed["step"]}
    if not record["config"].get("data", "a corpus"):
        return {"state": "imported", "step": None}
    step = int(saved[-1].name.removeprefix("step-")) if saved else 0
    state = "finished" if step >= steps else "stopped" if step else "begun"
    return {"state": state, "step": step}


def _score(line: dict[str, Any], language: bool) -> dict[str, Any] | None:
    """The held-out score in a line of the log; None of another budget, or where it is no number."""
    if not language:
        return {"name": "exact", "step": line["step"]} | _renamed(line["exact"])
    if line["max_evaluations"] is not None or line["loss"] is None:
        return None
    spread = {"stderr": line["stderr"], "n": line["tokens"]}
    return {"name": "loss", "step": line["step"], "value": line["loss"]} | spread


def _renamed(score: dict[str, float]) -> dict[str, float]:
    return {"value": score["mean"], "stderr": score["stderr"], "n": score["n"]}
