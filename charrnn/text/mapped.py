"""Memory-mapped arrays: the pages that were read stay in memory until they are released."""

from __future__ import annotations

import mmap
from typing import Any

from numpy.typing import NDArray

PAGES_BYTES = 16 << 20  # so much of a mapped file may be in memory before its pages are released
FAULT_BYTES = 64 << 10  # so much the system maps around a position that is read
CHUNK = 1 << 20  # tokens that are searched at a time


def release_pages(array: NDArray[Any]) -> None:
    """Release the pages of a memory-mapped array; they are read again when needed. Other arrays are left alone."""
    if hasattr(mmap, "MADV_DONTNEED"):
        base: object = array
        while base is not None:
            if isinstance(base, mmap.mmap):
                base.madvise(mmap.MADV_DONTNEED)
            base = getattr(base, "base", None)
