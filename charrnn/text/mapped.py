"""Arrays that are mapped from files: what they read stays in memory until it is given back."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def _bases(array: NDArray[Any]) -> Iterator[object]:
    """`array`, what it is a view of, and so on, down to the mapping itself."""
    base: object = array
    while base is not None:
        yield base
        base = getattr(base, "base", None)


def release_pages(array: NDArray[Any]) -> None:
    """Take the pages of a mapped file out of this process; they come back when needed. Other arrays are let be."""
    if hasattr(mmap, "MADV_DONTNEED"):
        for base in _bases(array):
            if isinstance(base, mmap.mmap):
                base.madvise(mmap.MADV_DONTNEED)


def folder_of(array: NDArray[Any]) -> Path | None:
    """The folder of a mapped file (its disk has room for the text); None for other arrays."""
    for base in _bases(array):
        if isinstance(base, np.memmap) and base.filename is not None:
            return Path(str(base.filename)).parent
    return None
