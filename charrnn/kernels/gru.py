"""The GRU (Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder for statistical machine
translation", equations 5 to 8, doi:10.3115/v1/D14-1179), with its reset gate in one of three places.

    r = σ(x W_r + h' U_r + b_r)                  h': the state of the step before
    z = σ(x W_z + h' U_z + b_z)
    n = tanh(x W_n + b_n + r (h' U_n + b_hn))    reset after the product (cuDNN, PyTorch)
    n = tanh(x W_n + b_n + (r h') U_n)           reset before it (Cho et al.)
    n = tanh(x W_n + b_n + h' U_n)               no reset gate, and no r
    h = (1 - z) n + z h'

Gates lie side by side as r z n, or z n without reset: `gates (T, B, G)`. U is packed in two parts, the gates r z
(`recurrent_rz`) and n (`recurrent_n`), or without reset in one, `recurrent_rz`. `side (T, B, H)` holds what the second
product needs or makes: h' U_n + b_hn after, r h' before, nothing without reset. If backward is not to follow, `gates`
and `side` may have as few as 1 slot, which are used cyclically. The kernels handle the rows (sequences) from `begin` to
`end` only. With `reverse`, time runs from T - 1 down to 0, see `state.py`.
"""

from __future__ import annotations

from charrnn.kernels.functions import sigmoid, tanh
from charrnn.kernels.inputs import input_gradient, start_gates
from charrnn.kernels.matmul import NOTHING, OWN, add_product, memory_of, row_of
from charrnn.kernels.rounding import replace_gemm_input, store_gemm_input
from charrnn.kernels.state import begin_window, reset_rows, step_indices, store_output
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.compile import inline, kernel

AFTER, BEFORE, NONE = 0, 1, 2


@inline
def split(row: Array, G: int, H: int) -> tuple[Array, Array, Array]:
    """The gates r, z, n of a row (G or longer); without reset, z stands for r as well."""
    return row[:H], row[G - 2 * H : G - H], row[G - H : G]


@kernel
def gru_forward(
    table: Array, local: Ids, x: Array, weight: Array, gates: Array, recurrent_rz: Array, recurrent_n: Array,
    bias_hn: Array, reset: int, h: Array, h_gemm: Array, side: Array, side_gemm: Array, out: Array,
    reset_mask: Array, reverse: bool, begin: int, end: int,
) -> None:  # fmt: skip
    """The input's part is table[local] + x W, see `inputs.start_gates`: local (T, B), x (T, B, E), weight packed W.

    gates: out, activated, its rows may be longer. h (T + 1, B, H): the initial state in, the others out. reset: AFTER,
    BEFORE or NONE. h_gemm, side_gemm: h and side as gemm input. reset_mask (T, B): 0 where the state is reset to zero
    before a step, else 1. out (T, B, H): h after every step, before resets; may be a view of h, see
    `state.store_output`.
    """
    T, _, H = out.shape
    one = gates.dtype.type(1)  # an integer 1 would turn float32 into float64
    G = table.shape[1]
    rz = G - H  # columns of the gates before n
    begin_window(h, h_gemm, reset_mask, reverse, begin, end)
    for step in range(T):
        t, before, after, direction = step_indices(step, T, reverse)
        gates_t, side_t, side_gemm_t = gates[t % len(gates)], side[t % len(side)], side_gemm[t % len(side)]
        start = start_gates(table, local, x, t, direction, weight, gates_t, begin, end)
        add_product(
            h_gemm[before, begin:end], 0, recurrent_rz, start, gates_t[begin:end], 0, G if reset == NONE else rz,
            memory_of(gates, t + direction, begin, end),
        )  # fmt: skip
        for b in range(begin, end):
            row, side_row, h_before = gates_t[b, :rz], side_t[b], h[before, b]
            for j in range(rz):
                row[j] = sigmoid(row[j])
            if reset == AFTER and start != OWN:  # no product brings x W_n + b_n
                n, from_x = gates_t[b, rz:G], table[local[t, b], rz:]
                for j in range(H):
                    n[j] = from_x[j]
            elif reset == BEFORE:
                for j in range(H):
                    side_row[j] = row[j] * h_before[j]
                store_gemm_input(side_row, side_gemm_t[b])
        prefetch = memory_of(side, t + direction, begin, end)
        if reset == AFTER:
            add_product(h_gemm[before, begin:end], 0, recurrent_n, row_of(bias_hn), side_t[begin:end], 0, H, prefetch)
        elif reset == BEFORE:
            add_product(side_gemm_t[begin:end], 0, recurrent_n, start, gates_t[begin:end], rz, H, prefetch)
        for b in range(begin, end):
            side_row, h_before, h_row = side_t[b], h[before, b], h[after, b]
            r, z, n = split(gates_t[b], G, H)
            if reset == AFTER:
                for j in range(H):
                    n[j] += r[j] * side_row[j]
            for j in range(H):
                n[j] = tanh(n[j])
            for j in range(H):
                h_row[j] = (one - z[j]) * n[j] + z[j] * h_before[j]
            store_gemm_input(h_row, h_gemm[after, b])
        store_output(h, h_gemm, out, reset_mask, step, reverse, begin, end)


