"""Critical sections: termination signals are deferred while the training state is half changed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from charrnn.runtime.signals import TERMINATION_SIGNALS

Handler = Callable[[int, FrameType | None], Any]


@contextmanager
def uninterrupted() -> Iterator[list[int]]:
    """Defer SIGINT, SIGTERM and SIGHUP to the end of the block, where the handlers installed before receive them.

    Yields the numbers of those that have come, to which the block may add.

    An exception from a signal handler can arise between any two instructions. Outside such blocks the training state is
    always that of a whole number of steps, so it can be saved there and resumed exactly.
    """
    if threading.current_thread() is not threading.main_thread():  # Python runs signal handlers in the main thread
        yield []
        return
    deferred: list[int] = []
    handlers: dict[int, Handler] = {}
    deferring = True

    def handle(number: int, frame: FrameType | None) -> None:
        if deferring:
            deferred.append(number)
        else:  # between two restorations, of which an exception leaves the others undone
            handlers[number](number, frame)

    try:  # an interruption between two of them restores all
        for number in TERMINATION_SIGNALS:
            if callable(handler := signal.getsignal(number)):
                handlers[number] = handler
                signal.signal(number, handle)
        yield deferred
    finally:
        deferring = False
        for handled, handler in handlers.items():
            signal.signal(handled, handler)
        for received in dict.fromkeys(deferred):
            signal.raise_signal(received)
