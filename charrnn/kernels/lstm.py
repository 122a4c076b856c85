"""The LSTM: Hochreiter and Schmidhuber 1997, "Long short-term memory", doi:10.1162/neco.1997.9.8.1735.

Forget gate: Gers, Schmidhuber and Cummins 2000, "Learning to forget", doi:10.1162/089976600300015015. Peepholes: Gers
and Schmidhuber 2000, "Recurrent nets that time and count", doi:10.1109/IJCNN.2000.861302.

    i = σ(x W_i + h' U_i + b_i + p_i c')        h', c': the state of the step before
    f = σ(x W_f + h' U_f + b_f + p_f c')
    g = tanh(x W_g + h' U_g + b_g)
    c = f c' + i g
    o = σ(x W_o + h' U_o + b_o + p_o c)
    h = o tanh(c)

With `rms_norm`, h is that normalised over its H numbers, see `normalise.py`.

Gates lie side by side as i f g o: `gates (T, B, 4H)`, whose rows may be longer, and `c (T + 1, B, H)`. If backward is
not to follow, `gates` may have as few as 1 slot and `c` as few as 2, which are used cyclically. `peepholes (3, H)` are
p_i, p_f and p_o, or None; `factors (T, B)`, as many slots as `gates`, are what h was multiplied by to normalise it, or
None where it is not. Code for a None is not compiled. The kernels handle the rows (sequences) from `begin` to `end`
only. With `reverse`, time runs from T - 1 down to 0, see `state.py`.
"""

from __future__ import annotations

from charrnn.kernels.functions import sigmoid, tanh
from charrnn.kernels.inputs import input_gradient, start_gates
from charrnn.kernels.matmul import OWN, add_product, memory_of
from charrnn.kernels.normalise import normalise, normalise_backward
from charrnn.kernels.rounding import replace_gemm_input, store_gemm_input, widen
from charrnn.kernels.state import begin_window, reset_rows, step_indices, store_output
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.compile import inline, kernel


@inline
def split(row: Array, H: int) -> tuple[Array, Array, Array, Array]:
    """The gates i, f, g, o of a row (4H or longer)."""
    return row[:H], row[H : 2 * H], row[2 * H : 3 * H], row[3 * H : 4 * H]


@kernel
def lstm_forward(
    table: Array, local: Ids, x: Array, weight: Array, gates: Array, recurrent: Array, peepholes: Array | None,
    factors: Array | None, h: Array, h_gemm: Array, c: Array, out: Array, reset_mask: Array, reverse: bool,
    begin: int, end: int,
) -> None:  # fmt: skip
    """The input's part is table[local] + x W, see `inputs.start_gates`: local (T, B), x (T, B, E), weight packed W.

    gates: out, activated. h, c: the initial state in, the others out. recurrent: packed U. h_gemm: h as gemm input.
    factors: out. reset_mask (T, B): 0 where the state is reset to zero before a step, else 1. out (T, B, H): h after
    every step, before resets; may be a view of h, see `state.store_output`.
    """
    T, _, H = out.shape
    begin_window(h, h_gemm, reset_mask, reverse, begin, end)
    for step in range(T):
        t, before, after, direction = step_indices(step, T, reverse)
        gates_t, c_t, c_next = gates[t % len(gates)], c[before % len(c)], c[after % len(c)]
        start = start_gates(table, local, x, t, direction, weight, gates_t, begin, end)
        prefetch = memory_of(gates, t + direction, begin, end)
        add_product(h_gemm[before, begin:end], 0, recurrent, start, gates_t[begin:end], 0, 4 * H, prefetch)
        for b in range(begin, end):
            mask = reset_mask[t, b]
            i, f, g, o = split(gates_t[b], H)
            c_before, c_row, h_row = c_t[b], c_next[b], h[after, b]
            if peepholes is not None:
                p_i, p_f = peepholes[0], peepholes[1]
                for j in range(H):
                    i[j] += p_i[j] * c_before[j] * mask
                for j in range(H):
                    f[j] += p_f[j] * c_before[j] * mask
            i_and_f = gates_t[b, : 2 * H]
            for j in range(2 * H):
                i_and_f[j] = sigmoid(i_and_f[j])
            for j in range(H):
                g[j] = tanh(g[j])
                c_row[j] = f[j] * c_before[j] * mask + i[j] * g[j]
            if peepholes is not None:
                p_o = peepholes[2]
                for j in range(H):
                    o[j] += p_o[j] * c_row[j]
            for j in range(H):
                o[j] = sigmoid(o[j])
                h_row[j] = o[j] * tanh(c_row[j])
            if factors is not None:
                factors[t % len(factors), b] = normalise(h_row)
            store_gemm_input(h_row, h_gemm[after, b])
        store_output(h, h_gemm, out, reset_mask, step, reverse, begin, end)


