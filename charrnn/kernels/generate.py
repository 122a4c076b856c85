"""Writing text: step, draw, step again, for many samples side by side, without leaving compiled code.

A step is one of the cells' own forward kernels over a window of one unit, so that what is drawn from is what scoring
computes. The kernel takes stacks whose layers are all of one cell; which cell is the type of the `stack` argument.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import types
from numba.extending import overload

from charrnn.kernels.arrays import Array, Flags, Ids
from charrnn.kernels.compile import OPTIONS, kernel
from charrnn.kernels.draw import draw
from charrnn.kernels.gru import gru_forward
from charrnn.kernels.lstm import lstm_forward
from charrnn.kernels.matmul import add_product
from charrnn.kernels.rnn import rnn_forward
from charrnn.kernels.rounding import store_operand
from charrnn.kernels.state import move_on


class LSTMStack(NamedTuple):
    """L layers of LSTM: packed weights and, for one step of B rows, the arrays of `lstm_forward`, each (L, …)."""

    gates: Array  # (L, 1, B, 4H)
    h: Array  # (L, 2, B, H)
    h_operand: Array
    c: Array  # (L, 2, B, H)
    recurrent: Array
    peepholes: Array  # (L, 3, H) or (L, 0, H)


class GRUStack(NamedTuple):
    """L layers of GRU, as `LSTMStack`, with the arrays of `gru_forward`."""

    gates: Array
    h: Array
    h_operand: Array
    side: Array  # (L, 1, B, H)
    side_operand: Array
    recurrent_rz: Array
    recurrent_n: Array
    bias_hn: Array  # (L, H) or (L, 0)
    reset: int


class RNNStack(NamedTuple):
    """L plain layers, as `LSTMStack`, with the arrays of `rnn_forward`."""

    gates: Array
    h: Array
    h_operand: Array
    recurrent: Array
    relu: bool


class Ends(NamedTuple):
    """What is below and above the stack."""

    embedding: Array  # (V, E); one-hot input: (0, 1)
    rows: Array  # (1, B, E)
    rows_operand: Array
    table: Array  # what the gates of the first layer start as: (1, G), its bias; one-hot input: (V, G), W_ih + b
    local: Ids  # (1, B), rows of it
    zeros: Ids  # (1, B)
    first: Array  # packed W_ih of the first layer; one-hot input: no panels
    inputs: Array  # packed W_ih of every layer (L, …), that of the first unused
    bias: Array  # (L, 1, G)
    output: Array  # packed W of the softmax
    output_bias: Array  # (V)
    logits: Array  # (1, B, V) float32
    keep: Array  # (1, B)
    boundary: int  # the unit at whose input the state is reset, or -1


def step_layer(
    stack: Any, layer: int, table: Array, local: Ids, x: Array, weight: Array, keep: Array, begin: int, end: int
) -> None:  # fmt: skip
    """From the input of a layer, see `inputs.start_gates`, to its new state, for one step."""
    raise NotImplementedError  # compiled forms below


@overload(step_layer, jit_options=OPTIONS, inline="always")
def _step_layer(stack, layer, table, local, x, weight, keep, begin, end):  # type: ignore[no-untyped-def]
    def lstm(stack, layer, table, local, x, weight, keep, begin, end):  # type: ignore[no-untyped-def]
        h, c = stack.h[layer], stack.c[layer]
        lstm_forward(
            table, local, x, weight, stack.gates[layer], stack.recurrent[layer], stack.peepholes[layer], h,
            stack.h_operand[layer], c, h[1:], keep, begin, end,
        )  # fmt: skip
        move_on(c, begin, end)

    def gru(stack, layer, table, local, x, weight, keep, begin, end):  # type: ignore[no-untyped-def]
        h = stack.h[layer]
        gru_forward(
            table, local, x, weight, stack.gates[layer], stack.recurrent_rz[layer], stack.recurrent_n[layer],
            stack.bias_hn[layer], stack.reset, h, stack.h_operand[layer], stack.side[layer],
            stack.side_operand[layer], h[1:], keep, begin, end,
        )  # fmt: skip

    def rnn(stack, layer, table, local, x, weight, keep, begin, end):  # type: ignore[no-untyped-def]
        h = stack.h[layer]
        rnn_forward(
            table, local, x, weight, stack.gates[layer], stack.recurrent[layer], stack.relu, h,
            stack.h_operand[layer], h[1:], keep, begin, end,
        )  # fmt: skip

    if not isinstance(stack, types.NamedTuple):
        return None
    return {LSTMStack: lstm, GRUStack: gru, RNNStack: rnn}[stack.instance_class]


@kernel
def generate(
    stack: LSTMStack | GRUStack | RNNStack, ends: Ends, previous: Ids, uniforms: Array, temperature: float, top_k: int,
    top_p: float, line_end: int, ended: Flags, units: Ids, begin: int, end: int,
) -> int:  # fmt: skip
    """Draw up to n units for the samples from `begin` to `end`, into units (n, B), by uniforms (n, B); returns how
    many.

    previous (B): the last unit of each sample; it and step 0 of the states go on. Once each of the samples drew
    `line_end`, which `ended` (B) notes, the rest of `units` is left as it is.
    """
    layers = stack.h.shape[0]
    V = ends.output_bias.size
    open_lines = end - begin
    for n in range(units.shape[0]):
        for b in range(begin, end):
            unit = previous[b]
            ends.keep[0, b] = 0 if unit == ends.boundary else 1
            if len(ends.embedding):
                source, row = ends.embedding[unit], ends.rows[0, b]
                for j in range(row.size):
                    row[j] = source[j]
                store_operand(row, ends.rows_operand[0, b])
            else:
                ends.local[0, b] = unit
        table, local, x, weight = ends.table, ends.local, ends.rows_operand, ends.first
        for layer in range(layers):
            step_layer(stack, layer, table, local, x, weight, ends.keep, begin, end)
            move_on(stack.h[layer], begin, end)
            x = stack.h_operand[layer, 1:]
            if layer + 1 < layers:
                table, local, weight = ends.bias[layer + 1], ends.zeros, ends.inputs[layer + 1]
        for b in range(begin, end):
            logits = ends.logits[0, b]
            for v in range(V):
                logits[v] = ends.output_bias[v]
        add_product(x[0, begin:end], 0, ends.output, ends.logits[0, begin:end], 0, V)
        for b in range(begin, end):
            unit = draw(ends.logits[0, b], uniforms[n, b], temperature, top_k, top_p)
            units[n, b] = unit
            previous[b] = unit
            if unit == line_end and not ended[b]:
                ended[b] = True
                open_lines -= 1
        if open_lines == 0:
            return n + 1
    return len(units)
