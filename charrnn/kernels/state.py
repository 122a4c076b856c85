"""What every cell does with its state between steps."""

from __future__ import annotations

from charrnn.kernels.rounding import store_operand
from charrnn.runtime.arrays import Array
from charrnn.runtime.compile import inline


@inline
def drop_rows(state: Array, keep: Array, begin: int, end: int) -> None:
    """Set to zero the rows of state (B, H) from `begin` to `end` for which keep (B) is 0."""
    for b in range(begin, end):
        if keep[b] == 0:
            state[b] = 0


@inline
def move_on(state: Array, begin: int, end: int) -> None:
    """Make the state after a step, state[1], the one before the next, state[0]: state (2, B, H).

    A loop, since Numba's checked assignment of a slice to another takes seconds to compile.
    """
    before, after = state[0], state[1]
    for b in range(begin, end):
        for j in range(state.shape[2]):
            before[b, j] = after[b, j]


@inline
def enter(h: Array, h_operand: Array, keep: Array, begin: int, end: int) -> None:
    """Before the first step: reset the rows of h[0] that are not kept, and store it as products read it."""
    drop_rows(h[0], keep[0], begin, end)
    for b in range(begin, end):
        store_operand(h[0, b], h_operand[0, b])


@inline
def hand_over(h: Array, h_operand: Array, out: Array, keep: Array, t: int, begin: int, end: int) -> None:
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
        drop_rows(h_operand[t + 1], keep[t + 1], begin, end)
