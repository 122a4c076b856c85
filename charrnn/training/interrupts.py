"""Critical sections: termination signals are deferred while the training state is half changed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from charrnn.runtime.signals import TERMINATION_SIGNALS


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Defer SIGINT, SIGTERM and SIGHUP to the end of the block, where the handlers installed before receive them.

    An exception from a signal handler can arise between any two instructions. Outside such blocks the training state is
    always that of a whole number of steps, so it can be saved there and resumed exactly.
    """
    if threading.current_thread() is not threading.main_thread():  # Python runs signal handlers in the main thread
        yield
        return
    deferred: list[int] = []
    handlers = {}
    try:  # an interruption between two of them restores all
        for number in TERMINATION_SIGNALS:
            if callable(handler := signal.getsignal(number)):
                handlers[number] = handler
                signal.signal(number, lambda got, frame: deferred.append(got))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for received in dict.fromkeys(deferred):
            signal.raise_signal(received)
