"""What every cell does with its state between steps."""

from __future__ import annotations

from charrnn.kernels.arrays import Array
from charrnn.kernels.compile import kernel


@kernel
def drop_rows(state: Array, keep: Array, begin: int, end: int) -> None:
    """Set to zero the rows of state (B, H) from `begin` to `end` for which keep (B) is 0."""
    for b in range(begin, end):
        if keep[b] == 0:
            state[b] = 0


@kernel
def hand_over(h: Array, out: Array, keep: Array, t: int, begin: int, end: int) -> None:
    """Pass h[t + 1] up as out[t], then reset the rows that the next step does not keep.

    `out` may be h[1:] itself, where nothing is ever reset: then there is nothing to do.
    """
    T, _, H = out.shape
    if out.ctypes.data == h.ctypes.data + h.strides[0]:
        return
    for b in range(begin, end):
        source, target = h[t + 1, b], out[t, b]
        for j in range(H):
            target[j] = source[j]
    if t + 1 < T:
        drop_rows(h[t + 1], keep[t + 1], begin, end)
