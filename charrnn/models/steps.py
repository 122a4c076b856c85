"""The arrays of the compiled loops that write unit by unit, `kernels/generate.py` and `kernels/decode.py`.

L layers; other letters as in `nn/block.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from charrnn.kernels.generate import GRU, LSTM, RNN, Network
from charrnn.nn import gru, lstm, rnn
from charrnn.nn.context import Context
from charrnn.nn.embedding import Embedding
from charrnn.nn.packed import Packed
from charrnn.nn.recurrent import RecurrentLayer
from charrnn.nn.softmax import Softmax
from charrnn.runtime.arrays import Array

Cells = tuple[LSTM | None, GRU | None, RNN | None]


def one_of_each(layers: Sequence[RecurrentLayer], name: str) -> Array:
    """The array `name` of every layer, stacked: (L, …)."""
    return np.stack([getattr(layer, name) for layer in layers])


def panels_of_each(packed: Sequence[Packed]) -> Array:
    """The packed panels of every layer, stacked: (L, …)."""
    return np.stack([one.panels for one in packed])


class Steps:
    """A copy of the packed weights of layers for which `fit` holds, and those of `output`; for one version of them.

    The first layer reads rows of `embedding`; None: `table` has the input's part of its gates for each id.
    """

    @staticmethod
    def fit(layers: Sequence[RecurrentLayer], context: Context) -> bool:
        """Whether all layers are of one cell that the kernels know, in float32."""
        kinds = {type(layer) for layer in layers}
        return len(kinds) == 1 and kinds <= {lstm.Layer, gru.Layer, rnn.Layer} and context.dtype == np.float32

    def __init__(
        self, layers: Sequence[RecurrentLayer], embedding: Embedding | None, table: Array, output: Softmax,
        context: Context,
    ) -> None:  # fmt: skip
        self.layers, self.output, self.context = layers, output, context
        first, panels = layers[0], layers[0].recurrent[0].panels
        none = np.empty((0, *panels.shape[1:]), panels.dtype)
        self.bias = one_of_each(layers, "b")[:, np.newaxis]
        if embedding is None or first.input is None:
            self.embedding: Array = np.empty((0, 1), context.dtype)
            self.table, self.first = table, none
        else:
            self.embedding, self.table, self.first = embedding.table, self.bias[0], first.input.panels
        if len(layers) > 1:
            above = [layer.input.panels for layer in layers[1:] if layer.input is not None]
            self.inputs = np.stack([above[0], *above])
        else:
            self.inputs = none[np.newaxis]
        self.recurrent = panels_of_each([layer.recurrent[0] for layer in layers])
        self.recurrent_n = panels_of_each([layer.recurrent[-1] for layer in layers])

    def array(self, name: str, *shape: int) -> Array:
        """A workspace array (…, N) of these loops."""
        return self.context.workspace.get(f"steps.{name}", *shape)

    def operand(self, name: str, array: Array) -> Array:
        """The gemm input of an array (…, N) of that name."""
        flat = array.reshape(-1, *array.shape[-2:])
        rounded = self.context.workspace.operand_of(f"steps.{name}", flat)
        return rounded.reshape(*array.shape[:-1], rounded.shape[-1])

    def arrays(self, B: int, reset_unit: int, logits: int) -> tuple[Network, Cells]:
        """What a loop over B rows works in: the weights, and views of the workspace; `logits`: rows of them."""
        layers, first, get, ids = self.layers, self.layers[0], self.array, self.context.workspace.ids
        L, H, config = len(layers), first.H, first.config
        rows, h = get("rows", 1, B, self.embedding.shape[1]), get("h", L, 2, B, H)
        net = Network(
            self.embedding, rows, self.operand("rows", rows), self.table, ids("steps.local", 1, B), ids("zeros", 1, B),
            self.first, self.inputs, self.bias, self.recurrent, get("gates", L, 1, B, first.G), h,
            self.operand("h", h), self.output.to_logits.panels, self.output.b, get("logits", 1, logits, self.output.V),
            get("reset_mask", 1, B), reset_unit,
        )  # fmt: skip
        if isinstance(first, lstm.Layer):
            peepholes = one_of_each(layers, "p") if config.peepholes else None
            factors = get("factors", 1, B) if config.rms_norm else None
            return net, (LSTM(get("c", L, 2, B, H), peepholes, factors), None, None)
        if isinstance(first, gru.Layer):
            side, bias_hn = get("side", L, 1, B, H), one_of_each(layers, "b_hn")
            return net, (None, GRU(side, self.operand("side", side), self.recurrent_n, bias_hn, first.reset), None)
        return net, (None, None, RNN(config.activation == "relu"))
