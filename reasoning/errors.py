"""What a person can mend."""


class InputError(ValueError):
    """What was given cannot be used; the message names the place and the remedy."""
