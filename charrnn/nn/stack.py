"""The stack of recurrent layers with its input: units in, hidden states out, and back.

Forward, for units x (T, B):

    gates of layer 0 = row x of the table  embedding W_ih + b   (one-hot: W_ih + b)
    gates of layer l = b + out of layer l - 1 times W_ih
    out of layer l   = dropout(h of layer l)

Dropout acts on what goes up, never on what goes from step to step (Zaremba et al. 2014).
"""

from __future__ import annotations

import numpy as np

from charrnn.config import ModelConfig
from charrnn.kernels import dropout as dropout_kernels
from charrnn.kernels import inputs, matmul, rounding
from charrnn.nn.recurrent import ADDITION, LAYERS, Layer, Scratch, product_job
from charrnn.runtime.arrays import Array, Flags, Ids
from charrnn.runtime.threads import Job, Threads
from charrnn.runtime.workspace import Workspace

WHOLE_TABLE = 1 << 22  # numbers, at most, of a table of all units: 16 MB in float32
WORTH_A_THREAD = 10_000_000  # multiply-adds, of which one thread does a hundred thousand in a microsecond


def strip_prefix(views: dict[str, Array], prefix: str) -> dict[str, Array]:
    """The entries whose names start with `prefix`, without it."""
    return {name.removeprefix(prefix): view for name, view in views.items() if name.startswith(prefix)}


