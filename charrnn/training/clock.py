"""A stopwatch for the wall-clock time of a run."""

from __future__ import annotations

import time
from collections.abc import Callable


def stopwatch(already: float = 0.0) -> Callable[[], float]:
    """A function that returns the seconds of wall-clock time since this call, plus `already`."""
    start = time.perf_counter() - already
    return lambda: time.perf_counter() - start
