"""The expected failures. The command line shows each as one line and an exit status, without a traceback."""


class CharrnnError(Exception):
    """Bad data, a bad file or checkpoint, a failed write: exit status 1."""

    exit_status = 1


class NotFiniteError(CharrnnError):
    """A model computes numbers that are not finite."""

    def __init__(self, *_: object) -> None:  # pickling gives the message back
        super().__init__("the model computes numbers that are not finite; its weights are too large")


class ElsewhereError(Exception):
    """Another process of the run has failed, which says why; `exit_status` is its own."""

    def __init__(self, exit_status: int) -> None:
        super().__init__(f"another process ended with status {exit_status}")
        self.exit_status = exit_status


class UsageError(CharrnnError):
    """A wrong option or combination of options: exit status 2."""

    exit_status = 2


class DivergedError(CharrnnError):
    """Training diverged: the loss was not finite even after several rollbacks. Exit status 3."""

    exit_status = 3
