"""Arrays that a network works in, kept between windows so that nothing is allocated per step."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from charrnn.kernels.arrays import Array


class Buffers:
    """Named scratch arrays of one number type; each grows to the largest size asked for."""

    def __init__(self, dtype: np.typing.DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self._flat: dict[str, np.ndarray[Any, Any]] = {}

    def get(self, name: str, *shape: int, dtype: np.typing.DTypeLike | None = None) -> Array:
        """The array of that name with this shape; what it holds is left over from its last use."""
        size = prod(shape)
        flat = self._flat.get(name)
        if flat is None or flat.size < size:
            flat = self._flat[name] = np.zeros(size, dtype or self.dtype)
        array: Array = flat[:size].reshape(shape)
        return array
