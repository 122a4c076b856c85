"""Arrays that a network works in, kept between windows so that nothing is allocated per step."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from charrnn.runtime.arrays import Array, Ids, zeros


class Workspace:
    """Named scratch arrays, mostly of one number type; each grows to the largest size asked for.

    `operand` is the type in which products read them: the same, or bfloat16 (stored as uint16).
    """

    def __init__(self, dtype: np.typing.DTypeLike, operand: np.typing.DTypeLike) -> None:
        self.dtype, self.operand = np.dtype(dtype), np.dtype(operand)
        self._flat: dict[str, np.ndarray[Any, Any]] = {}

    def get(self, name: str, *shape: int, dtype: np.typing.DTypeLike | None = None) -> Array:
        """The array of that name with this shape and type; what it holds is left over from its last use, at first
        zeros. A name belongs to one type: with another one it starts anew."""
        size, wanted = prod(shape), np.dtype(dtype or self.dtype)
        flat = self._flat.get(name)
        if flat is None or flat.size < size or flat.dtype != wanted:
            flat = self._flat[name] = zeros(size, wanted)
        array: Array = flat[:size].reshape(shape)
        return array

    def ids(self, name: str, *shape: int) -> Ids:
        """An array of unit ids, otherwise like `get`."""
        return self.get(name, *shape, dtype=np.int32).view(np.int32)

    def operand_of(self, name: str, array: Array) -> Array:
        """What products read of an array (T, B, N): a bfloat16 array beside it, or the array itself.

        Rows of bfloat16 are read in pairs, so an odd N is made even. The column that adds is never written, and an
        array of one name always has rows of one width, so it stays zero.
        """
        if self.operand == self.dtype:
            return array
        T, B, N = array.shape
        return self.get(f"{name}.operand", T, B, N + N % 2, dtype=self.operand)
