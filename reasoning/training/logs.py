"""A run's two logs: metrics.jsonl, what it learned, and timing.jsonl, what that took."""

from pathlib import Path
from typing import Any

from reasoning.training.runs import JsonLines, read_jsonl

_LEARNED, _TOOK = "metrics.jsonl", "timing.jsonl"


class Logs:
    """Both logs, or nothing where there is no folder. Lines past the step that a run is resumed at
    go."""

    def __init__(self, run: Path | None, resume_step: int | None):
        names = (_LEARNED, _TOOK) if run else ()
        self._files = [JsonLines(run / name, resume_step) for name in names]

    def write(self, split: str, record: dict[str, Any], timing: dict[str, Any]) -> None:
        """A line of each, of the step in `record`."""
        lines = (record, {"step": record["step"]} | timing)
        for file, line in zip(self._files, lines, strict=False):
            file.write({"split": split} | line)

    def close(self) -> None:
        for file in self._files:
            file.close()


class RunLog:
    """Both logs of a run's folder, read when asked for, records in order. RunError for one that is
    not there or damaged; imported weights have none."""

    def __init__(self, run: Path):
        self.learned_in, self.took_in = run / _LEARNED, run / _TOOK

    @property
    def exists(self) -> bool:
        return self.learned_in.is_file()

    def learned(self, split: str | None = None) -> list[dict[str, Any]]:
        """Lines of a split ("train", "test" of puzzles, "validation" of text); None: all."""
        return _of(split, self.learned_in)

    @property
    def is_whole(self) -> bool:
        """Both are there."""
        return self.exists and self.took_in.is_file()

    def took(self, split: str | None = "train") -> list[dict[str, Any]]:
        """What the same steps took; None: and what evaluations took. A killed run may lack the last
        line."""
        return _of(split, self.took_in)


def _of(split: str | None, path: Path) -> list[dict[str, Any]]:
    return [record for record in read_jsonl(path) if split in (None, record["split"])]
