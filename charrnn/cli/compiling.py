"""Tells the user that kernels are being compiled, and holds signals back meanwhile."""

from __future__ import annotations

import functools
import time

from charrnn.cli import streams
from charrnn.cli.signals import hold, release

INTERVAL = 5.0  # seconds between two lines


@functools.cache  # once in a process
def announce_compilation() -> None:
    """From here on, say when kernels are compiled: a line at the first one, then how far it got every few seconds.

    A signal waits until the kernel at hand is compiled or loaded, a second or so: LLVM calls Python functions,
    from which no exception comes out.
    """
    from numba.core import event

    from charrnn.runtime.compile import kernel_cache

    class Announcer(event.Listener):  # type: ignore[misc]
        compiled = 0
        spoke: float | None = None

        def on_start(self, event: object) -> None:
            now = time.perf_counter()
            if self.spoke is None:
                kept = "; it is kept for the next time" if kernel_cache() else ""
                streams.note(f"compiling the numerical code for this processor{kept}")
                self.spoke = now
            elif now - self.spoke >= INTERVAL:
                streams.note(f"compiling: {self.compiled} functions so far")
                self.spoke = now

        def on_end(self, event: object) -> None:
            self.compiled += 1

    class Shield(event.Listener):  # type: ignore[misc]
        def on_start(self, event: object) -> None:
            hold()

        def on_end(self, event: object) -> None:
            release()

    event.register("numba:compile", Announcer())
    event.register("numba:compiler_lock", Shield())
