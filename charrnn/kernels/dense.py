"""tanh of fully connected layers, and its gradient. Rows `begin` to `end` of the batch."""

from __future__ import annotations

from charrnn.kernels.functions import tanh
from charrnn.runtime.arrays import Array
from charrnn.runtime.compile import kernel


@kernel
def apply_tanh(values: Array, begin: int, end: int) -> None:
    """tanh of values (T, B, N), in place, for the rows from `begin` to `end`."""
    for t in range(len(values)):
        for b in range(begin, end):
            row = values[t, b]
            for j in range(row.size):
                row[j] = tanh(row[j])


@kernel
def tanh_gradient(values: Array, kept: float, gradient: Array, begin: int, end: int) -> None:
    """gradient (T, B, N) times that of tanh, in place. values (T, B, N): tanh after dropout, which divided by `kept`.

    Of what dropout zeroed the gradient is zero already.
    """
    one, factor = values.dtype.type(1), values.dtype.type(kept)
    for t in range(len(values)):
        for b in range(begin, end):
            source, target = values[t, b], gradient[t, b]
            for j in range(source.size):
                squashed = source[j] * factor
                target[j] *= one - squashed * squashed
