"""The processors of this machine."""

from __future__ import annotations

import os


def affinity() -> tuple[int, ...]:
    """The processors that this process may use, by number."""
    try:
        return tuple(sorted(os.sched_getaffinity(0)))
    except AttributeError:  # not on macOS and Windows
        return tuple(range(os.cpu_count() or 1))


def processors() -> int:
    """How many processors this process may use."""
    return len(affinity())
