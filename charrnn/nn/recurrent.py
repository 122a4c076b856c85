"""What the recurrent layers of all cells share: the input's part of the gates, the state, dropout, weight gradients.

    gates = x W_ih + h' W_hh + b        h': the hidden state of the step before
    out = dropout(h)

Dropout acts on the output of a layer only, never on the recurrent connection: Zaremba, Sutskever and Vinyals 2014,
"Recurrent neural network regularization", arXiv:1409.2329. If the input is a `Lookup`, x W_ih + b is computed once for
each distinct row, as a table (U, G), and each position reads its row. The gradient is first summed by row, then
multiplied by W_ih' and added to W_ih's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from charrnn import kernels
from charrnn.config import RecurrentConfig
from charrnn.nn.block import Block, Views, Window
from charrnn.nn.cells import torch_computes
from charrnn.nn.context import Context
from charrnn.nn.init import glorot, orthogonal_gates, zeros
from charrnn.nn.packed import ADDITION, Packed, flat, product_job, sum_job
from charrnn.nn.parameters import Init, Parameter, Stored
from charrnn.nn.signal import Lookup, Signal
from charrnn.runtime.arrays import CACHE_LINE, Array, Ids
from charrnn.runtime.threads import WORTH_THREADS, Job

Call = tuple[Callable[..., None], tuple[Any, ...]]  # a kernel and its arguments, but for the rows from `begin` to `end`
Input = tuple[Array, Ids, Array, Array]  # table, local, x, packed W_ih: see `kernels.inputs.start_gates`


class RecurrentLayer(Block):
    """A layer of H units that reads E numbers a step, in the direction of time or against it (`reverse`).

    A cell is a subclass: the number of `gates` (blocks of H columns), its two kernels, and what only it has.
    `one_hot`: the input is one-hot, x W_ih a row of W_ih (E, G). `by_row`: see `Parameter`. `part` begins its names.
    """

    states = 1
    gates = 1

    def __init__(
        self, config: RecurrentConfig, index: int, E: int, *, one_hot: bool = False, by_row: bool = False,
        reverse: bool = False, part: str = "",
    ) -> None:  # fmt: skip
        self.config, self.index, self.reverse, self.one_hot = config, index, reverse, one_hot
        self.H, self.E = config.hidden_size, E
        self.G = self.gate_count(config) * self.H
        self._as_torch = torch_computes(config)
        self.state_size, self.gate_columns = self.H, self.G
        self.part, self.name = part, f"{part}layers.{index}{'_reverse' * reverse}"
        self.weight_ih = self._parameter(
            "weight_ih", (E, self.G), glorot(1 if one_hot else E, self.H), decay=True, by_row=by_row
        )
        self.weight_hh = self._parameter("weight_hh", (self.H, self.G), self.recurrent_init(), decay=True)
        self.bias = self._parameter("bias", (self.G,), self.bias_init(), decay=False)

    @classmethod
    def gate_count(cls, config: RecurrentConfig) -> int:
        """G / H: how many blocks of H columns the gates have."""
        return cls.gates

    @classmethod
    def torch_computes(cls, config: RecurrentConfig) -> bool:
        """Whether PyTorch has a layer that computes the same function."""
        return False

    def recurrent_init(self) -> Init:
        """The initial values of W_hh (H, G)."""
        return orthogonal_gates()

    def bias_init(self) -> Init:
        """The initial values of b (G)."""
        return zeros

    def second_bias(self) -> slice:
        """The columns of PyTorch's second bias (G) that are added to b when a checkpoint is read, see `Parameter`."""
        return slice(0, self.G)

    def torch_name(self, kind: str) -> str:
        """A tensor's name in a checkpoint: PyTorch's, or `cells.…` if PyTorch has no layer of the same function."""
        if not self._as_torch:
            return f"{self.part}cells.{self.index}{'_reverse' * self.reverse}.{kind}"
        return f"{self.part}rnn.{kind}_l{self.index}{'_reverse' * self.reverse}"

    def _parameter(
        self, kind: str, shape: tuple[int, ...], init: Init, *, decay: bool, by_row: bool = False
    ) -> Parameter:
        second, stored_kind = None, kind
        weight, looked_up = kind.startswith("weight"), kind == "weight_ih" and (by_row or self.one_hot)
        if kind == "bias" and self._as_torch:
            stored_kind = "bias_ih"
            units = self.second_bias()
            second = Stored(self.torch_name("bias_hh"), (self.G,), units.start, units.stop)
        return Parameter(
            f"{self.name}.{kind}", shape, init, decay, self.torch_name(stored_kind),
            transposed=weight, second=second, by_row=by_row,
            muon=weight and not looked_up and shape[0] <= shape[1],
        )  # fmt: skip

    def parameters(self) -> list[Parameter]:
        """W_ih (E, G), W_hh (H, G), b (G)."""
        return [self.weight_ih, self.weight_hh, self.bias]

    def parts(self) -> list[tuple[int, int]]:
        """First column and number of columns of each part of W_hh (H, G) that is multiplied separately."""
        return [(0, self.G)]

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """Take the views of the parameters and their gradients; see `Block.bind`."""
        self.weights, self.gradients, self.context = weights, gradients, context
        W_ih, W_hh = weights[self.weight_ih.name], weights[self.weight_hh.name]
        self.b, self.db = weights[self.bias.name], gradients[self.bias.name]
        self.dW_ih, self.dW_hh = gradients[self.weight_ih.name], gradients[self.weight_hh.name]
        self.recurrent = [Packed(W_hh, column, size, context.operand) for column, size in self.parts()]
        self.input = None if self.one_hot else Packed(W_ih, 0, self.G, context.operand)
        self._no_panels = kernels.matmul.empty_panels(1, 0, context.operand)
        self._transposes: tuple[list[Packed], Packed | None] | None = None
        self._whole_version = -1  # the version of the weights for which the table has the rows of all ids

    @property
    def transposes(self) -> tuple[list[Packed], Packed | None]:
        """The parts of W_hh' and W_ih' (None if one-hot), packed; made at first use, as only backward needs them."""
        if self._transposes is None:
            W_ih, W_hh = self.weights[self.weight_ih.name], self.weights[self.weight_hh.name]
            operand = self.context.operand
            recurrent = [Packed(W_hh, column, size, operand, transposed=True) for column, size in self.parts()]
            from_input = Packed(W_ih, 0, self.G, operand, transposed=True) if self.input else None
            self._transposes = recurrent, from_input
        return self._transposes

    def pack(self, *, backward: bool, often: bool = True) -> list[Job]:
        """See `Block.pack`."""
        recurrent, from_input = self.transposes if backward else (self.recurrent, self.input)
        return [packed.job(often=often) for packed in [*recurrent, *([from_input] if from_input else [])]]

    def array(self, name: str, *shape: int) -> Array:
        """A workspace array that belongs to this layer."""
        return self.context.workspace.get(f"{self.name}.{name}", *shape)

    def operand(self, name: str, array: Array) -> Array:
        """The gemm input of an array (T, B, N) of that name, see `signal.py`."""
        return self.context.workspace.operand_of(f"{self.name}.{name}", array)

    def prepare(self, below: Signal | Lookup | None, window: Window) -> Signal:
        """See `Block.prepare`: the input is a `Signal` or a `Lookup` of width E, the output has width H."""
        assert below is not None
        T, B = window.shape
        self.window, self.below = window, below
        # Activations that backward needs are stored for all T steps if `gradient`, else for the last only.
        self.stored = T if window.gradient else 1
        # One cache line more than G: rows a power of two apart would all lie in the same few sets of a cache.
        self.gate_values = self.array("gates", self.stored, B, self.G + CACHE_LINE // self.context.dtype.itemsize)
        self.h = self.array("h", T + 1, B, self.H)
        self.h_operand = self.operand("h", self.h)
        self.mask = window.reverse_mask if self.reverse else window.mask
        # Without resets and dropout the output is a view of h: nothing is copied.
        self.separate = window.rate > 0 or window.resets
        if self.separate:
            out = self.array("out", T, B, self.H)
            self.signal = Signal(out, self.operand("out", out))
        else:
            steps = slice(0, T) if self.reverse else slice(1, T + 1)
            self.signal = Signal(self.h[steps], self.h_operand[steps])
        if window.gradient:
            self.signal.gradient = self.array("dout", T, B, self.H)
        if isinstance(below, Signal):
            assert self.input is not None
            zeros = self.context.workspace.ids("zeros", T, B)
            self.x: Input = (self.b[np.newaxis], zeros, below.operand, self.input.panels)
        else:
            U = below.rows
            # The system allocates pages at their first use: rows beyond those of a window take no memory.
            self._table = self.array("table", 1, U, self.G)
            self.x = self._table[0], below.index, self.h_operand[:-1], self._no_panels
            if window.gradient:
                self._dtable = self.array("dtable", 1, U, self.G)
                self._dtable_operand = self.operand("dtable", self._dtable)
        self.prepare_cell(T, B)
        self._forward = self.forward_call()
        return self.signal

    def prepare_cell(self, T: int, B: int) -> None:
        """Take the arrays that only this cell has."""

    def begin(self) -> None:
        """If the input is a `Lookup`, compute table (1, U, G) = x W_ih + b for its U distinct rows."""
        below, context, inputs = self.below, self.context, kernels.inputs
        if isinstance(below, Signal):
            return
        U = below.distinct.size
        self.table = self._table[:, :U]
        if below.whole and self._whole_version == context.version:
            return
        self._whole_version = -1  # until it is complete: an interruption leaves a part of the rows
        if below.operand is None:
            inputs.gather_rows(self.weights[self.weight_ih.name], below.distinct, self.table[0])
            inputs.add_to_rows(self.table[0], self.b)
            self._whole_version = context.version if below.whole else -1
            return
        assert self.input is not None
        inputs.fill_rows(self.table, self.b, 0, U)
        arguments = (below.operand, self.input.panels, self.table)
        context.pool.run([Job(U, self.G * self.E, kernels.matmul.add_products, arguments)], least=WORTH_THREADS)
        self._whole_version = context.version if below.whole else -1

    def state(self, *, last: bool) -> list[Array]:
        """h (B, H); see `Block.state`."""
        return [self.h[self.state_step(last=last)]]

    def state_step(self, *, last: bool) -> int:
        """The index into h (T + 1, B, H) of the state before the first or after the last step."""
        T = self.window.shape[0]
        return T if last != self.reverse else 0

    def forward_rows(self, begin: int, end: int, thread: int) -> None:
        """The cell's forward kernel over all T steps, dropout, and the output's gemm input; see `Block`."""
        kernel, arguments = self._forward
        kernel(*arguments, begin, end)
        signal, window = self.signal, self.window
        if window.rate > 0:
            kernels.dropout.apply_dropout(signal.value, window.rate, self._dropout_key(), begin, end)
        if self.separate:
            kernels.rounding.store_operands(signal.value, signal.operand, begin, end)

    def forward_call(self) -> Call:
        """The kernel that computes the output over all T steps, and its arguments but for the rows."""
        raise NotImplementedError

    def _dropout_key(self) -> np.uint32:
        return self.window.dropout_key(0x85EBCA6B * (self.index + 1) + 0x9E3779B9 * self.reverse)

    def prepare_backward(self) -> None:
        """See `Block.prepare_backward`."""
        _, B = self.window.shape
        # At each step the gradient of the gates, as gemm input, takes the place of the gates.
        self.dgates = self.gate_values.view(self.context.operand)
        self.row = self.array("row", B, self.G)
        self.dh = self.array("dh", B, self.H)
        assert self.signal.gradient is not None
        self.dout = self.signal.gradient
        if isinstance(self.below, Signal):
            assert self.transposes[1] is not None
            self.input_transpose, (self.dx, self.overwrite) = self.transposes[1].panels, self.below.claim()
        else:
            self.input_transpose, self.dx, self.overwrite = self._no_panels, self.dout, self.below.claim()
        self.prepare_cell_backward()
        self._backward = self.backward_call()

    def prepare_cell_backward(self) -> None:
        """Take the arrays that only the backward pass of this cell has."""

    def backward_rows(self, begin: int, end: int, thread: int) -> None:
        """Dropout's gradient, then the cell's backward kernel over all T steps; see `Block`."""
        if self.window.rate > 0:
            kernels.dropout.apply_dropout(self.dout, self.window.rate, self._dropout_key(), begin, end)
        kernel, arguments = self._backward
        kernel(*arguments, begin, end)

    def backward_call(self) -> Call:
        """The kernel that computes `dgates` (T, B, G) and `dx` (T, B, E) from the gradient `dout` (T, B, H) of the
        output, and its arguments but for the rows."""
        raise NotImplementedError

    def state_gradient(self) -> list[Array]:
        """dh (B, H); see `Block.state_gradient`."""
        return [self.dh]

    def states_before(self) -> Array:
        """h before each step (T, B, H), as gemm input."""
        return self.h_operand[1:] if self.reverse else self.h_operand[:-1]

    def weight_jobs(self) -> list[Job]:
        """dW_hh, and db and dW_ih = Σ x dgates; of a `Lookup`, db and dtable (U, G). See `finish_gradient`."""
        jobs = self.recurrent_jobs()
        dgates = flat(self.dgates)
        if isinstance(self.below, Signal):
            x = flat(self.below.operand)
            return [
                *jobs, product_job(x, self.E, dgates, 0, self.dW_ih, 0, self.G, self.context), sum_job(dgates, self.db)
            ]  # fmt: skip
        index = self.below.index
        if not self.one_hot:  # a product of one row; `finish_gradient` puts in the rows of the window
            row = self._dtable_operand[0, :1]
            self._table_product = product_job(row, self.E, row, 0, self.dW_ih, 0, self.G, self.context)

        def sum_table(first: int, last: int, thread: int) -> None:
            U = self.table.shape[1]
            kernels.inputs.sum_by_unit(
                self.dgates, index, self._dtable[0, :U], self._dtable_operand[0, :U], self.db, first, last
            )  # fmt: skip

        return [*jobs, Job(self.G, ADDITION * index.size, sum_table)]

    def recurrent_jobs(self) -> list[Job]:
        """A job that adds Σ h' dgates, over all steps and rows, to dW_hh (H, G)."""
        before, dgates = flat(self.states_before()), flat(self.dgates)
        return [product_job(before, self.H, dgates, 0, self.dW_hh, 0, self.G, self.context)]

    def finish_gradient(self) -> None:
        """From the gradient of the table (U, G), add to that of W_ih, and compute that of the looked-up rows."""
        below = self.below
        if isinstance(below, Signal):
            return
        U = below.distinct.size
        if below.operand is None or below.gradient is None:
            kernels.inputs.add_rows(self._dtable[0, :U], below.distinct, self.dW_ih)
            return
        dx, dtable, transposed = below.gradient, self._dtable_operand[:, :U], self.transposes[1]
        assert transposed is not None
        if self.overwrite:
            dx[:] = 0
        arguments = (below.operand[0], self.E, dtable[0], 0, self.dW_ih, 0, self.G)
        product = dataclasses.replace(self._table_product, cost=U * self._table_product.cost, arguments=arguments)
        rows_job = Job(U, self.G * self.E, kernels.matmul.add_products, (dtable, transposed.panels, dx))
        self.context.pool.run([rows_job, product], least=WORTH_THREADS)
