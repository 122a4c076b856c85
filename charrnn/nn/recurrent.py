"""Recurrent layers: the arrays each cell's kernels work on, and the products that all cells share.

A layer is used in this order: `resize`, the jobs of `pack`, `forward`; for a gradient then `backward` and the jobs of
`weight_jobs`. Rows (sequences) from `begin` to `end` are independent of all others, so that each thread takes its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from charrnn.config import ModelConfig
from charrnn.kernels import gru, inputs, lstm, matmul, packing, rnn
from charrnn.runtime.arrays import CACHE_LINE, Array, Ids
from charrnn.runtime.threads import Job
from charrnn.runtime.workspace import Workspace

Scratch = list[tuple[Array, Array]]  # one pair of blocks a thread, see `matmul.empty_scratch`
ADDITION = 24  # what it costs to read a number and add it up: so many multiply-adds of a product
Input = tuple[Array, Ids, Array, Array]  # table, local, x and packed W_ih, see `inputs.start_gates`


class Packed:
    """A weight, or some of its columns, packed as the right operand of products; `operand` is the type of the left
    one."""

    def __init__(
        self, weight: Array, column: int, size: int, operand: np.dtype[Any], *, transposed: bool = False
    ) -> None:  # fmt: skip
        self.weight, self.column, self.size, self.transposed = weight, column, size, transposed
        K, N = (size, weight.shape[0]) if transposed else (weight.shape[0], size)
        self.panels = matmul.empty_panels(K, N, operand)

    def job(self, *, often: bool = True) -> Job:
        """The packing, panel by panel.

        Where it is not done `often`, NumPy does it: the kernels take a second to compile.
        """
        count, K, width = self.panels.shape
        pack = packing.pack_transposed if self.transposed else packing.pack

        def work(first: int, last: int, thread: int) -> None:
            if often:
                pack(self.weight, self.column, self.size, self.panels, first, last)
            else:
                part = self.weight[:, self.column : self.column + self.size]
                packing.pack_uncompiled(part.T if self.transposed else part, self.panels, first, last)

        return Job(count, K * width, work)


def product_job(
    a: Array, M: int, b: Array, b_column: int, c: Array, c_column: int, size: int, scratch: Scratch
) -> Job:  # fmt: skip
    """C += A' B for A = a[:, :M] (R, M) and `size` columns of b (R, ·) and c (M, ·); divided by panels of C."""
    count, _, width = matmul.panels_shape(1, size, a.dtype)

    def work(first: int, last: int, thread: int) -> None:
        matmul.add_transposed_product(a, M, b, b_column, c, c_column, size, first, last, *scratch[thread])

    return Job(count, a.shape[0] * M * width, work)


def sum_job(dgates: Array, dbias: Array) -> Job:
    """dbias (G) += Σ dgates (N, G) over the rows, divided by columns."""

    def work(first: int, last: int, thread: int) -> None:
        inputs.add_column_sums(dgates, dbias, first, last)

    return Job(dbias.size, ADDITION * dgates.shape[0], work)


def flat(array: Array) -> Array:
    """(T, B, ·) as (T·B, ·)."""
    return array.reshape(-1, array.shape[-1])


