"""Recurrent layers: the arrays each cell's kernels work on, and the products that all cells share.

A layer is used in this order: `resize`, the jobs of `pack`, `project` or a table look-up into `gates`, `forward`; for a
gradient then `backward`, `add_input_gradient` and the jobs of `weight_jobs`. Rows (sequences) from `begin` to `end` are
independent of all others, so that each thread takes its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from charrnn.config import ModelConfig
from charrnn.kernels import gru, inputs, lstm, matmul, rnn
from charrnn.kernels.arrays import Array
from charrnn.kernels.threads import Job
from charrnn.models.buffers import Buffers

Scratch = list[tuple[Array, Array]]  # one pair of blocks a thread, see `matmul.scratch_shapes`


class Operand:
    """A weight, or some of its columns, packed to be multiplied by from the left."""

    def __init__(self, weight: Array, column: int, size: int, *, transposed: bool = False) -> None:
        self.weight, self.column, self.size, self.transposed = weight, column, size, transposed
        K, N = (size, weight.shape[0]) if transposed else (weight.shape[0], size)
        self.panels = np.empty(matmul.panels_shape(K, N, weight.dtype), weight.dtype)

    def job(self) -> Job:
        """The packing, panel by panel."""
        pack = matmul.pack_transposed if self.transposed else matmul.pack

        def work(first: int, last: int, thread: int) -> None:
            pack(self.weight, self.column, self.size, self.panels, first, last)

        count, K, width = self.panels.shape
        return Job(count, K * width, work)


def product_job(
    a: Array, b: Array, b_column: int, c: Array, c_column: int, size: int, scratch: Scratch
) -> Job:  # fmt: skip
    """C += a' B for `size` columns of b (R, N) and c (M, N) from the given ones on, a (R, M); divided by panels of C."""
    count, _, width = matmul.panels_shape(1, size, c.dtype)

    def work(first: int, last: int, thread: int) -> None:
        matmul.add_transposed_product(a, b, b_column, c, c_column, size, first, last, *scratch[thread])

    return Job(count, a.shape[0] * a.shape[1] * width, work)


def sum_job(dgates: Array, dbias: Array) -> Job:
    """dbias (G) += Σ dgates (N, G) over the rows, divided by columns."""

    def work(first: int, last: int, thread: int) -> None:
        inputs.add_column_sums(dgates, dbias, first, last)

    return Job(dbias.size, dgates.shape[0], work)


def flat(array: Array) -> Array:
    """(T, B, ·) as (T·B, ·)."""
    return array.reshape(-1, array.shape[-1])


class Layer:
    """What all cells share. `weights` and `gradients` are the layer's own views into the two flat vectors."""

    states = 1  # arrays of state carried from step to step

    def __init__(
        self, config: ModelConfig, index: int, weights: Mapping[str, Array], gradients: Mapping[str, Array], buffers: Buffers
    ) -> None:
        self.config, self.index, self.weights, self.gradients, self.buffers = config, index, weights, gradients, buffers
        H = config.hidden_size
        self.G = weights["weight_hh"].shape[1]
        # The columns of the gates that are multiplied by h at once.
        self.parts = [(0, self.G - H), (self.G - H, H)] if config.cells[index] == "gru" else [(0, self.G)]
        self.recurrent = [Operand(weights["weight_hh"], column, size) for column, size in self.parts]
        self.input = Operand(weights["weight_ih"], 0, self.G) if index > 0 or config.embedding_size else None
        self._backward: tuple[list[Operand], Operand | None] | None = None

    @property
    def backward_operands(self) -> tuple[list[Operand], Operand | None]:
        """The transposed weights, recurrent and input, which only a gradient needs."""
        if self._backward is None:
            hh, ih = self.weights["weight_hh"], self.weights["weight_ih"]
            recurrent = [Operand(hh, column, size, transposed=True) for column, size in self.parts]
            self._backward = recurrent, Operand(ih, 0, self.G, transposed=True) if self.input else None
        return self._backward

    def pack(self, *, backward: bool) -> list[Job]:
        """Jobs that pack the weights for the forward or the backward direction."""
        recurrent, input_operand = self.backward_operands if backward else (self.recurrent, self.input)
        return [operand.job() for operand in [*recurrent, *([input_operand] if input_operand else [])]]

    def resize(self, T: int, B: int, *, separate: bool) -> None:
        """Take arrays for windows of T steps and B rows; `separate`: `out` is not simply h of every step."""
        H = self.config.hidden_size
        self.gates = self._buffer("gates", T, B, self.G)
        self.h = self._buffer("h", T + 1, B, H)
        self.out = self._buffer("out", T, B, H) if separate else self.h[1:]

    def _buffer(self, name: str, *shape: int) -> Array:
        return self.buffers.get(f"{self.index}.{name}", *shape)

    def state(self, step: int) -> list[Array]:
        """The state before a step, as `states` arrays (B, H); step T is what the window leaves behind."""
        return [self.h[step]]

    def project(self, x: Array, begin: int, end: int) -> None:
        """gates = x W_ih + b, for x (T, B, E)."""
        assert self.input is not None
        inputs.fill_rows(self.gates, self.weights["bias"], begin, end)
        matmul.add_products(x, self.input.panels, self.gates, begin, end)

    def forward(self, keep: Array, begin: int, end: int) -> None:
        """From the input's part of `gates` to `out`, through time."""
        raise NotImplementedError

    def backward(self, dout: Array, keep: Array, begin: int, end: int) -> None:
        """From the gradient of `out` (T, B, H) to that of `gates`, in place, back through time."""
        raise NotImplementedError

    def add_input_gradient(self, dx: Array, begin: int, end: int) -> None:
        """dx += dgates W_ih', for dx (T, B, E)."""
        operand = self.backward_operands[1]
        assert operand is not None
        matmul.add_products(self.gates, operand.panels, dx, begin, end)

    def weight_jobs(self, x: Array | None, keep: Array, scratch: Scratch) -> list[Job]:
        """Jobs that add up the gradients of this layer's weights; x (T, B, E), or None where a table stands for it."""
        jobs = self.recurrent_jobs(scratch)
        if x is not None:
            jobs.append(product_job(flat(x), flat(self.gates), 0, self.gradients["weight_ih"], 0, self.G, scratch))
            jobs.append(sum_job(flat(self.gates), self.gradients["bias"]))
        return jobs

    def recurrent_jobs(self, scratch: Scratch) -> list[Job]:
        """dW_hh = Σ h' dgates over all steps and rows, h' being the state before the step."""
        h = flat(self.h[:-1])
        return [product_job(h, flat(self.gates), 0, self.gradients["weight_hh"], 0, self.G, scratch)]


