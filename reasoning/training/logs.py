"""A run's two logs: metrics.jsonl, what it learned, and timing.jsonl, what that took."""

from pathlib import Path
from typing import Any

from reasoning.training.runs import JsonLines


class Logs:
    """Both logs, or nothing where there is no folder. Lines past the step that a run is resumed at
    go."""

    def __init__(self, run: Path | None, resume_step: int | None):
        names = ("metrics.jsonl", "timing.jsonl") if run else ()
        self._files = [JsonLines(run / name, resume_step) for name in names]

    def write(self, split: str, record: dict[str, Any], timing: dict[str, Any]) -> None:
        """A line of each, of the step in `record`."""
        lines = (record, {"step": record["step"]} | timing)
        for file, line in zip(self._files, lines, strict=False):
            file.write({"split": split} | line)

    def close(self) -> None:
        for file in self._files:
            file.close()
