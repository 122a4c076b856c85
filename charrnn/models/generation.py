"""Sampling from a language model: the arrays for the compiled loop of `kernels/generate.py`, and a loop in Python.

L layers; other letters as in `nn/block.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from charrnn.kernels import draw, generate
from charrnn.kernels.generate import GRU, LSTM, RNN, Network
from charrnn.nn import gru, lstm, rnn
from charrnn.nn.embedding import Embedding
from charrnn.nn.packed import Packed
from charrnn.nn.recurrent import RecurrentLayer
from charrnn.nn.softmax import Softmax
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.threads import Job

if TYPE_CHECKING:
    import numpy.typing as npt

    from charrnn.models.language import LanguageModel


def one_of_each(layers: list[RecurrentLayer], name: str) -> Array:
    """The array `name` of every layer, stacked: (L, …)."""
    return np.stack([getattr(layer, name) for layer in layers])


def panels_of_each(packed: list[Packed]) -> Array:
    """The packed panels of every layer, stacked: (L, …)."""
    return np.stack([one.panels for one in packed])


class Generator:
    """Draws units with a copy of a model's weights, whose layers must all be of one cell and whose head a full softmax.

    It is valid for one version of the weights: `LanguageModel.generate` makes another after `invalidate`.
    """

    @staticmethod
    def fits(model: LanguageModel) -> bool:
        """Whether all layers are of one cell that the kernel knows, in float32, under one softmax."""
        kinds = {type(layer) for layer in model.layers}
        known = (lstm.Layer, gru.Layer, rnn.Layer)
        return (
            len(kinds) == 1 and kinds <= set(known) and model.dtype == np.float32 and isinstance(model.output, Softmax)
        )

    def __init__(self, model: LanguageModel) -> None:
        self.model, self.version = model, model.context.version
        self.layers = layers = model.layers
        first = layers[0]
        assert isinstance(model.output, Softmax)
        self.output = model.output
        panels = first.recurrent[0].panels
        none = np.empty((0, *panels.shape[1:]), panels.dtype)
        self.bias = one_of_each(layers, "b")[:, np.newaxis]
        if first.input is None:
            self.embedding: Array = np.empty((0, 1), model.dtype)
            with np.errstate(over="ignore"):  # no unit is drawn from logits that are not finite
                self.table, self.first = model.views[first.weight_ih.name] + self.bias[0], none
        else:
            embedding = model.blocks[0]
            assert isinstance(embedding, Embedding)
            self.embedding = embedding.table
            self.table, self.first = self.bias[0], first.input.panels
        if len(layers) > 1:
            above = [layer.input.panels for layer in layers[1:] if layer.input is not None]
            self.inputs = np.stack([above[0], *above])
        else:
            self.inputs = none[np.newaxis]
        self.recurrent = panels_of_each([layer.recurrent[0] for layer in layers])
        self.recurrent_n = panels_of_each([layer.recurrent[-1] for layer in layers])

    def run(
        self, previous: Ids, state: Array, uniforms: npt.NDArray[np.float64], temperature: float, top_k: int,
        top_p: float, line_end: int, reset_unit: int,
    ) -> Ids:  # fmt: skip
        """See `LanguageModel.generate`: units (n, B) or fewer steps; previous (B), state (S, B, H), uniforms (n, B).

        Threads take rows; `previous` and `state` become those after the last step.
        """
        n, B = uniforms.shape
        net, lstm, gru, rnn = self._arrays(B, reset_unit)
        layers = self.layers
        rows = iter(state)
        for index in range(len(layers)):
            net.h[index, 0] = next(rows)
            if lstm is not None:
                lstm.c[index, 0] = next(rows)
        units = np.full((n, B), max(line_end, 0), np.int32)
        ended = np.zeros(B, np.bool_)
        drawn = np.zeros(self.model.threads, np.int64)

        def work(begin: int, end: int, thread: int) -> None:
            drawn[thread] = generate.generate(
                net, lstm, gru, rnn, previous, uniforms, temperature, top_k, top_p, line_end, ended, units, begin, end
            )  # fmt: skip

        self.model.context.pool.run([Job(B, 1, work)])
        rows = iter(state)
        for index in range(len(layers)):
            next(rows)[:] = net.h[index, 0]
            if lstm is not None:
                next(rows)[:] = lstm.c[index, 0]
        return units[: drawn.max()]

    def _arrays(self, B: int, reset_unit: int) -> tuple[Network, LSTM | None, GRU | None, RNN | None]:
        """The arrays of the compiled loop for B samples: the weights, and views of the model's workspace."""
        layers, workspace, config = self.layers, self.model.context.workspace, self.model.config
        L, H, V = len(layers), config.hidden_size, config.vocabulary_size
        E = self.embedding.shape[1]

        def get(name: str, *shape: int) -> Array:
            return workspace.get(f"generate.{name}", *shape)

        def operand(name: str, array: Array) -> Array:
            flat = array.reshape(-1, *array.shape[-2:])
            rounded = workspace.operand_of(f"generate.{name}", flat)
            return rounded.reshape(*array.shape[:-1], rounded.shape[-1])

        rows = get("rows", 1, B, E)
        logits, reset_mask = get("logits", 1, B, V), get("reset_mask", 1, B)
        h = get("h", L, 2, B, H)
        net = Network(
            self.embedding, rows, operand("rows", rows), self.table, workspace.ids("generate.local", 1, B),
            workspace.ids("zeros", 1, B), self.first, self.inputs, self.bias, self.recurrent,
            get("gates", L, 1, B, layers[0].G), h, operand("h", h), self.output.to_logits.panels, self.output.b,
            logits, reset_mask, reset_unit,
        )  # fmt: skip
        if isinstance(layers[0], lstm.Layer):
            peepholes = one_of_each(layers, "p") if config.peepholes else None
            factors = get("factors", 1, B) if config.rms_norm else None
            return net, LSTM(get("c", L, 2, B, H), peepholes, factors), None, None
        if isinstance(layers[0], gru.Layer):
            side, bias_hn = get("side", L, 1, B, H), one_of_each(layers, "b_hn")
            return net, None, GRU(side, operand("side", side), self.recurrent_n, bias_hn, layers[0].reset), None
        return net, None, None, RNN(config.activation == "relu")


def step_by_step(
    model: LanguageModel, previous: Ids, state: Array, uniforms: npt.NDArray[np.float64], temperature: float,
    top_k: int, top_p: float, line_end: int, reset_unit: int,
) -> Ids:  # fmt: skip
    """As `Generator.run`, with one call of the network per step, for networks that the compiled loop cannot run.

    That loop needs layers of one type and one matrix of output weights: not several cells, not an adaptive softmax.
    previous (B), state (S, B, H), uniforms (n, B); see `LanguageModel.generate`.
    """
    ended = np.zeros(previous.size, np.bool_)
    units = np.empty(uniforms.shape, np.int32)
    for n, row in enumerate(uniforms):
        reset = (previous == reset_unit)[np.newaxis]
        logits = model.logits(model.forward(previous[np.newaxis], state, reset)[0]).astype(np.float32)
        for b in range(previous.size):
            previous[b] = units[n, b] = draw.draw(logits[b], row[b], temperature, top_k, top_p)
        ended |= previous == line_end
        if ended.all():
            return units[: n + 1]
    return units
