"""Types of the arrays that kernels work on: float32 for training and scoring, float64 for gradient checks."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.floating[Any]]
Ids: TypeAlias = npt.NDArray[np.int32]
Flags: TypeAlias = npt.NDArray[np.bool_]

CACHE_LINE = 64  # bytes


def zeros(shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """`np.zeros` of this shape and type, aligned to a cache line.

    Large arrays of NumPy start 16 bytes after one, so that every vector read from them would lie in two lines.
    """
    dtype, size = np.dtype(dtype), int(np.prod(shape))
    room = np.zeros(size * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -room.ctypes.data % CACHE_LINE
    return room[start : start + size * dtype.itemsize].view(dtype).reshape(shape)
