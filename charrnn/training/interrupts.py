"""Keeping the signals to end out of the moments in which the training state is half changed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from charrnn.runtime.signals import TERMINATION_SIGNALS


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold SIGINT, SIGTERM and SIGHUP back until the block is done; whoever handled them before gets them then.

    An exception from a signal handler can arise between any two instructions. Outside such blocks the training state is
    always that of a whole number of steps, so it can be saved there and resumed exactly.
    """
    if threading.current_thread() is not threading.main_thread():  # Python runs signal handlers in the main thread
        yield
        return
    waiting: list[int] = []
    handlers = {}
    for number in TERMINATION_SIGNALS:
        if callable(signal.getsignal(number)):
            handlers[number] = signal.signal(number, lambda got, frame: waiting.append(got))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for received in dict.fromkeys(waiting):
            signal.raise_signal(received)
