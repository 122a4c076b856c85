"""The LSTM (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000; peepholes: Gers and Schmidhuber 2000).

    i = σ(x W_i + h' U_i + b_i + p_i c')        h', c': the state of the step before
    f = σ(x W_f + h' U_f + b_f + p_f c')
    g = tanh(x W_g + h' U_g + b_g)
    c = f c' + i g
    o = σ(x W_o + h' U_o + b_o + p_o c)
    h = o tanh(c)

With `rms_norm`, h is that normalised over its H numbers, see `normalise.py`.

Gates lie side by side as i f g o: `gates (T, B, 4H)`, whose rows may be longer, and `c (T + 1, B, H)`. Where no
gradient is wanted they need not be kept, and may hold fewer steps, at least 1 and 2: each then takes the place of an
earlier one. `peepholes (3, H)` are p_i, p_f and p_o, or None; `factors (T, B)`, kept like the gates, are what h was
multiplied by to normalise it, or None where it is not. What belongs to a None is not compiled. The kernels handle the
rows (sequences) from `begin` to `end` only.
"""

from __future__ import annotations

from charrnn.kernels.functions import sigmoid, tanh
from charrnn.kernels.inputs import pass_down, start_gates
from charrnn.kernels.matmul import OWN, add_product, memory_of
from charrnn.kernels.normalise import normalise, normalise_backward
from charrnn.kernels.rounding import number, replace_operand, store_operand
from charrnn.kernels.state import drop_rows, enter, hand_over
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.compile import inline, kernel


@inline
def split(row: Array, H: int) -> tuple[Array, Array, Array, Array]:
    """The gates i, f, g, o of a row (4H or longer)."""
    return row[:H], row[H : 2 * H], row[2 * H : 3 * H], row[3 * H : 4 * H]


@kernel
def lstm_forward(
    table: Array, local: Ids, x: Array, weight: Array, gates: Array, recurrent: Array, peepholes: Array | None,
    factors: Array | None, h: Array, h_operand: Array, c: Array, out: Array, keep: Array, begin: int, end: int,
) -> None:  # fmt: skip
    """The input's part is table[local] + x W, see `inputs.start_gates`: local (T, B), x (T, B, E), weight packed W.

    gates: out, activated. h, c: step 0 in, the others out. recurrent: packed U. h_operand: h as products read it,
    rounded or h itself. factors: out. keep (T, B): 0 where the state is reset before a step. out (T, B, H): h of every
    step as the layer above sees it.
    """
    T, _, H = out.shape
    enter(h, h_operand, keep, begin, end)
    for t in range(T):
        gates_t, c_t, c_next = gates[t % len(gates)], c[t % len(c)], c[(t + 1) % len(c)]
        start = start_gates(table, local, x, t, weight, gates_t, begin, end)
        upcoming = memory_of(gates, t + 1, begin, end)
        add_product(h_operand[t, begin:end], 0, recurrent, start, gates_t[begin:end], 0, 4 * H, upcoming)
        for b in range(begin, end):
            kept = keep[t, b]
            i, f, g, o = split(gates_t[b], H)
            c_before, c_row, h_row = c_t[b], c_next[b], h[t + 1, b]
            if peepholes is not None:
                p_i, p_f = peepholes[0], peepholes[1]
                for j in range(H):
                    i[j] += p_i[j] * c_before[j] * kept
                for j in range(H):
                    f[j] += p_f[j] * c_before[j] * kept
            i_and_f = gates_t[b, : 2 * H]
            for j in range(2 * H):
                i_and_f[j] = sigmoid(i_and_f[j])
            for j in range(H):
                g[j] = tanh(g[j])
                c_row[j] = f[j] * c_before[j] * kept + i[j] * g[j]
            if peepholes is not None:
                p_o = peepholes[2]
                for j in range(H):
                    o[j] += p_o[j] * c_row[j]
            for j in range(H):
                o[j] = sigmoid(o[j])
                h_row[j] = o[j] * tanh(c_row[j])
            if factors is not None:
                factors[t % len(factors), b] = normalise(h_row)
            store_operand(h_row, h_operand[t + 1, b])
        hand_over(h, h_operand, out, keep, t, begin, end)


@kernel
def lstm_backward(
    gates: Array, dgates: Array, recurrent: Array, peepholes: Array | None, factors: Array | None, c: Array,
    dout: Array, weight: Array, row: Array, dh: Array, dc: Array, keep: Array, begin: int, end: int,
) -> None:  # fmt: skip
    """gates (T, B, 4H): as `lstm_forward` left them. dgates: out, their gradient before the activations as products
    read it, in the same memory.

    recurrent: packed U'. factors: as `lstm_forward` left them. dout (T, B, H): in, the gradient of `out`;
    out, that of x where a layer is below; weight: packed W', see `inputs.pass_down`. row (B, 4H), dh, dc (B, H):
    scratch, the last two for the gradients that reach back a step.
    """
    T, _, H = dout.shape
    one = gates.dtype.type(1)  # an integer 1 would turn float32 into float64
    for b in range(begin, end):
        dh[b] = 0
        dc[b] = 0
    for t in range(T - 1, -1, -1):
        for b in range(begin, end):
            kept = keep[t, b]
            i, f, g, o = split(gates[t, b], H)
            di, df, dg, do = split(row[b], H)
            c_before, c_row, dout_row, dh_row, dc_row = c[t, b], c[t + 1, b], dout[t, b], dh[b], dc[b]
            if factors is not None:  # h = r o tanh(c), which is kept in the place of do for a moment
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
                df[j] = dc_j * c_before[j] * kept * f_j * (one - f_j)
                dc_row[j] = dc_j * f_j * kept
            if peepholes is not None:  # i = σ(… + p_i c'), f = σ(… + p_f c')
                p_i, p_f = peepholes[0], peepholes[1]
                for j in range(H):
                    dc_row[j] += (di[j] * p_i[j] + df[j] * p_f[j]) * kept
            replace_operand(row[b], dgates[t, b])
            dh_row[:] = 0
        pass_down(dgates[t], weight, dout[t], begin, end)
        if t > 0:  # gates = … + h' U
            upcoming = memory_of(gates, t - 1, begin, end)
            add_product(dgates[t, begin:end], 0, recurrent, OWN, dh[begin:end], 0, H, upcoming)
            drop_rows(dh, keep[t], begin, end)


@kernel
def lstm_peephole_gradient(dgates: Array, c: Array, keep: Array, dpeepholes: Array, first: int, last: int) -> None:
    """Add to dpeepholes (3, H) for the columns from `first` to `last`: i and f see c', o sees c; dgates from
    `lstm_backward`."""
    T, B, _ = dgates.shape
    _, H = dpeepholes.shape
    dp_i, dp_f, dp_o = dpeepholes[0, first:last], dpeepholes[1, first:last], dpeepholes[2, first:last]
    for t in range(T):
        for b in range(B):
            kept = keep[t, b]
            di = dgates[t, b, first:last]
            df = dgates[t, b, H + first : H + last]
            do = dgates[t, b, 3 * H + first : 3 * H + last]
            before, after = c[t, b, first:last], c[t + 1, b, first:last]
            for j in range(last - first):
                dp_i[j] += number(di[j]) * before[j] * kept
            for j in range(last - first):
                dp_f[j] += number(df[j]) * before[j] * kept
            for j in range(last - first):
                dp_o[j] += number(do[j]) * after[j]
