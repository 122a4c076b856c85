"""Reports to the user that kernels are being compiled, and defers signals meanwhile."""

from __future__ import annotations

import functools
import time

from charrnn.cli import streams
from charrnn.cli.signals import hold, release

INTERVAL = 5.0  # seconds between two lines


@functools.cache  # once in a process
def announce_compilation() -> None:
    """From here on, report when kernels are compiled: a line at the first one, then progress every few seconds.

    A signal is deferred until the current kernel is compiled or loaded, a second or so: an exception raised in a Python
    function that LLVM calls would be lost.
    """
    from numba.core import event

    from charrnn.runtime.compile import kernel_cache

    class Announcer(event.Listener):  # type: ignore[misc]
        compiled = 0
        reported: float | None = None

        def on_start(self, event: object) -> None:
            """Report that a kernel is about to be compiled, unless the last report was just now."""
            now = time.perf_counter()
            if self.reported is None:
                cached = "; it is kept for the next time" if kernel_cache() else ""
                streams.note(f"compiling the numerical code for this processor{cached}")
                self.reported = now
            elif now - self.reported >= INTERVAL:
                streams.note(f"compiling: {self.compiled} functions so far")
                self.reported = now

        def on_end(self, event: object) -> None:
            """Count a compiled kernel."""
            self.compiled += 1

    class SignalDeferrer(event.Listener):  # type: ignore[misc]
        def on_start(self, event: object) -> None:
            """Defer signals."""
            hold()

        def on_end(self, event: object) -> None:
            """Deliver a deferred signal."""
            release()

    event.register("numba:compile", Announcer())
    event.register("numba:compiler_lock", SignalDeferrer())
