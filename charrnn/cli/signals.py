"""Termination signals, SIGINT, SIGTERM and SIGHUP: training saves first, any other command dies at once."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from charrnn.runtime.signals import TERMINATION_SIGNALS

# A signal that comes twice within this time was sent once: `timeout` signals its child and then the whole group.
SAME_SIGNAL_SECONDS = 0.2


class Interrupted(KeyboardInterrupt):
    """A termination signal arrived. A command may save and print how to go on; `main` then dies of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Signals:
    """The termination signal that arrived, if any; `saves`: the command has a state to save first."""

    def __init__(self, *, saves: bool) -> None:
        self.saves = saves
        self.received: int | None = None
        self.held = 0
        self._count = 0
        self._time = -math.inf

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Interrupt the command, which then saves; a second signal interrupts the saving too, a third kills.

        An exception can be lost where a signal happens to arrive, in the middle of an import for one, so a command
        that has nothing to save is not left to one.
        """
        if not self.saves:
            die_of(number)
        now = time.monotonic()
        if now - self._time < SAME_SIGNAL_SECONDS:
            return
        self._time = now
        self._count += 1
        if self._count > 2:
            die_of(number)
        self.received = number
        if not self.held:
            # Objects whose constructor the exception cuts off may be unable to end: that is no news for the user.
            sys.unraisablehook = lambda unraisable: None
            raise Interrupted(number)
        if self._count > 1:
            die_of(number)


_caught: Signals | None = None


def raise_if_received() -> None:
    """Raise `Interrupted` again, should the first one have been lost."""
    if _caught is not None and _caught.received is not None:
        raise Interrupted(_caught.received)


def hold() -> None:
    """Defer signals until `release`: an exception would be lost in a function that C code calls."""
    if _caught is not None:
        _caught.held += 1


def release() -> None:
    """End what `hold` began, and raise `Interrupted` in the main thread if a signal came meanwhile."""
    if _caught is None or not _caught.held:
        return
    _caught.held -= 1
    if not _caught.held and threading.current_thread() is threading.main_thread():
        raise_if_received()


@contextmanager
def catch_signals(*, saves: bool) -> Iterator[Signals]:
    """Turn termination signals into `Interrupted`, except those that the parent process set to be ignored."""
    global _caught
    _caught = signals = Signals(saves=saves)
    previous = {}
    unraisablehook = sys.unraisablehook
    if threading.current_thread() is threading.main_thread():
        for number in TERMINATION_SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                previous[number] = signal.signal(number, signals.handle)
    try:
        yield signals
    finally:
        _caught = None
        sys.unraisablehook = unraisablehook
        for number, handler in previous.items():
            signal.signal(number, handler)


def die_of(number: int) -> NoReturn:
    """End the process by the signal itself, so that shells and `make` see it."""
    if os.name != "nt":
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(128 + number)
