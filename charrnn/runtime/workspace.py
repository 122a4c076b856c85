"""Arrays that a network works in, reused from window to window so that a step allocates nothing."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from charrnn.runtime.arrays import Array, Ids, zeros


class Workspace:
    """Scratch arrays by name, of `dtype` unless another is given; each grows to the largest size requested.

    `operand` is the type of gemm inputs, what matrix products read (see `nn/signal.py`): `dtype`, or bfloat16 stored as
    uint16.
    """

    def __init__(self, dtype: np.typing.DTypeLike, operand: np.typing.DTypeLike) -> None:
        self.dtype, self.operand = np.dtype(dtype), np.dtype(operand)
        self._flat: dict[str, np.ndarray[Any, Any]] = {}

    def get(self, name: str, *shape: int, dtype: np.typing.DTypeLike | None = None) -> Array:
        """The array of that name, with this shape and type. Its contents are those of its last use, at first zeros.

        If the size grows or the type differs from the last one, a new array of zeros takes its place.
        """
        size, wanted = prod(shape), np.dtype(dtype or self.dtype)
        flat = self._flat.get(name)
        if flat is None or flat.size < size or flat.dtype != wanted:
            flat = self._flat[name] = zeros(size, wanted)
        array: Array = flat[:size].reshape(shape)
        return array

    def ids(self, name: str, *shape: int) -> Ids:
        """As `get`, for ids: an array of int32."""
        return self.get(name, *shape, dtype=np.int32).view(np.int32)

    def operand_of(self, name: str, array: Array) -> Array:
        """The gemm input of an array (T, B, N): a bfloat16 array (T, B, N or N + 1) of that name, or the array itself.

        Products read bfloat16 in pairs, so an odd N is padded to an even one. The padding stays zero: nothing writes to
        it, and all arrays of one name have the same N.
        """
        if self.operand == self.dtype:
            return array
        T, B, N = array.shape
        return self.get(f"{name}.operand", T, B, N + N % 2, dtype=self.operand)
