"""Termination signals: which are handled, in which thread, and what an interruption leaves behind."""

from __future__ import annotations

import gc
import os
import signal
import threading
from typing import Any

import pytest

from charrnn.cli.signals import catch_signals
from charrnn.runtime.interrupts import uninterrupted
from charrnn.runtime.signals import TERMINATION_SIGNALS


def test_what_is_held_back_is_what_the_command_line_handles() -> None:
    """One list: a signal that only one of the two knew could tear a step."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}

    def others() -> set[int]:
        return {number for number, handler in before.items() if signal.getsignal(number) != handler}

    with catch_signals(saves=True):
        handled = others()
        before = {number: signal.getsignal(number) for number in signal.valid_signals()}
        with uninterrupted():
            assert others() == handled == set(TERMINATION_SIGNALS)
    assert len(handled) == (2 if os.name == "nt" else 3)


def test_what_an_interruption_leaves_half_made_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    class HalfMade:
        def __init__(self) -> None:
            signal.raise_signal(signal.SIGTERM)
            self.pointer = 0

        def __del__(self) -> None:
            destroyed.append(self.pointer)

    destroyed: list[int] = []
    said: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", said.append)
    with catch_signals(saves=True):
        with pytest.raises(KeyboardInterrupt) as caught:
            HalfMade()
        del caught
        gc.collect()
    assert destroyed == said == []
    del HalfMade.__init__
    HalfMade()
    assert len(said) == 1, "other times such an error is seen"


def test_another_thread_leaves_signals_alone() -> None:
    def ask() -> None:
        with uninterrupted():
            handlers.append(signal.getsignal(signal.SIGTERM))

    handlers: list[Any] = []
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]
