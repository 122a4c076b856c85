"""Dropout (Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15) with a
mask that is computed, not drawn: a hash of seed, step, layer and place.

The backward pass asks the same hash again, so that no mask is stored, and a mask depends on neither threads nor
history.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from charrnn.runtime.arrays import Array
from charrnn.runtime.compile import inline, kernel

_STREAM = np.uint32(0x9E3779B9)
# Tommy Ettinger's constants, for a mixer as in Wellons 2018, "Prospecting for hash functions".
_A, _B = np.uint32(0x21F0AAAD), np.uint32(0x735A2D97)
_15, _16 = np.uint32(15), np.uint32(16)


@inline
def mix(x: Any) -> Any:
    """A bijection of 32-bit numbers in which every input bit flips each output bit about half of the time.

    Of a larger x the lower 32 bits count: Numba computes sums and products of 32-bit numbers in 64 bits.
    """
    x = np.uint32(x)
    x = np.uint32((x ^ (x >> _16)) * _A)
    x = np.uint32((x ^ (x >> _15)) * _B)
    return np.uint32(x ^ (x >> _15))


@kernel
def apply_dropout(values: Array, rate: float, key: np.uint32, begin: int, end: int) -> None:
    """Zero each number of values (T, B, H) with probability `rate` and divide the others by 1 - rate, in place.

    Forward on activations and backward on their gradients, with the same `key`. Only the rows from `begin` to `end`.
    """
    T, B, H = values.shape
    threshold = np.uint32(rate * 4294967296.0)
    factor = values.dtype.type(1 / (1 - rate))
    zero = values.dtype.type(0)
    for t in range(T):
        for b in range(begin, end):
            row_key = mix(key + mix(np.uint32(t * B + b) * _STREAM))
            row = values[t, b]
            for j in range(H):
                row[j] = row[j] * factor if mix(row_key ^ np.uint32(j)) >= threshold else zero
