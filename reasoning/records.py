"""What records are made of: hashes of files, and numbers that JSON can hold."""

import hashlib
import math
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def finite(value: float) -> float | None:
    """The value, or None (JSON has no infinity), as for the residual of no evaluation."""
    return float(value) if math.isfinite(value) else None
