"""The failures charrnn expects. Each is one line to the user and an exit status, never a traceback."""


class CharrnnError(Exception):
    """Bad data, a bad file or checkpoint, a failed write: exit status 1."""

    exit_status = 1


class UsageError(CharrnnError):
    """A wrong option or combination of options: exit status 2."""

    exit_status = 2


class DivergedError(CharrnnError):
    """Training produced numbers that are not finite, again and again: exit status 3."""

    exit_status = 3
