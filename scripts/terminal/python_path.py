"""Where a Python process that this one starts looks for modules."""

import os
from collections.abc import Iterable


def safe_path(places: Iterable[str | None]) -> dict[str, str]:
    """Variables with which it looks in these folders first, those that are named, and never in the
    working folder, which may have a `scripts` of its own."""
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(filter(None, places))}
