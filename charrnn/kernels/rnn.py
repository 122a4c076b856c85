"""The plain recurrent layer: Elman 1990, "Finding structure in time", doi:10.1207/s15516709cog1402_1.

    h = tanh(x W + h' U + b), or max(0, …)       h': the state of the step before

If backward is not to follow, `gates (T, B, H)` may have as few as 1 slot, which are used cyclically. The kernels handle
the rows (sequences) from `begin` to `end` only. With `reverse`, time runs from T - 1 down to 0, see `state.py`.
"""

from __future__ import annotations

from charrnn.kernels.functions import tanh
from charrnn.kernels.inputs import input_gradient, start_gates
from charrnn.kernels.matmul import OWN, add_product, memory_of
from charrnn.kernels.rounding import replace_gemm_input, store_gemm_input
from charrnn.kernels.state import begin_window, reset_rows, step_indices, store_output
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.compile import kernel


@kernel
def rnn_forward(
    table: Array, local: Ids, x: Array, weight: Array, gates: Array, recurrent: Array, relu: bool, h: Array,
    h_gemm: Array, out: Array, reset_mask: Array, reverse: bool, begin: int, end: int,
) -> None:  # fmt: skip
    """The input's part is table[local] + x W, see `inputs.start_gates`: local (T, B), x (T, B, E), weight packed W.

    gates: out, the activation, its rows may be longer. h (T + 1, B, H): the initial state in, the others out.
    recurrent: packed U. h_gemm: h as gemm input. relu: max(0, ·) in place of tanh. reset_mask (T, B): 0 where the state
    is reset to zero before a step, else 1. out (T, B, H): h after every step, before resets; may be a view of h, see
    `state.store_output`.
    """
    T, _, H = out.shape
    zero = gates.dtype.type(0)
    begin_window(h, h_gemm, reset_mask, reverse, begin, end)
    for step in range(T):
        t, before, after, direction = step_indices(step, T, reverse)
        gates_t = gates[t % len(gates)]
        start = start_gates(table, local, x, t, direction, weight, gates_t, begin, end)
        prefetch = memory_of(gates, t + direction, begin, end)
        add_product(h_gemm[before, begin:end], 0, recurrent, start, gates_t[begin:end], 0, H, prefetch)
        for b in range(begin, end):
            row, h_row = gates_t[b], h[after, b]
            if relu:
                for j in range(H):
                    row[j] = row[j] if row[j] > zero else zero * row[j]  # zero * keeps a NaN a NaN
            else:
                for j in range(H):
                    row[j] = tanh(row[j])
            for j in range(H):
                h_row[j] = row[j]
            store_gemm_input(h_row, h_gemm[after, b])
        store_output(h, h_gemm, out, reset_mask, step, reverse, begin, end)


@kernel
def rnn_backward(
    gates: Array, dgates: Array, recurrent: Array, relu: bool, dout: Array, weight: Array, dx: Array,
    overwrite: bool, row: Array, dh: Array, reset_mask: Array, reverse: bool, first_state: bool, begin: int, end: int,
) -> None:  # fmt: skip
    """gates (T, B, H): as `rnn_forward` left them. dgates: out, the gradient of the pre-activations as gemm input, in
    the same memory.

    recurrent: packed U'. dout (T, B, H): the gradient of `out`. weight (packed W'), dx (T, B, E), overwrite: see
    `inputs.input_gradient`; dx may be dout itself. row (B, H): scratch. dh (B, H): scratch; with `first_state`, out,
    the gradient of the initial state.
    """
    T, _, H = dout.shape
    one = gates.dtype.type(1)  # an integer 1 would turn float32 into float64
    zero = gates.dtype.type(0)
    for b in range(begin, end):
        dh[b] = 0
    for step in range(T - 1, -1, -1):
        t, _, _, direction = step_indices(step, T, reverse)
        for b in range(begin, end):
            gate, drow, dout_row, dh_row = gates[t, b], row[b], dout[t, b], dh[b]
            if relu:  # h = max(0, a)
                for j in range(H):
                    drow[j] = dout_row[j] + dh_row[j] if gate[j] > zero else zero * gate[j]
            else:  # h = tanh(a)
                for j in range(H):
                    drow[j] = (dout_row[j] + dh_row[j]) * (one - gate[j] * gate[j])
            replace_gemm_input(drow, dgates[t, b])
            dh_row[:] = 0
        input_gradient(dgates[t], weight, dx[t], overwrite, begin, end)
        if step > 0 or first_state:
            prefetch = memory_of(gates, t - direction, begin, end)
            add_product(dgates[t, begin:end], 0, recurrent, OWN, dh[begin:end], 0, H, prefetch)
            reset_rows(dh, reset_mask[t], begin, end)