class Layer:
    """What all cells share. `weights` and `gradients` are the layer's own views into the two flat vectors."""

    states = 1  # arrays of state carried from step to step

    def __init__(
        self, config: ModelConfig, index: int, weights: Mapping[str, Array], gradients: Mapping[str, Array],
        workspace: Workspace,
    ) -> None:  # fmt: skip
        self.config, self.index, self.weights, self.gradients, self.workspace = (
            config,
            index,
            weights,
            gradients,
            workspace,
        )
        H = config.hidden_size
        self.G = weights["weight_hh"].shape[1]
        # Columns of the gates that are multiplied by h at once; a reset gate sets n apart.
        n_apart = config.cells[index] == "gru" and config.reset_gate != "none"
        self.parts = [(0, self.G - H), (self.G - H, H)] if n_apart else [(0, self.G)]
        operand = workspace.operand
        self.recurrent = [Packed(weights["weight_hh"], column, size, operand) for column, size in self.parts]
        self.input = Packed(weights["weight_ih"], 0, self.G, operand) if index > 0 or config.embedding_size else None
        self._backward: tuple[list[Packed], Packed | None] | None = None
        self._no_panels = matmul.empty_panels(1, 0, operand)

    @property
    def transposes(self) -> tuple[list[Packed], Packed | None]:
        """The transposed weights, recurrent and input, which only a gradient needs."""
        if self._backward is None:
            hh, ih, operand = self.weights["weight_hh"], self.weights["weight_ih"], self.workspace.operand
            recurrent = [Packed(hh, column, size, operand, transposed=True) for column, size in self.parts]
            self._backward = recurrent, Packed(ih, 0, self.G, operand, transposed=True) if self.input else None
        return self._backward

    def pack(self, *, backward: bool, often: bool = True) -> list[Job]:
        """Jobs that pack the weights for the forward or the backward direction; `often`: after every step."""
        recurrent, from_input = self.transposes if backward else (self.recurrent, self.input)
        return [packed.job(often=often) for packed in [*recurrent, *([from_input] if from_input else [])]]

    def resize(self, T: int, B: int, *, separate: bool, gradient: bool) -> None:
        """Take arrays for windows of T steps and B rows; `separate`: `out` is not simply h of every step.

        What only a `gradient` reads is kept of every step for one, else of the latest. What products read is kept as an
        operand beside each array, rounded to bfloat16, or it is the array itself.
        """
        H = self.config.hidden_size
        self.kept = T if gradient else 1
        # Rows a power of two apart would all lie in the same few places of a cache, so they are a cache line longer.
        self.gates = self._buffer("gates", self.kept, B, self.G + CACHE_LINE // self.workspace.dtype.itemsize)
        self.h = self._buffer("h", T + 1, B, H)
        self.out = self._buffer("out", T, B, H) if separate else self.h[1:]
        self.h_operand = self._operand("h", self.h)
        self.out_operand = self._operand("out", self.out) if separate else self.h_operand[1:]
        self.separate = separate
        self._zeros = self.workspace.ids("zeros", T, B)

    def prepare_backward(self) -> None:
        """Take what `backward` needs besides: `dgates`, the gradient of the gates as products read it, which takes the
        place of the gates step by step, and scratch."""
        self.dgates = self.gates.view(self.workspace.operand)
        # Each layer's own: another thread may be in a layer of other width, whose rows lie elsewhere.
        self.row = self._buffer("row", self.gates.shape[1], self.G)
        self.dh = self.workspace.get("dh", *self.out.shape[1:])

    def _operand(self, name: str, array: Array) -> Array:
        return self.workspace.operand_of(f"{self.index}.{name}", array)

    def _buffer(self, name: str, *shape: int) -> Array:
        return self.workspace.get(f"{self.index}.{name}", *shape)

    def state(self, step: int) -> list[Array]:
        """The state before a step, as `states` arrays (B, H); step T is what the window leaves behind."""
        return [self.h[step]]

    def forward(self, x: Input, keep: Array, begin: int, end: int) -> None:
        """From the input to `out`, through time."""
        raise NotImplementedError

    def backward(self, dout: Array, keep: Array, begin: int, end: int) -> None:
        """From the gradient of `out`, dout (T, B, H), to `dgates`, back through time.

        In a layer above the first, the gradient of x takes the place of dout step by step.
        """
        raise NotImplementedError

    def input_from(self, below: Array) -> Input:
        """The input of a layer above the first, `below` (T, B, H) being the operand form of what the layer below puts
        out."""
        assert self.input is not None
        return self.weights["bias"][np.newaxis], self._zeros, below, self.input.panels

    def input_from_table(self, table: Array, local: Ids) -> Input:
        """The input of the first layer: rows `local` (T, B) of a table (U, G)."""
        return table, local, self.h_operand[:-1], self._no_panels

    @property
    def panels_down(self) -> Array:
        """Packed W_ih' of a layer above the first."""
        transposed = self.transposes[1]
        return transposed.panels if transposed and self.index > 0 else self._no_panels

    def weight_jobs(self, x: Array | None, keep: Array, scratch: Scratch) -> list[Job]:
        """Jobs that add up the gradients of this layer's weights; x (T, B, E) as an operand, or None where a table
        stands for it."""
        jobs = self.recurrent_jobs(scratch)
        if x is not None:
            H, dgates = self.config.hidden_size, flat(self.dgates)
            jobs.append(product_job(flat(x), H, dgates, 0, self.gradients["weight_ih"], 0, self.G, scratch))
            jobs.append(sum_job(dgates, self.gradients["bias"]))
        return jobs

    def recurrent_jobs(self, scratch: Scratch) -> list[Job]:
        """dW_hh = Σ h' dgates over all steps and rows, h' being the state before the step."""
        h, dgates = flat(self.h_operand[:-1]), flat(self.dgates)
        H = self.config.hidden_size
        return [product_job(h, H, dgates, 0, self.gradients["weight_hh"], 0, self.G, scratch)]


class LSTMLayer(Layer):
    """See `kernels/lstm.py`."""

    states = 2

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.peepholes = self.weights.get("peepholes")

    def resize(self, T: int, B: int, *, separate: bool, gradient: bool) -> None:
        super().resize(T, B, separate=separate, gradient=gradient)
        self.c = self._buffer("c", self.kept + 1, B, self.config.hidden_size)
        self.factors = self._buffer("factors", self.kept, B) if self.config.rms_norm else None

    def state(self, step: int) -> list[Array]:
        return [self.h[step], self.c[step % len(self.c)]]

    def prepare_backward(self) -> None:
        super().prepare_backward()
        self.dc = self.workspace.get("dc", *self.out.shape[1:])

    def forward(self, x: Input, keep: Array, begin: int, end: int) -> None:
        panels = self.recurrent[0].panels
        lstm.lstm_forward(
            *x, self.gates, panels, self.peepholes, self.factors, self.h, self.h_operand, self.c,
            self.out, keep, False, begin, end,
        )  # fmt: skip

    def backward(self, dout: Array, keep: Array, begin: int, end: int) -> None:
        panels = self.transposes[0][0].panels
        lstm.lstm_backward(
            self.gates, self.dgates, panels, self.peepholes, self.factors, self.c, dout,
            self.panels_down, dout, True, self.row, self.dh, self.dc, keep, False, False, begin, end,
        )  # fmt: skip

    def weight_jobs(self, x: Array | None, keep: Array, scratch: Scratch) -> list[Job]:
        jobs = super().weight_jobs(x, keep, scratch)
        if self.config.peepholes:

            def work(first: int, last: int, thread: int) -> None:
                lstm.lstm_peephole_gradient(self.dgates, self.c, keep, self.gradients["peepholes"], False, first, last)

            T, B, _ = self.gates.shape
            jobs.append(Job(self.config.hidden_size, 3 * ADDITION * T * B, work))
        return jobs


class GRULayer(Layer):
    """See `kernels/gru.py`."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.reset = {"after": gru.AFTER, "before": gru.BEFORE, "none": gru.NONE}[self.config.reset_gate]
        self.bias_hn = self.weights.get("bias_hn", np.zeros(0, self.workspace.dtype))

    def resize(self, T: int, B: int, *, separate: bool, gradient: bool) -> None:
        super().resize(T, B, separate=separate, gradient=gradient)
        self.side = self._buffer("side", self.kept, B, self.config.hidden_size)
        self.side_operand = self._operand("side", self.side)

    def prepare_backward(self) -> None:
        super().prepare_backward()
        self.drh = self.workspace.get("drh", *self.out.shape[1:])

    def forward(self, x: Input, keep: Array, begin: int, end: int) -> None:
        rz, n = self.recurrent[0].panels, self.recurrent[-1].panels
        gru.gru_forward(
            *x, self.gates, rz, n, self.bias_hn, self.reset, self.h, self.h_operand, self.side, self.side_operand,
            self.out, keep, False, begin, end,
        )  # fmt: skip

    def backward(self, dout: Array, keep: Array, begin: int, end: int) -> None:
        rz, n = self.transposes[0][0].panels, self.transposes[0][-1].panels
        gru.gru_backward(
            self.gates, self.dgates, rz, n, self.reset, self.h, self.side, self.side_operand,
            dout, self.panels_down, dout, True, self.row, self.dh, self.drh, keep, False, False, begin, end,
        )  # fmt: skip

    def recurrent_jobs(self, scratch: Scratch) -> list[Job]:
        if self.reset == gru.NONE:
            return super().recurrent_jobs(scratch)
        (_, rz), (_, H) = self.parts
        h, side, dgates = flat(self.h_operand[:-1]), flat(self.side_operand), flat(self.dgates)
        dweight = self.gradients["weight_hh"]
        jobs = [product_job(h, H, dgates, 0, dweight, 0, rz, scratch)]
        if self.reset == gru.BEFORE:
            return [*jobs, product_job(side, H, dgates, rz, dweight, rz, H, scratch)]
        jobs.append(product_job(h, H, side, 0, dweight, rz, H, scratch))
        return [*jobs, sum_job(flat(self.side), self.gradients["bias_hn"])]


class RNNLayer(Layer):
    """See `kernels/rnn.py`."""

    def forward(self, x: Input, keep: Array, begin: int, end: int) -> None:
        relu = self.config.activation == "relu"
        rnn.rnn_forward(
            *x, self.gates, self.recurrent[0].panels, relu, self.h, self.h_operand, self.out, keep, False,
            begin, end,
        )  # fmt: skip

    def backward(self, dout: Array, keep: Array, begin: int, end: int) -> None:
        relu = self.config.activation == "relu"
        panels = self.transposes[0][0].panels
        rnn.rnn_backward(
            self.gates, self.dgates, panels, relu, dout, self.panels_down, dout, True, self.row, self.dh, keep,
            False, False, begin, end,
        )  # fmt: skip


LAYERS: dict[str, type[Layer]] = {"lstm": LSTMLayer, "gru": GRULayer, "rnn": RNNLayer}
