"""The GRU (Cho et al. 2014), with its reset gate in one of three places.

    r = σ(x W_r + h' U_r + b_r)                  h': the state of the step before
    z = σ(x W_z + h' U_z + b_z)
    n = tanh(x W_n + b_n + r (h' U_n + b_hn))    reset after the product (cuDNN, PyTorch)
    n = tanh(x W_n + b_n + (r h') U_n)           reset before it (Cho et al.)
    n = tanh(x W_n + b_n + h' U_n)               no reset gate, and no r
    h = (1 - z) n + z h'

Gates lie side by side as r z n, or z n without reset: `gates (T, B, G)`. U is packed in two parts, the gates r z
(`recurrent_rz`) and n (`recurrent_n`), or without reset in one, `recurrent_rz`. `side (T, B, H)` holds what the second
product needs or makes: h' U_n + b_hn after, r h' before, nothing without reset. Where no gradient is wanted, `gates`
and `side` need not be kept, and may hold fewer steps: each then takes the place of an earlier one. The kernels handle
the rows (sequences) from `begin` to `end` only.
"""

from __future__ import annotations

from charrnn.kernels.functions import sigmoid, tanh
from charrnn.kernels.inputs import pass_down, start_gates
from charrnn.kernels.matmul import NOTHING, OWN, add_product, memory_of, row_of
from charrnn.kernels.rounding import replace_operand, store_operand
from charrnn.kernels.state import drop_rows, enter, hand_over
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
    bias_hn: Array, reset: int, h: Array, h_operand: Array, side: Array, side_operand: Array, out: Array, keep: Array,
    begin: int, end: int,
) -> None:  # fmt: skip
    """The input's part is table[local] + x W, see `inputs.start_gates`: local (T, B), x (T, B, E), weight packed W.

    gates: out, activated, its rows may be longer. h (T + 1, B, H): step 0 in, the others out.
    reset: AFTER, BEFORE or NONE. h_operand, side_operand: h and side as products read them, rounded or the same. keep
    (T, B): 0 where the state is reset to zero before a step. out (T, B, H): h of every step as the layer above sees it.
    """
    T, _, H = out.shape
    one = gates.dtype.type(1)  # an integer 1 would turn float32 into float64
    G = table.shape[1]
    rz = G - H  # columns of the gates before n
    enter(h, h_operand, keep, begin, end)
    for t in range(T):
        gates_t, side_t, side_operand_t = gates[t % len(gates)], side[t % len(side)], side_operand[t % len(side)]
        start = start_gates(table, local, x, t, weight, gates_t, begin, end)
        add_product(
            h_operand[t, begin:end], 0, recurrent_rz, start, gates_t[begin:end], 0, G if reset == NONE else rz,
            memory_of(gates, t + 1, begin, end),
        )  # fmt: skip
        for b in range(begin, end):
            row, side_row, h_before = gates_t[b, :rz], side_t[b], h[t, b]
            for j in range(rz):
                row[j] = sigmoid(row[j])
            if reset == AFTER and start != OWN:  # no product brings x W_n + b_n
                n, from_x = gates_t[b, rz:G], table[local[t, b], rz:]
                for j in range(H):
                    n[j] = from_x[j]
            elif reset == BEFORE:
                for j in range(H):
                    side_row[j] = row[j] * h_before[j]
                store_operand(side_row, side_operand_t[b])
        upcoming = memory_of(side, t + 1, begin, end)
        if reset == AFTER:
            add_product(h_operand[t, begin:end], 0, recurrent_n, row_of(bias_hn), side_t[begin:end], 0, H, upcoming)
        elif reset == BEFORE:
            add_product(side_operand_t[begin:end], 0, recurrent_n, start, gates_t[begin:end], rz, H, upcoming)
        for b in range(begin, end):
            side_row, h_before, h_row = side_t[b], h[t, b], h[t + 1, b]
            r, z, n = split(gates_t[b], G, H)
            if reset == AFTER:
                for j in range(H):
                    n[j] += r[j] * side_row[j]
            for j in range(H):
                n[j] = tanh(n[j])
            for j in range(H):
                h_row[j] = (one - z[j]) * n[j] + z[j] * h_before[j]
            store_operand(h_row, h_operand[t + 1, b])
        hand_over(h, h_operand, out, keep, t, begin, end)


@kernel
def gru_backward(
    gates: Array, dgates: Array, recurrent_rz: Array, recurrent_n: Array, reset: int, h: Array,
    side: Array, side_operand: Array, dout: Array, weight: Array, row: Array, dh: Array, drh: Array,
    keep: Array, begin: int, end: int,
) -> None:  # fmt: skip
    """gates (T, B, G): as `gru_forward` left them. dgates: out, their gradient before the activations as products read
    it, in the same memory.

    recurrent_rz, recurrent_n: packed transposes.
    side (T, B, H): with reset AFTER, out, the gradient of h' U_n + b_hn; side_operand: as products read it.
    dout (T, B, H): in, the gradient of `out`; out, that of x where a layer is below; weight: packed W', see
    `inputs.pass_down`. row (B, G), dh, drh (B, H): scratch, the last two for the gradients that reach back a step.
    """
    T, _, H = dout.shape
    one = gates.dtype.type(1)  # an integer 1 would turn float32 into float64
    G = row.shape[1]
    rz = G - H
    for b in range(begin, end):
        dh[b] = 0
    for t in range(T - 1, -1, -1):
        for b in range(begin, end):
            side_row, h_before, dout_row, dh_row = side[t, b], h[t, b], dout[t, b], dh[b]
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
                store_operand(side_row, side_operand[t, b])
            elif reset == BEFORE:  # dr is to follow; until then its place keeps r
                for j in range(H):
                    dr[j] = r[j]
            replace_operand(row[b], dgates[t, b])
        if reset == BEFORE:  # n = tanh(… + (r h') U_n)
            for b in range(begin, end):
                drh[b] = 0
            add_product(dgates[t, begin:end], rz, recurrent_n, OWN, drh[begin:end], 0, H, NOTHING)
            for b in range(begin, end):
                h_before, dh_row, drh_row, r = h[t, b], dh[b], drh[b], row[b, :H]
                for j in range(H):
                    dh_row[j] += drh_row[j] * r[j]
                for j in range(H):
                    r[j] = drh_row[j] * h_before[j] * r[j] * (one - r[j])
                replace_operand(row[b], dgates[t, b])
        pass_down(dgates[t], weight, dout[t], begin, end)
        if t > 0:
            upcoming = memory_of(gates, t - 1, begin, end)
            add_product(dgates[t, begin:end], 0, recurrent_rz, OWN, dh[begin:end], 0, H, upcoming)
            if reset == AFTER:
                upcoming = memory_of(side, t - 1, begin, end)
                add_product(side_operand[t, begin:end], 0, recurrent_n, OWN, dh[begin:end], 0, H, upcoming)
            drop_rows(dh, keep[t], begin, end)
