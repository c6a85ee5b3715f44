"""What records are made of: hashes of files, and numbers that JSON can hold."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_LEAST = 1e-9  # what is smaller counts as this in a histogram


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def finite(value: float) -> float | None:
    """The value, or None (JSON has no infinity), as for the residual of no evaluation."""
    return float(value) if math.isfinite(value) else None


def log_histogram(values: Iterable[float]) -> dict[str, list[Any]] | None:
    """How many of some numbers, none below 0, lie in each half of a power of ten: `edges` in log10,
    `counts` between them. None if none of them is finite."""
    halves = Counter(
        math.floor(2 * math.log10(max(value, _LEAST))) for value in values if math.isfinite(value)
    )
    if not halves:
        return None
    first, last = min(halves), max(halves)
    return {
        "edges": [half / 2 for half in range(first, last + 2)],
        "counts": [halves[half] for half in range(first, last + 1)],
    }
