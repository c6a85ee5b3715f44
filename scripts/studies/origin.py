"""What made the runs of a comparison, as names and texts."""

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reasoning.training.runs import read_environment
from scripts.models.labels import settings
from scripts.models.presets import RunConfig
from scripts.reports.html_report import Table
from scripts.reports.report import Row
from scripts.runs.recorded import load_config
from scripts.terminal.config_files import to_yaml


def origin(rows: Sequence[Row], data: Mapping[str, str]) -> dict[str, str]:
    """When, by which commands, on which data, with which steps and rates, on which machine.

    data: what lies in the folders that the runs were scored on, by path.
    """
    environments = [(row, read_environment(row.folder)) for row in rows]
    configured = _configured(rows)

    def recorded(name: str) -> str:
        return "; ".join(_unique(str(known[name]) for _, known in environments if known.get(name)))

    commands = [command_line(known["command"]) for _, known in environments if known.get("command")]
    facts = {
        "date": _span(known["date"] for _, known in environments if known.get("date")),
        "command": "; ".join(_unique(commands)),
        "data": "; ".join(f"{path}: {what}" for path, what in data.items()),
        "steps": _by_model((label, f"{c.steps:,}") for label, c in configured),
        "batch": _by_model((label, f"{c.batch:,}") for label, c in configured),
        "learning rate": _by_model((label, _rate(c.optimizer)) for label, c in configured),
        "recipe": _by_model((label, _recipe(c)) for label, c in configured),
        **{name: recorded(name) for name in ("commit", "cpu", "gpu", "python")},
        "torch": "; ".join(
            _unique(
                known["packages"]["torch"] for _, known in environments if known.get("packages")
            )
        ),
        "this report": f"{_minute(datetime.now(UTC))}, by {command_line(sys.argv)}",
    }
    return {name: text for name, text in facts.items() if text}


def settings_apart(rows: Sequence[Row]) -> Table:
    """The settings in which the models differ, a row each; a dash where a model has none such."""
    models: dict[str, dict[str, Any]] = {}
    for label, config in _configured(rows):
        models.setdefault(label, settings(config))  # of its first run
    names = dict.fromkeys(name for values in models.values() for name in values)
    table = []
    for name in names:
        values = [_text(values[name]) if name in values else "-" for values in models.values()]
        if len(set(values)) > 1:
            table.append([name, *values])
    return Table(["setting", *models], table)


def _text(value: Any) -> str:
    """A setting as a cell of a table; of stages, what each of them sets."""
    if isinstance(value, dict):
        return " ".join(f"{name} {_text(v)}" for name, v in value.items() if v is not None)
    if isinstance(value, list):
        apart = "; " if any(isinstance(v, dict) for v in value) else ", "
        return apart.join(map(_text, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def recipes(rows: Sequence[Row]) -> dict[str, str]:
    """Every model's configuration as `train --config` reads it, of its first run."""
    by_label: dict[str, str] = {}
    for label, config in _configured(rows):
        by_label.setdefault(label, to_yaml(config.model_copy(update={"data": ""})))
    return by_label


def _configured(rows: Sequence[Row]) -> list[tuple[str, RunConfig]]:
    return [
        (row.label, load_config(row.folder)[0])
        for row in rows
        if (row.folder / "config.json").exists()
    ]


def _minute(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _span(dates: Iterable[str]) -> str:
    """When the first and the last of the runs began."""
    times = sorted(map(datetime.fromisoformat, dates))
    return " to ".join(_unique(map(_minute, (times[0], times[-1])))) if times else ""


def command_line(words: Sequence[str]) -> str:
    """Words of a command as they are typed in a checkout's folder, without the place of Python."""
    program = Path(words[0])
    first = [program.name]
    if program.suffix == ".py" and "scripts" in program.parts:  # as python -m was given it
        inside = program.with_suffix("").parts[program.parts.index("scripts") :]
        first = ["python", "-m", ".".join(part for part in inside if part != "__main__")]
    return shlex.join([*first, *words[1:]])


def _rate(optimizer: Any) -> str:
    return f"{optimizer.lr:g} after {optimizer.warmup:,} steps of warm-up"


def _recipe(config: RunConfig) -> str:
    """What trains a model, in a line; its whole configuration says the rest."""
    optimizer, supervision = config.optimizer, config.supervision
    depth = f"segments a puzzle: at most {supervision.segments}"
    if supervision.curriculum:
        stages = (f"{s.segments} until {100 * s.until:g} %" for s in supervision.curriculum)
        depth += f" ({', '.join(stages)} of the steps)"
    return (
        f"{optimizer.name} at a {optimizer.schedule} rate, weight decay {optimizer.weight_decay:g},"
        f" {config.loss.cells} loss, {depth}, weights averaged at {config.ema.decay:g}"
    )


def _by_model(values: Iterable[tuple[str, str]]) -> str:
    """One text where all models share it, else each with the models it is of."""
    models: dict[str, list[str]] = {}
    for label, text in values:
        models.setdefault(text, []).append(label)
    if len(models) < 2:
        return "".join(models)
    return "; ".join(f"{text} ({', '.join(_unique(of))})" for text, of in models.items())


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
