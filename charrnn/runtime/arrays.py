"""Arrays that kernels work on: float32 to train and score with, float64 to check gradients with."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.floating[Any]]
Ids: TypeAlias = npt.NDArray[np.int32]
Flags: TypeAlias = npt.NDArray[np.bool_]

CACHE_LINE = 64  # bytes


def zeros(shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """`np.zeros`, starting at a cache line: NumPy's own arrays start 16 bytes after one where they are large, and then
    every vector that is read from them lies in two."""
    dtype, size = np.dtype(dtype), int(np.prod(shape))
    room = np.zeros(size * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -room.ctypes.data % CACHE_LINE
    return room[start : start + size * dtype.itemsize].view(dtype).reshape(shape)
