"""The expected failures. The command line shows each as one line and an exit status, without a traceback."""


class CharrnnError(Exception):
    """Bad data, a bad file or checkpoint, a failed write: exit status 1."""

    exit_status = 1


class NotFiniteError(CharrnnError):
    """A model computes numbers that are not finite."""

    def __init__(self) -> None:
        super().__init__("the model computes numbers that are not finite; its weights are too large")


class UsageError(CharrnnError):
    """A wrong option or combination of options: exit status 2."""

    exit_status = 2


class DivergedError(CharrnnError):
    """Training diverged: the loss was not finite even after several rollbacks. Exit status 3."""

    exit_status = 3