@kernel
def gru_backward(
    gates: Array, dgates: Array, recurrent_rz: Array, recurrent_n: Array, reset: int, h: Array,
    side: Array, side_gemm: Array, dout: Array, weight: Array, dx: Array, overwrite: bool,
    row: Array, dh: Array, drh: Array, reset_mask: Array, reverse: bool, first_state: bool, begin: int, end: int,
) -> None:  # fmt: skip
    """gates (T, B, G), h: as `gru_forward` left them. dgates: out, the gradient of the pre-activations as gemm input,
    in the same memory.

    recurrent_rz, recurrent_n: packed transposes. side (T, B, H): with reset AFTER, out, the gradient of h' U_n + b_hn;
    side_gemm: it as gemm input. dout (T, B, H): the gradient of `out`. weight (packed W'), dx (T, B, E), overwrite: see
    `inputs.input_gradient`; dx may be dout itself. row (B, G), drh (B, H): scratch. dh (B, H): scratch; with
    `first_state`, out, the gradient of the initial state.
    """
    T, _, H = dout.shape
    one = gates.dtype.type(1)  # an integer 1 would turn float32 into float64
    G = row.shape[1]
    rz = G - H
    for b in range(begin, end):
        dh[b] = 0
    for step in range(T - 1, -1, -1):
        t, before, _, direction = step_indices(step, T, reverse)
        for b in range(begin, end):
            side_row, h_before, dout_row, dh_row = side[t, b], h[before, b], dout[t, b], dh[b]
            r, z, n = split(gates[t, b], G, H)
            dr, dz, dn = split(row[b], G, H)
            # h = (1 - z) n + z h'
            for j in range(H):
                dh_j, n_j, z_j = dout_row[j] + dh_row[j], n[j], z[j]
                dn[j] = dh_j * (one - z_j) * (one - n_j * n_j)
                dz[j] = dh_j * (h_before[j] - n_j) * z_j * (one - z_j)
                dh_row[j] = dh_j * z_j
            if reset == AFTER:  # n = tanh(… + r (h' U_n + b_hn))
                for j in range(H):
                    r_j, s_j = r[j], side_row[j]
                    dr[j] = dn[j] * s_j * r_j * (one - r_j)
                    side_row[j] = dn[j] * r_j
                store_gemm_input(side_row, side_gemm[t, b])
            elif reset == BEFORE:  # dr is computed below; until then its place holds r
                for j in range(H):
                    dr[j] = r[j]
            replace_gemm_input(row[b], dgates[t, b])
        if reset == BEFORE:  # n = tanh(… + (r h') U_n)
            for b in range(begin, end):
                drh[b] = 0
            add_product(dgates[t, begin:end], rz, recurrent_n, OWN, drh[begin:end], 0, H, NOTHING)
            for b in range(begin, end):
                h_before, dh_row, drh_row, r = h[before, b], dh[b], drh[b], row[b, :H]
                for j in range(H):
                    dh_row[j] += drh_row[j] * r[j]
                for j in range(H):
                    r[j] = drh_row[j] * h_before[j] * r[j] * (one - r[j])
                replace_gemm_input(row[b], dgates[t, b])
        input_gradient(dgates[t], weight, dx[t], overwrite, begin, end)
        if step > 0 or first_state:
            prefetch = memory_of(gates, t - direction, begin, end)
            add_product(dgates[t, begin:end], 0, recurrent_rz, OWN, dh[begin:end], 0, H, prefetch)
            if reset == AFTER:
                prefetch = memory_of(side, t - direction, begin, end)
                add_product(side_gemm[t, begin:end], 0, recurrent_n, OWN, dh[begin:end], 0, H, prefetch)
            reset_rows(dh, reset_mask[t], begin, end)
