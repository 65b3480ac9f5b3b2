"""The one exception that stands for wrong input rather than a bug."""


class InputError(ValueError):
    """What came from outside cannot be used.

    The message is one line that says what is wrong, where, and what to do. Commands print it and exit with status 2.
    """
