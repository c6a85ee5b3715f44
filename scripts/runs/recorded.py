"""What a puzzle run's config.json says, and names for settings; read without torch."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reasoning.training.runs import RunError, read_config
from scripts.models.grids import GridRecord
from scripts.models.presets import RunConfig
from scripts.terminal.folders import expect
from scripts.usage import describe


def load_config(run: Path) -> tuple[RunConfig, dict[str, Any]]:
    """A run's configuration and the record of its grid. RunError if damaged."""
    expect(run, "puzzle run")
    record, place = read_config(run), f"{run}/config.json"
    try:
        grid = {name: record["grid"][name] for name in GridRecord.model_fields}
        config = record["config"]
    except (KeyError, TypeError) as error:
        raise RunError(f"{place}: is not a loopbench run ({error})") from error
    try:
        grid = GridRecord.model_validate(grid).model_dump()
    except ValidationError as error:
        raise RunError(f"{place}: grid: {describe(error)}") from error
    try:
        return RunConfig.model_validate(config), grid
    except ValidationError as error:
        raise RunError(f"{place}: {describe(error)}") from error


def settings_hash(settings: dict[str, Any]) -> str:
    """Names these settings, in 12 hexadecimal digits."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
