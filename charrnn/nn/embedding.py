"""The input of ids: one-hot vectors or rows of an embedding, looked up once for each distinct id of a window."""

from __future__ import annotations

import numpy as np

from charrnn import kernels
from charrnn.nn.block import Block, Views, Window
from charrnn.nn.context import Context
from charrnn.nn.init import normal
from charrnn.nn.packed import ADDITION
from charrnn.nn.parameters import Parameter
from charrnn.nn.signal import Lookup, Signal
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.threads import Job


class OneHot(Block):
    """Ids from 0 to V - 1 as one-hot vectors, which are never written down: a product with one is a row of the weight.

    `whole`: where no gradient is wanted and the window has as many ids as there are, all V rows are looked up, once for
    as long as the weights stay the same.
    """

    def __init__(self, V: int, *, whole: bool = False) -> None:
        self.V, self.whole = V, whole
        self._seen = np.full(V, -1, np.int32)
        self._all = False  # the rows of all ids are there, of the weights as they are

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        self.context = context

    def pack(self, *, backward: bool, often: bool = True) -> list[Job]:
        self._all = False
        return []

    def prepare(self, below: Signal | Lookup | None, window: Window) -> Lookup:
        ids, workspace = window.batch.inputs, self.context.workspace
        index = workspace.ids("input.index", *ids.shape)
        if self.whole and not window.gradient and (self._all or ids.size >= self.V):
            index[:] = ids
            distinct = np.arange(self.V, dtype=np.int32)
            fresh, self._all = not self._all, True
        else:
            distinct = workspace.ids("input.distinct", ids.size)
            count = kernels.inputs.number_units(ids.reshape(-1), self._seen, distinct, index.reshape(-1))
            distinct, fresh, self._all = distinct[:count], True, False
        self.lookup = Lookup(distinct, index, whole=self._all)
        if fresh:
            self.look_up(distinct)
        self.fill(self.lookup, window)
        return self.lookup

    def look_up(self, distinct: Ids) -> None:
        """Compute the rows of some distinct ids."""

    def fill(self, lookup: Lookup, window: Window) -> None:
        """Put the rows of the latest `look_up` into a lookup."""


class Embedding(OneHot):
    """Row v of `embedding.weight` (V, E) for each id v.

    `scale`: standard deviation of the first weights; `by_row`: see `Parameter`.
    """

    def __init__(self, V: int, E: int, *, scale: float = 1.0, by_row: bool = False, whole: bool = False) -> None:
        super().__init__(V, whole=whole)
        self.E = E
        name = "embedding.weight"
        self.weight = Parameter(name, (V, E), normal(scale), decay=True, torch_name=name, by_row=by_row)

    def parameters(self) -> list[Parameter]:
        return [self.weight]

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        super().bind(weights, gradients, context)
        self.table, self.dtable = weights[self.weight.name], gradients[self.weight.name]

    def look_up(self, distinct: Ids) -> None:
        workspace, inputs = self.context.workspace, kernels.inputs
        rows: Array = workspace.get("input.rows", 1, distinct.size, self.E)
        operand = workspace.operand_of("input.rows", rows)
        self.rows, self.operand = rows, operand

        def work(first: int, last: int, thread: int) -> None:
            inputs.gather_rows(self.table, distinct[first:last], rows[0, first:last])
            kernels.rounding.store_operands(rows, operand, first, last)

        self.context.run([Job(distinct.size, ADDITION * self.E, work)])

    def fill(self, lookup: Lookup, window: Window) -> None:
        lookup.value, lookup.operand = self.rows, self.operand
        if window.gradient:
            lookup.gradient = self.context.workspace.get("input.drows", *self.rows.shape)

    def finish_gradient(self) -> None:
        assert self.lookup.gradient is not None
        kernels.inputs.add_rows(self.lookup.gradient[0], self.lookup.distinct, self.dtable)
