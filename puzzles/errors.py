"""What a person can mend."""


class InputError(ValueError):
    """What was given cannot be used; the message names the place and the remedy."""


class DataError(InputError):
    """Bad puzzle data; one line: the file, the place (row), the reason, the remedy."""
