"""The one error that bad puzzle data raises."""


class DataError(ValueError):
    """Bad puzzle data; one line: the file, the place (row), the reason, the remedy."""
