"""How long a run has taken."""

from __future__ import annotations

import time
from collections.abc import Callable


def stopwatch(already: float = 0.0) -> Callable[[], float]:
    """A function that tells the seconds since this call, and those that went by `already`."""
    start = time.perf_counter() - already
    return lambda: time.perf_counter() - start
