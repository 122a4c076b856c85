"""Writing text: step, draw, step again, for many samples side by side, without leaving compiled code.

A step is one of the cells' own forward kernels over a window of one unit, so that what is drawn from is what scoring
computes. The kernel takes stacks whose layers are all of one cell.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from charrnn.kernels.draw import draw
from charrnn.kernels.gru import gru_forward
from charrnn.kernels.lstm import lstm_forward
from charrnn.kernels.matmul import NOTHING
from charrnn.kernels.rnn import rnn_forward
from charrnn.kernels.rounding import store_gemm_input
from charrnn.kernels.softmax import compute_logits
from charrnn.kernels.state import shift_state
from charrnn.runtime.arrays import Array, Flags, Ids
from charrnn.runtime.compile import OPTIONS, kernel


class Network(NamedTuple):
    """Packed weights of L layers of any cell and, for one step of B rows, the arrays of their forward kernels."""

    embedding: Array  # (V, E); one-hot input: (0, 1)
    rows: Array  # (1, B, E)
    rows_gemm: Array
    table: Array  # what the gates of the first layer start as: (1, G), its bias; one-hot input: (V, G), W_ih + b
    local: Ids  # (1, B), rows of it
    zeros: Ids  # (1, B)
    first: Array  # packed W_ih of the first layer; one-hot input: no panels
    inputs: Array  # packed W_ih of every layer (L, …), that of the first unused
    bias: Array  # (L, 1, G)
    recurrent: Array  # (L, …)
    gates: Array  # (L, 1, B, G)
    h: Array  # (L, 2, B, H)
    h_gemm: Array
    output: Array  # packed W of the softmax
    output_bias: Array  # (V)
    logits: Array  # (1, B, V) float32
    reset_mask: Array  # (1, B)
    reset_unit: int  # the unit at whose input the state is reset, or -1


class LSTM(NamedTuple):
    """What `lstm_forward` needs besides."""

    c: Array  # (L, 2, B, H)
    peepholes: Array | None  # (L, 3, H)
    factors: Array | None  # (1, B)


class GRU(NamedTuple):
    """What `gru_forward` needs besides; `recurrent` of the network has the gates r and z."""

    side: Array  # (L, 1, B, H)
    side_gemm: Array
    recurrent_n: Array
    bias_hn: Array  # (L, H) or (L, 0)
    reset: int


class RNN(NamedTuple):
    """What `rnn_forward` needs besides."""

    relu: bool


def one_of(arrays: Array | None, layer: int) -> tuple[Array | None]:
    """arrays[layer] or None; in a tuple, since an array alone is not to be returned without reference counts."""
    return (None if arrays is None else arrays[layer],)


@overload(one_of, jit_options=OPTIONS)
def _one_of(arrays, layer):  # type: ignore[no-untyped-def]
    """Either as a type of its own, none that may be both: so the cells' kernels are those of training."""
    if isinstance(arrays, types.NoneType):
        return lambda arrays, layer: (None,)
    return lambda arrays, layer: (arrays[layer],)


@kernel
def run_layers(net: Network, lstm: LSTM | None, gru: GRU | None, rnn: RNN | None, begin: int, end: int) -> None:
    """One step of all layers for the rows from `begin` to `end`: from slot 0 of the states to slot 1.

    The input lies in `rows_gemm`, or its rows of the table in `local`.
    """
    # A constant would be a type of its own, and the cells' kernels compiled once more for it.
    reverse: Any = np.bool_(False)
    table, local, x, weight = net.table, net.local, net.rows_gemm, net.first
    layers = len(net.h)
    for layer in range(layers):
        gates, recurrent, h, h_gemm = net.gates[layer], net.recurrent[layer], net.h[layer], net.h_gemm[layer]
        if lstm is not None:
            c, peepholes = lstm.c[layer], one_of(lstm.peepholes, layer)[0]
            lstm_forward(
                table, local, x, weight, gates, recurrent, peepholes, lstm.factors, h, h_gemm, c, h[1:],
                net.reset_mask, reverse, begin, end,
            )  # fmt: skip
        elif gru is not None:
            gru_forward(
                table, local, x, weight, gates, recurrent, gru.recurrent_n[layer], gru.bias_hn[layer], gru.reset, h,
                h_gemm, gru.side[layer], gru.side_gemm[layer], h[1:], net.reset_mask, reverse, begin, end,
            )  # fmt: skip
        elif rnn is not None:
            rnn_forward(
                table, local, x, weight, gates, recurrent, rnn.relu, h, h_gemm, h[1:], net.reset_mask, reverse,
                begin, end,
            )  # fmt: skip
        x = h_gemm[1:]
        if layer + 1 < layers:
            table, local, weight = net.bias[layer + 1], net.zeros, net.inputs[layer + 1]


@kernel
def generate(
    net: Network, lstm: LSTM | None, gru: GRU | None, rnn: RNN | None, previous: Ids, uniforms: Array,
    temperature: float, top_k: int, top_p: float, line_end: int, ended: Flags, units: Ids, begin: int, end: int,
) -> int:  # fmt: skip
    """Draw up to n units for the samples from `begin` to `end`, into units (n, B), by uniforms (n, B); returns how
    many.

    All but one of lstm, gru and rnn are None, and only what that one needs is compiled.
    previous (B): the last unit of each sample; it and step 0 of the states go on. Once each of the samples drew
    `line_end`, which `ended` (B) notes, the rest of `units` is left as it is.
    """
    layers = len(net.h)
    open_lines = end - begin
    for n in range(units.shape[0]):
        for b in range(begin, end):
            unit = previous[b]
            net.reset_mask[0, b] = 0 if unit == net.reset_unit else 1
            if len(net.embedding):
                source, row = net.embedding[unit], net.rows[0, b]
                for j in range(row.size):
                    row[j] = source[j]
                store_gemm_input(row, net.rows_gemm[0, b])
            else:
                net.local[0, b] = unit
        run_layers(net, lstm, gru, rnn, begin, end)
        for layer in range(layers):
            shift_state(net.h[layer], begin, end)
            if lstm is not None:
                shift_state(lstm.c[layer], begin, end)
        x = net.h_gemm[layers - 1, 1:]
        compute_logits(x[0, begin:end], net.output, net.output_bias, net.logits[0, begin:end], NOTHING)
        for b in range(begin, end):
            unit = draw(net.logits[0, b], uniforms[n, b], temperature, top_k, top_p)
            units[n, b] = unit
            previous[b] = unit
            if unit == line_end and not ended[b]:
                ended[b] = True
                open_lines -= 1
        if open_lines == 0:
            return n + 1
    return len(units)
