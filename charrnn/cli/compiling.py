"""Saying that kernels are being compiled, which happens once and takes a while."""

from __future__ import annotations

import functools
import time

from numba.core import event

from charrnn.cli import streams
from charrnn.kernels.compile import CACHED

INTERVAL = 5.0  # seconds between two lines


class Announcer(event.Listener):  # type: ignore[misc]
    """A line on stderr when the first kernel is compiled, and how far it got every few seconds."""

    def __init__(self) -> None:
        self.compiled = 0
        self.spoke: float | None = None

    def on_start(self, event: event.Event) -> None:
        """A kernel that no earlier run left compiled is about to be."""
        now = time.perf_counter()
        if self.spoke is None:
            kept = "; it is kept for the next time" if CACHED else ""
            streams.note(f"compiling  the numerical code for this processor{kept}")
            self.spoke = now
        elif now - self.spoke >= INTERVAL:
            streams.note(f"compiling  {self.compiled} kernels so far")
            self.spoke = now

    def on_end(self, event: event.Event) -> None:
        """A kernel is compiled."""
        self.compiled += 1


@functools.cache  # once in a process
def announce_compilation() -> None:
    """From here on, say when kernels are compiled."""
    event.register("numba:compile", Announcer())
