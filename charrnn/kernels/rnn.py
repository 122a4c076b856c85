"""The plain recurrent layer (Elman 1990).

    h = tanh(x W + h' U + b), or max(0, …)       h': the state of the step before

Where no gradient is wanted, `gates (T, B, H)` need not be kept, and may hold fewer steps: each then takes the place of
an earlier one. The kernels handle the rows (sequences) from `begin` to `end` only.
"""

from __future__ import annotations

from charrnn.kernels.functions import tanh
from charrnn.kernels.inputs import pass_down, start_gates
from charrnn.kernels.matmul import OWN, add_product, memory_of
from charrnn.kernels.rounding import replace_operand, store_operand
from charrnn.kernels.state import drop_rows, enter, hand_over
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.compile import kernel


@kernel
def rnn_forward(
    table: Array, local: Ids, x: Array, weight: Array, gates: Array, recurrent: Array, relu: bool, h: Array,
    h_operand: Array, out: Array, keep: Array, begin: int, end: int,
) -> None:  # fmt: skip
    """The input's part is table[local] + x W, see `inputs.start_gates`: local (T, B), x (T, B, E), weight packed W.

    gates: out, the activation, its rows may be longer. h (T + 1, B, H): step 0 in, the others out.
    recurrent: packed U. h_operand: h as products read it, rounded or h itself. relu: max(0, ·) in place of tanh. keep
    (T, B): 0 where the state is reset before a step. out (T, B, H): h of every step as the layer above sees it.
    """
    T, _, H = out.shape
    zero = gates.dtype.type(0)
    enter(h, h_operand, keep, begin, end)
    for t in range(T):
        gates_t = gates[t % len(gates)]
        start = start_gates(table, local, x, t, weight, gates_t, begin, end)
        upcoming = memory_of(gates, t + 1, begin, end)
        add_product(h_operand[t, begin:end], 0, recurrent, start, gates_t[begin:end], 0, H, upcoming)
        for b in range(begin, end):
            row, h_row = gates_t[b], h[t + 1, b]
            if relu:
                for j in range(H):
                    row[j] = row[j] if row[j] > zero else zero * row[j]  # zero * keeps a NaN a NaN
            else:
                for j in range(H):
                    row[j] = tanh(row[j])
            for j in range(H):
                h_row[j] = row[j]
            store_operand(h_row, h_operand[t + 1, b])
        hand_over(h, h_operand, out, keep, t, begin, end)


@kernel
def rnn_backward(
    gates: Array, dgates: Array, recurrent: Array, relu: bool, dout: Array, weight: Array, row: Array,
    dh: Array, keep: Array, begin: int, end: int,
) -> None:  # fmt: skip
    """gates (T, B, H): as `rnn_forward` left them. dgates: out, their gradient before the activation as products read
    it, in the same memory.

    recurrent: packed U'. dout (T, B, H): in, the gradient of `out`; out, that of x where a layer is below; weight:
    packed W', see `inputs.pass_down`. row, dh (B, H): scratch, the latter for the gradient that reaches back a step.
    """
    T, _, H = dout.shape
    one = gates.dtype.type(1)  # an integer 1 would turn float32 into float64
    zero = gates.dtype.type(0)
    for b in range(begin, end):
        dh[b] = 0
    for t in range(T - 1, -1, -1):
        for b in range(begin, end):
            gate, drow, dout_row, dh_row = gates[t, b], row[b], dout[t, b], dh[b]
            if relu:  # h = max(0, a)
                for j in range(H):
                    drow[j] = dout_row[j] + dh_row[j] if gate[j] > zero else zero * gate[j]
            else:  # h = tanh(a)
                for j in range(H):
                    drow[j] = (dout_row[j] + dh_row[j]) * (one - gate[j] * gate[j])
            replace_operand(drow, dgates[t, b])
            dh_row[:] = 0
        pass_down(dgates[t], weight, dout[t], begin, end)
        if t > 0:
            upcoming = memory_of(gates, t - 1, begin, end)
            add_product(dgates[t, begin:end], 0, recurrent, OWN, dh[begin:end], 0, H, upcoming)
            drop_rows(dh, keep[t], begin, end)
