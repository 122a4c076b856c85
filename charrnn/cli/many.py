"""A command that several processes of MPI run together: one of them speaks, and all end when one of them must."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from charrnn.cli import streams
from charrnn.cli.signals import Interrupted
from charrnn.errors import CharrnnError, ElsewhereError
from charrnn.runtime.processes import Processes, join


@contextmanager
def together() -> Iterator[Processes]:
    """The processes that an MPI launcher started; this one alone without a launcher.

    Only process 0 writes to standard error, or the first one that fails. An error ends all, with its exit status.
    """
    processes = join()
    streams.set_silent(processes.rank > 0)
    try:
        yield processes
        processes.agree()  # none ends before all are done
    except ElsewhereError as error:
        raise SystemExit(error.exit_status) from None
    except BaseException as error:
        status = exit_status(error)
        if not processes.fail(status):
            raise SystemExit(status) from None
        streams.set_silent(False)
        raise


def exit_status(error: BaseException) -> int:
    """The exit status that the command line gives an error."""
    match error:
        case CharrnnError():
            return error.exit_status
        case Interrupted():
            return 128 + error.number
        case KeyboardInterrupt():
            return 130
    return 1
