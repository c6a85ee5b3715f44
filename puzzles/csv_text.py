"""Files of comma-separated text, and one error for all that keeps one from being read."""

import csv
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from puzzles.errors import DataError


@contextmanager
def csv_text(path: Path) -> Iterator[TextIO]:
    """A .csv or .csv.gz file as text, without its byte-order mark if it has one.

    DataError naming the file where it, or its reading in this context, fails.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{path}: not readable as CSV ({reason}). Check or replace it") from error
