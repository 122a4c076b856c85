"""The input of ids: one-hot vectors or rows of an embedding, looked up once for each distinct id of a window."""

from __future__ import annotations

import numpy as np

from charrnn import kernels
from charrnn.errors import CharrnnError
from charrnn.nn.block import Block, Views, Window
from charrnn.nn.context import Context
from charrnn.nn.init import normal
from charrnn.nn.packed import ADDITION
from charrnn.nn.parameters import Parameter
from charrnn.nn.signal import Lookup, Signal
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.threads import WORTH_THREADS, Job

DROPOUT_KEY = 0x1B873593  # the masks of rows are other ones than those of layers


def require_ids(ids: Ids, V: int) -> None:
    """Raise `CharrnnError` unless all of `ids`, of any shape, are in [0, V): kernels index memory by them."""
    least, most = (int(ids.min()), int(ids.max())) if ids.size else (0, 0)
    if least < 0 or most >= V:
        found = least if least < 0 else most
        raise CharrnnError(f"a unit has the id {found}, and the vocabulary has {V} units; ids end at {V - 1}")


class OneHot(Block):
    """Ids from 0 to V - 1 as one-hot vectors, which are never stored: the product with one is a row of the weight.

    `whole`: once windows without a gradient had V ids in all, all V rows are looked up, once per version of the
    weights. `part`: what its names begin with. `more`: rows of the lookup beside those of ids, for a subclass.
    """

    more = 0

    def __init__(self, V: int, *, whole: bool = False, part: str = "") -> None:
        self.V, self.whole, self.part = V, whole, part
        self._whole_version = -1  # the version of the weights for which all V rows are stored
        self._version, self._read = -1, 0  # that of the latest window, and the ids read with it

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """See `Block.bind`; one-hot vectors have no weights."""
        self.context = context
        self._seen = np.full(self.V, -1, np.int32)

    def prepare(self, below: Signal | Lookup | None, window: Window) -> Lookup:
        """A lookup whose `index` (T, B) `begin` fills; see `Block.prepare`. `below` is None."""
        workspace = self.context.workspace
        self.window = window
        self._distinct = workspace.ids(f"{self.part}input.distinct", window.mask.size + self.more)
        rows = (self.V if self.whole else min(window.mask.size, self.V)) + self.more
        self.lookup = Lookup(self._distinct, workspace.ids(f"{self.part}input.index", *window.shape), rows)
        return self.lookup

    def check(self, ids: Ids) -> None:
        """Raise `CharrnnError` unless all of ids (T, B) are in [0, V)."""
        require_ids(ids, self.V)

    def begin(self) -> None:
        """Find the distinct ids (U) of the window and the row of each position, and look up their rows."""
        ids, lookup, version = self.window.inputs, self.lookup, self.context.version
        there = self._whole_version == version  # all V rows are stored
        self._read = ids.size + (self._read if self._version == version else 0)
        self._version = version
        lookup.whole = self.whole and not self.window.gradient and (there or self._read >= self.V)
        if lookup.whole:
            lookup.index[:] = ids
            lookup.distinct = np.arange(self.V, dtype=np.int32)
        else:
            count = kernels.inputs.number_units(ids.reshape(-1), self._seen, self._distinct, lookup.index.reshape(-1))
            lookup.distinct = self._distinct[:count]
        if lookup.whole and there:
            return
        self._whole_version = -1  # until it is complete: an interruption leaves a part of the rows
        self.look_up(lookup.distinct)
        self._whole_version = version if lookup.whole else -1

    def look_up(self, distinct: Ids) -> None:
        """Compute the rows of the ids distinct (U)."""


class Embedding(OneHot):
    """Row v of `embedding.weight` (V, E) for each id v.

    `scale`: the standard deviation of the initial weights; `by_row`: see `Parameter`. `dropout`: the rate of dropout on
    the rows, as a share of that of the window. A row has one mask for all of its places in a window: Gal and Ghahramani
    2016, "A theoretically grounded application of dropout in recurrent neural networks", arXiv:1512.05287.
    """

    def __init__(
        self, V: int, E: int, *, scale: float = 1.0, by_row: bool = False, whole: bool = False, dropout: float = 0.0,
        part: str = "",
    ) -> None:  # fmt: skip
        super().__init__(V, whole=whole, part=part)
        self.E, self.dropout = E, dropout
        name = f"{part}embedding.weight"
        self.weight = Parameter(name, (V, E), normal(scale), decay=True, torch_name=name, by_row=by_row)

    def parameters(self) -> list[Parameter]:
        """The weight (V, E)."""
        return [self.weight]

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """Take the views of the weight (V, E) and its gradient; see `Block.bind`."""
        super().bind(weights, gradients, context)
        self.table, self.dtable = weights[self.weight.name], gradients[self.weight.name]

    def prepare(self, below: Signal | Lookup | None, window: Window) -> Lookup:
        """The lookup of `OneHot.prepare`, with arrays for at most `rows` rows of E numbers."""
        lookup, workspace = super().prepare(below, window), self.context.workspace
        U, name = lookup.rows, f"{self.part}input.rows"
        self._rows = workspace.get(name, 1, U, self.E)
        self._operand = workspace.operand_of(name, self._rows)
        self._drows = workspace.get(f"{self.part}input.drows", 1, U, self.E) if window.gradient else None
        return lookup

    def begin(self) -> None:
        """As `OneHot.begin`; the lookup then has the rows (1, U, E) of the window's distinct ids."""
        super().begin()
        self.show_rows()
        U = self.lookup.distinct.size
        if self.drop(self._rows[:, :U]):
            kernels.rounding.store_operands(self._rows, self._operand, 0, U)

    def drop(self, rows: Array) -> bool:
        """Dropout on the rows (1, U, E) of the window's distinct ids, or on their gradients; whether there is any."""
        rate = self.dropout * self.window.rate
        if not rate:
            return False
        kernels.dropout.apply_dropout(rows, rate, self.window.dropout_key(DROPOUT_KEY), 0, rows.shape[1])
        return True

    def show_rows(self) -> None:
        """Let the lookup have as many rows as it has distinct ids."""
        U = self.lookup.distinct.size
        self.lookup.value, self.lookup.operand = self._rows[:, :U], self._operand[:, :U]
        self.lookup.gradient = None if self._drows is None else self._drows[:, :U]

    def look_up(self, distinct: Ids) -> None:
        """Copy the rows of distinct (U) from the weight, and their gemm inputs."""
        arguments = (self.table, distinct, self._rows[0], self._operand[0])
        job = Job(distinct.size, ADDITION * self.E, kernels.inputs.look_up_rows, arguments)
        self.context.pool.run([job], least=WORTH_THREADS)

    def finish_gradient(self) -> None:
        """Add the gradients of the looked-up rows (U, E) to the rows of the weight's gradient."""
        assert self.lookup.gradient is not None
        self.drop(self.lookup.gradient)
        kernels.inputs.add_rows(self.lookup.gradient[0], self.lookup.distinct, self.dtable)
