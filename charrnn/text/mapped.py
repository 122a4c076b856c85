"""Arrays that are mapped from files: what they read stays in memory until it is given back."""

from __future__ import annotations

import mmap
from typing import Any

from numpy.typing import NDArray

PAGES_BYTES = 16 << 20  # of a mapped file may be in memory
FAULT_BYTES = 64 << 10  # that the system maps around a place that is read
CHUNK = 1 << 20  # tokens that are searched at a time


def release_pages(array: NDArray[Any]) -> None:
    """Take the pages of a mapped file out of this process; they come back when needed. Other arrays are let be."""
    if hasattr(mmap, "MADV_DONTNEED"):
        base: object = array
        while base is not None:
            if isinstance(base, mmap.mmap):
                base.madvise(mmap.MADV_DONTNEED)
            base = getattr(base, "base", None)
