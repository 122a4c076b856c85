"""The hidden state between steps, in either direction of time.

`h (T + 1, B, H)` has a slot before and after every step. Forward, step t goes from h[t] to h[t + 1]; in reverse, from
h[t + 1] to h[t], starting with h[T].
"""

from __future__ import annotations

from charrnn.kernels.rounding import store_gemm_input
from charrnn.runtime.arrays import Array
from charrnn.runtime.compile import inline


@inline
def step_indices(step: int, T: int, reverse: bool) -> tuple[int, int, int, int]:
    """A step of a pass over T steps: its time t, the slots of the state before and after it, and the direction,
    1 or -1: the next step is at time t + direction."""
    if reverse:
        return T - 1 - step, T - step, T - 1 - step, -1
    return step, step, step + 1, 1


@inline
def reset_rows(state: Array, reset_mask: Array, begin: int, end: int) -> None:
    """Set to zero the rows of state (B, H) from `begin` to `end` for which reset_mask (B) is 0."""
    for b in range(begin, end):
        if reset_mask[b] == 0:
            state[b] = 0


@inline
def shift_state(state: Array, begin: int, end: int) -> None:
    """Copy the state after a step, state[1], to the slot before the next one, state[0]: state (2, B, H).

    A loop, since Numba's checked assignment of a slice to another takes seconds to compile.
    """
    before, after = state[0], state[1]
    for b in range(begin, end):
        for j in range(state.shape[2]):
            before[b, j] = after[b, j]


@inline
def begin_window(h: Array, h_gemm: Array, reset_mask: Array, reverse: bool, begin: int, end: int) -> None:
    """Reset the rows of the initial state where the first step's reset_mask (T, B) is 0; store it as gemm input."""
    t, before, _, _ = step_indices(0, len(reset_mask), reverse)
    reset_rows(h[before], reset_mask[t], begin, end)
    for b in range(begin, end):
        store_gemm_input(h[before, b], h_gemm[before, b])


@inline
def store_output(
    h: Array, h_gemm: Array, out: Array, reset_mask: Array, step: int, reverse: bool, begin: int, end: int
) -> None:  # fmt: skip
    """Copy the state after a step to `out` (T, B, H), then reset its rows where the next step's mask is 0.

    `out` may be a view of h (h[1:], or h[:-1] in reverse) where nothing is ever reset: then there is nothing to do.
    """
    T, _, H = out.shape
    t, _, after, direction = step_indices(step, T, reverse)
    if out[t].ctypes.data == h[after].ctypes.data:
        return
    for b in range(begin, end):
        source, target = h[after, b], out[t, b]
        for j in range(H):
            target[j] = source[j]
    if step + 1 < T:
        reset_rows(h[after], reset_mask[t + direction], begin, end)
        reset_rows(h_gemm[after], reset_mask[t + direction], begin, end)