class Stack:
    """Input and recurrent layers over views into the flat parameter and gradient vectors."""

    def __init__(
        self, config: ModelConfig, views: dict[str, Array], gradients: dict[str, Array], threads: Threads,
        workspace: Workspace,
    ) -> None:  # fmt: skip
        self.config, self.threads, self.workspace = config, threads, workspace
        self.embedding = views.get("embedding.weight")
        self.dembedding = gradients.get("embedding.weight")
        self.layers: list[Layer] = []
        for index, cell in enumerate(config.cells):
            prefix = f"layers.{index}."
            own = strip_prefix(views, prefix), strip_prefix(gradients, prefix)
            self.layers.append(LAYERS[cell](config, index, *own, workspace))
        self.states = sum(layer.states for layer in self.layers)
        self._seen = np.full(config.vocabulary_size, -1, np.int32)
        self._whole = False  # the table has all units, and the weights are those it was built from
        self.rate, self.key = 0.0, 0

    def pack(self, *, backward: bool, often: bool = True) -> list[Job]:
        """Jobs that pack all weights of one direction, to be run after the weights changed; `often`: after every
        step."""
        self._whole = False
        return [job for layer in self.layers for job in layer.pack(backward=backward, often=often)]

    def prepare(
        self, ids: Ids, state: Array, reset: Flags | None = None, *, gradient: bool = False, rate: float = 0.0,
        key: int = 0,
    ) -> Array:  # fmt: skip
        """Take up a window: ids (T, B), the state (S, B, H) before it. Returns where `forward_rows` puts the hidden
        states of the top layer, (T, B, H).

        reset (T, B): whether the state is reset to zero before a step; None for never.
        gradient: `backward_rows` is to follow. rate: dropout; key: what its masks depend on.
        """
        T, B = ids.shape
        self.rate, self.key = rate, key
        separate = rate > 0 or reset is not None
        for layer in self.layers:
            layer.resize(T, B, separate=separate, gradient=gradient)
        self.keep = self.workspace.get("keep", T, B)
        self.keep[:] = 1 if reset is None else ~reset
        rows = iter(state)
        for layer in self.layers:
            for before in layer.state(0):
                before[:] = next(rows)
        V = self.config.vocabulary_size
        small = V * self.layers[0].G <= WHOLE_TABLE
        self._look_up(ids, whole=small and not gradient and (self._whole or ids.size >= V))
        return self.layers[-1].out

    @property
    def hidden_operand(self) -> Array:
        """The hidden states of the top layer as products read them."""
        return self.layers[-1].out_operand

    def copy_state(self, state: Array) -> None:
        """state (S, B, H) = that after the last step of the window."""
        rows = iter(state)
        for layer in self.layers:
            for after in layer.state(self.keep.shape[0]):
                next(rows)[:] = after

    def _look_up(self, ids: Ids, *, whole: bool) -> None:
        """Build the table and what finds each of ids (T, B) in it. `whole`: the table of all units, kept for the next
        window, instead of that of the window's own."""
        self._local = self.workspace.ids("local", *ids.shape)
        if whole:
            self._local[:] = ids
            if self._whole:
                return
            self._distinct = np.arange(self.config.vocabulary_size, dtype=np.int32)
        else:
            distinct = self.workspace.ids("distinct", ids.size)
            U = inputs.number_units(ids.reshape(-1), self._seen, distinct, self._local.reshape(-1))
            self._distinct = distinct[:U]
        self._build_table()
        self._whole = whole

    def _build_table(self) -> None:
        """What the first layer's gates get from each of the distinct units: table (U, G)."""
        first = self.layers[0]
        U = self._distinct.size
        self.table = self.workspace.get("table", 1, U, first.G)
        if self.embedding is not None:
            self.rows = self.workspace.get("rows", 1, U, self.embedding.shape[1])
            self.rows_operand = self.workspace.operand_of("rows", self.rows)

        def work(begin: int, end: int, thread: int) -> None:
            distinct = self._distinct[begin:end]
            if self.embedding is None:
                inputs.gather_rows(first.weights["weight_ih"], distinct, self.table[0, begin:end])
                inputs.add_to_rows(self.table[0, begin:end], first.weights["bias"])
            else:
                assert first.input is not None
                inputs.gather_rows(self.embedding, distinct, self.rows[0, begin:end])
                inputs.fill_rows(self.table, first.weights["bias"], begin, end)
                rounding.store_operands(self.rows, self.rows_operand, begin, end)
                matmul.add_products(self.rows_operand, first.input.panels, self.table, begin, end)

        self._run([Job(U, first.G * (self.rows.shape[2] if self.embedding is not None else 1), work)])

    def _run(self, jobs: list[Job]) -> None:
        """Do jobs, without other threads where waking them would take longer."""
        if sum(job.count * job.cost for job in jobs) >= WORTH_A_THREAD:
            self.threads.run(jobs)
            return
        for job in jobs:
            job.work(0, job.count, 0)

    def forward_rows(self, begin: int, end: int, thread: int) -> None:
        """From the table to the hidden states of every layer, for some rows of the batch."""
        x = self.layers[0].input_from_table(self.table[0], self._local)
        for layer in self.layers:
            if layer.index > 0:
                x = layer.input_from(self.layers[layer.index - 1].out_operand)
            layer.forward(x, self.keep, begin, end)
            if self.rate > 0:
                dropout_kernels.apply_dropout(layer.out, self.rate, self._layer_key(layer), begin, end)
            if layer.separate:
                rounding.store_operands(layer.out, layer.out_operand, begin, end)

    def _layer_key(self, layer: Layer) -> np.uint32:
        return np.uint32((self.key + 0x85EBCA6B * (layer.index + 1)) & 0xFFFFFFFF)

    def prepare_backward(self, dout: Array) -> None:
        """Take up the gradient of `forward_rows`'s result, dout (T, B, H), which `backward_rows` overwrites."""
        for layer in self.layers:
            layer.prepare_backward()
        self._dout = dout

    def backward_rows(self, begin: int, end: int, thread: int) -> None:
        """From dout to the gradient of every layer's gates, for some rows of the batch."""
        for layer in reversed(self.layers):
            if self.rate > 0:
                dropout_kernels.apply_dropout(self._dout, self.rate, self._layer_key(layer), begin, end)
            layer.backward(self._dout, self.keep, begin, end)

    def weight_jobs(self, scratch: Scratch) -> list[Job]:
        """Jobs that add up the gradients of the layers' weights after `backward_rows`, and the table's, `dtable` (1, U,
        G)."""
        jobs: list[Job] = []
        below = None
        for layer in self.layers:
            jobs += layer.weight_jobs(None if below is None else below.out_operand, self.keep, scratch)
            below = layer
        first = self.layers[0]
        self.dtable = self.workspace.get("dtable", *self.table.shape)

        def sum_table(begin: int, end: int, thread: int) -> None:
            inputs.sum_by_unit(first.dgates, self._local, self.dtable[0], begin, end)
            inputs.add_column_sums(self.dtable[0], first.gradients["bias"], begin, end)

        return [*jobs, Job(first.G, ADDITION * self.keep.size, sum_table)]

    def add_table_gradient(self, scratch: Scratch) -> None:
        """From `dtable` to the first layer's input weights and the embedding: table = embedding W_ih + b."""
        first = self.layers[0]
        U, distinct = self._distinct.size, self._distinct
        if self.dembedding is None:
            inputs.add_rows(self.dtable[0], distinct, first.gradients["weight_ih"])
            return
        drows = self.workspace.get("drows", *self.rows.shape)
        drows[:] = 0
        dtable = self.workspace.operand_of("dtable", self.dtable)
        rounding.store_operands(self.dtable, dtable, 0, U)

        def work(begin: int, end: int, thread: int) -> None:
            transposed = first.transposes[1]
            assert transposed is not None
            matmul.add_products(dtable, transposed.panels, drows, begin, end)

        E, dweight = drows.shape[2], first.gradients["weight_ih"]
        product = product_job(self.rows_operand[0], E, dtable[0], 0, dweight, 0, first.G, scratch)
        self._run([Job(U, first.G * E, work), product])
        inputs.add_rows(drows[0], distinct, self.dembedding)
