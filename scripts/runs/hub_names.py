"""Names of runs on the Hugging Face hub."""

import re

from scripts.usage import UsageError

PREFIX = "hub:"
_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def check_repository(name: str) -> None:
    """UsageError unless it is user/name."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name}: is not the name of a repository: give user/name")