class LSTMLayer(Layer):
    """See `kernels/lstm.py`."""

    states = 2

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        H = self.config.hidden_size
        self.peepholes = self.weights["peepholes"] if self.config.peepholes else np.zeros((0, H), self.buffers.dtype)

    def resize(self, T: int, B: int, *, separate: bool) -> None:
        super().resize(T, B, separate=separate)
        self.c = self._buffer("c", T + 1, B, self.config.hidden_size)

    def state(self, step: int) -> list[Array]:
        return [self.h[step], self.c[step]]

    def forward(self, keep: Array, begin: int, end: int) -> None:
        panels = self.recurrent[0].panels
        lstm.lstm_forward(self.gates, panels, self.peepholes, self.h, self.c, self.out, keep, begin, end)

    def backward(self, dout: Array, keep: Array, begin: int, end: int) -> None:
        _, B, H = dout.shape
        dh, dc = self.buffers.get("dh", B, H), self.buffers.get("dc", B, H)
        panels = self.backward_operands[0][0].panels
        lstm.lstm_backward(self.gates, panels, self.peepholes, self.c, dout, dh, dc, keep, begin, end)

    def weight_jobs(self, x: Array | None, keep: Array, scratch: Scratch) -> list[Job]:
        jobs = super().weight_jobs(x, keep, scratch)
        if self.config.peepholes:

            def work(first: int, last: int, thread: int) -> None:
                lstm.lstm_peephole_gradient(self.gates, self.c, keep, self.gradients["peepholes"], first, last)

            T, B, _ = self.gates.shape
            jobs.append(Job(self.config.hidden_size, 6 * T * B, work))
        return jobs


class GRULayer(Layer):
    """See `kernels/gru.py`."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.reset = {"after": gru.AFTER, "before": gru.BEFORE, "none": gru.NONE}[self.config.reset_gate]
        self.bias_hn = self.weights.get("bias_hn", np.zeros(0, self.buffers.dtype))

    def resize(self, T: int, B: int, *, separate: bool) -> None:
        super().resize(T, B, separate=separate)
        self.side = self._buffer("side", T, B, self.config.hidden_size)

    def forward(self, keep: Array, begin: int, end: int) -> None:
        rz, n = (operand.panels for operand in self.recurrent)
        gru.gru_forward(
            self.gates, rz, n, self.bias_hn, self.reset, self.h, self.side, self.out, keep, begin, end
        )  # fmt: skip

    def backward(self, dout: Array, keep: Array, begin: int, end: int) -> None:
        _, B, H = dout.shape
        dh, drh = self.buffers.get("dh", B, H), self.buffers.get("drh", B, H)
        rz, n = (operand.panels for operand in self.backward_operands[0])
        gru.gru_backward(
            self.gates, rz, n, self.reset, self.h, self.side, dout, dh, drh, keep, begin, end
        )  # fmt: skip

    def recurrent_jobs(self, scratch: Scratch) -> list[Job]:
        (_, rz), (_, H) = self.parts
        h, side, gates = flat(self.h[:-1]), flat(self.side), flat(self.gates)
        dweight = self.gradients["weight_hh"]
        jobs = [product_job(h, gates, 0, dweight, 0, rz, scratch)]
        if self.reset == gru.AFTER:
            jobs.append(product_job(h, side, 0, dweight, rz, H, scratch))
            jobs.append(sum_job(side, self.gradients["bias_hn"]))
        else:
            jobs.append(product_job(side if self.reset == gru.BEFORE else h, gates, rz, dweight, rz, H, scratch))
        return jobs


class RNNLayer(Layer):
    """See `kernels/rnn.py`."""

    def forward(self, keep: Array, begin: int, end: int) -> None:
        relu = self.config.activation == "relu"
        rnn.rnn_forward(self.gates, self.recurrent[0].panels, relu, self.h, self.out, keep, begin, end)

    def backward(self, dout: Array, keep: Array, begin: int, end: int) -> None:
        relu = self.config.activation == "relu"
        dh = self.buffers.get("dh", *dout.shape[1:])
        rnn.rnn_backward(self.gates, self.backward_operands[0][0].panels, relu, dout, dh, keep, begin, end)


LAYERS: dict[str, type[Layer]] = {"lstm": LSTMLayer, "gru": GRULayer, "rnn": RNNLayer}