@kernel
def lstm_backward(
    gates: Array, dgates: Array, recurrent: Array, peepholes: Array | None, factors: Array | None, c: Array,
    dout: Array, weight: Array, dx: Array, overwrite: bool, row: Array, dh: Array, dc: Array, reset_mask: Array,
    reverse: bool, first_state: bool, begin: int, end: int,
) -> None:  # fmt: skip
    """gates (T, B, 4H): as `lstm_forward` left them. dgates: out, the gradient of the pre-activations as gemm input,
    in the same memory.

    recurrent: packed U'. factors, c: as `lstm_forward` left them. dout (T, B, H): the gradient of `out`; overwritten
    as scratch where there are factors. weight (packed W'), dx (T, B, E), overwrite: see `inputs.input_gradient`; dx may
    be dout itself. row (B, 4H): scratch. dh, dc (B, H): scratch; with `first_state`, out, the gradients of the initial
    state.
    """
    T, _, H = dout.shape
    one = gates.dtype.type(1)  # an integer 1 would turn float32 into float64
    for b in range(begin, end):
        dh[b] = 0
        dc[b] = 0
    for step in range(T - 1, -1, -1):
        t, before, after, direction = step_indices(step, T, reverse)
        for b in range(begin, end):
            mask = reset_mask[t, b]
            i, f, g, o = split(gates[t, b], H)
            di, df, dg, do = split(row[b], H)
            c_before, c_row, dout_row, dh_row, dc_row = c[before, b], c[after, b], dout[t, b], dh[b], dc[b]
            if factors is not None:  # h = r o tanh(c), stored in the place of do for a moment
                factor = factors[t, b]
                for j in range(H):
                    do[j] = factor * o[j] * tanh(c_row[j])
                    dout_row[j] += dh_row[j]
                    dh_row[j] = 0
                normalise_backward(dout_row, do, factor)
            # h = o tanh(c)
            for j in range(H):
                squashed = tanh(c_row[j])
                dh_j = dout_row[j] + dh_row[j]
                dc_row[j] += dh_j * o[j] * (one - squashed * squashed)
                do[j] = dh_j * squashed * o[j] * (one - o[j])
            if peepholes is not None:  # o = σ(… + p_o c)
                p_o = peepholes[2]
                for j in range(H):
                    dc_row[j] += do[j] * p_o[j]
            # c = f c' + i g
            for j in range(H):
                i_j, f_j, g_j, dc_j = i[j], f[j], g[j], dc_row[j]
                dg[j] = dc_j * i_j * (one - g_j * g_j)
                di[j] = dc_j * g_j * i_j * (one - i_j)
                df[j] = dc_j * c_before[j] * mask * f_j * (one - f_j)
                dc_row[j] = dc_j * f_j * mask
            if peepholes is not None:  # i = σ(… + p_i c'), f = σ(… + p_f c')
                p_i, p_f = peepholes[0], peepholes[1]
                for j in range(H):
                    dc_row[j] += (di[j] * p_i[j] + df[j] * p_f[j]) * mask
            replace_gemm_input(row[b], dgates[t, b])
            dh_row[:] = 0
        input_gradient(dgates[t], weight, dx[t], overwrite, begin, end)
        if step > 0 or first_state:  # gates = … + h' U
            prefetch = memory_of(gates, t - direction, begin, end)
            add_product(dgates[t, begin:end], 0, recurrent, OWN, dh[begin:end], 0, H, prefetch)
            reset_rows(dh, reset_mask[t], begin, end)


@kernel
def lstm_peephole_gradient(
    dgates: Array, c: Array, reset_mask: Array, dpeepholes: Array, reverse: bool, first: int, last: int
) -> None:  # fmt: skip
    """dpeepholes (3, H) += their gradient, for the columns from `first` to `last`: i and f see c', o sees c.

    dgates from `lstm_backward`; c, reset_mask and reverse as there.
    """
    T, B, _ = dgates.shape
    _, H = dpeepholes.shape
    dp_i, dp_f, dp_o = dpeepholes[0, first:last], dpeepholes[1, first:last], dpeepholes[2, first:last]
    for step in range(T):
        t, slot_before, slot_after, _ = step_indices(step, T, reverse)
        for b in range(B):
            mask = reset_mask[t, b]
            di = dgates[t, b, first:last]
            df = dgates[t, b, H + first : H + last]
            do = dgates[t, b, 3 * H + first : 3 * H + last]
            before, after = c[slot_before, b, first:last], c[slot_after, b, first:last]
            for j in range(last - first):
                dp_i[j] += widen(di[j]) * before[j] * mask
            for j in range(last - first):
                dp_f[j] += widen(df[j]) * before[j] * mask
            for j in range(last - first):
                dp_o[j] += widen(do[j]) * after[j]
