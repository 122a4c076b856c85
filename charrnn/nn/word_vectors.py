"""The input of words: each is the sum of its own vector and those of its hashed parts, so that unknown words differ.

Bojanowski et al. 2017, "Enriching word vectors with subword information", doi:10.1162/tacl_a_00051.
"""

from __future__ import annotations

import numpy as np

from charrnn import kernels
from charrnn.errors import CharrnnError
from charrnn.nn.block import Block, Views, Window
from charrnn.nn.context import Context
from charrnn.nn.embedding import require_ids
from charrnn.nn.init import normal
from charrnn.nn.packed import ADDITION
from charrnn.nn.parameters import Parameter
from charrnn.nn.signal import Lookup, Signal
from charrnn.runtime.threads import WORTH_THREADS, Job
from charrnn.text.batch import Bags

DROPOUT_KEY = 0x27D4EB2F


class WordVectors(Block):
    """Sums of rows of `embedding.weight` (R, E), as those of `torch.nn.EmbeddingBag` with mode sum.

    The inputs of a window are numbers of its words, and its `bags` say which rows each word is the sum of. A step of
    training updates only these rows. `scale`: the standard deviation of the initial weights.
    """

    def __init__(self, R: int, E: int, *, scale: float = 0.1) -> None:
        self.R, self.E = R, E
        name = "embedding.weight"
        self.weight = Parameter(name, (R, E), normal(scale), decay=True, torch_name=name, by_row=True)

    def parameters(self) -> list[Parameter]:
        """The table (R, E)."""
        return [self.weight]

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """Take the views of the table and its gradient; see `Block.bind`."""
        self.context = context
        self.table, self.dtable = weights[self.weight.name], gradients[self.weight.name]

    def prepare(self, below: Signal | Lookup | None, window: Window) -> Lookup:
        """A lookup with room for as many words as the window has places; see `Block.prepare`. `below` is None."""
        workspace, U = self.context.workspace, window.mask.size
        self.window = window
        self._vectors = workspace.get("words", 1, U, self.E)
        self._operand = workspace.operand_of("words", self._vectors)
        self._gradient = workspace.get("words.gradient", 1, U, self.E) if window.gradient else None
        self.lookup = Lookup(np.zeros(0, np.int32), workspace.ids("words.index", *window.shape), U)
        return self.lookup

    def check_bags(self, inputs: np.typing.NDArray[np.int32], bags: Bags | None) -> None:
        """Raise `CharrnnError` unless inputs (T, B) are numbers of words in `bags`, and those have rows of the
        table.
        """
        if bags is None:
            raise CharrnnError("the batch does not say which rows of the table its words have; it needs `bags`")
        rows, bounds = bags
        require_ids(rows, self.R)
        U = len(bounds) - 1
        if inputs.size < U or bounds[0] or bounds[-1] != len(rows) or (np.diff(bounds) < 0).any():
            raise CharrnnError("the bags of a batch do not fit its words")
        require_ids(inputs, U)

    def begin(self) -> None:
        """Add up the vectors of the window's words."""
        window, lookup = self.window, self.lookup
        assert window.bags is not None
        rows, bounds = window.bags
        U = len(bounds) - 1
        lookup.index[:], lookup.distinct = window.inputs, np.arange(U, dtype=np.int32)
        lookup.value, lookup.operand = self._vectors[:, :U], self._operand[:, :U]
        lookup.gradient = None if self._gradient is None else self._gradient[:, :U]
        arguments = (self.table, rows, bounds, self._vectors[0], self._operand[0])
        job = Job(U, ADDITION * self.E * (1 + rows.size // U), kernels.words.sum_rows, arguments)
        self.context.pool.run([job], least=WORTH_THREADS)
        if window.rate > 0:
            kernels.dropout.apply_dropout(lookup.value, window.rate, window.dropout_key(DROPOUT_KEY), 0, U)
            kernels.rounding.store_operands(lookup.value, lookup.operand, 0, U)

    def finish_gradient(self) -> None:
        """Add the gradient of each word's vector to that of all of its rows, each column in the order of the words."""
        assert self.lookup.gradient is not None
        assert self.window.bags is not None
        rows, bounds = self.window.bags
        if self.window.rate > 0:
            gradient = self.lookup.gradient
            key = self.window.dropout_key(DROPOUT_KEY)
            kernels.dropout.apply_dropout(gradient, self.window.rate, key, 0, gradient.shape[1])
        arguments = (self.lookup.gradient[0], rows, bounds, self.dtable)
        job = Job(self.E, ADDITION * rows.size, kernels.words.add_to_summed, arguments)
        self.context.pool.run([job], least=WORTH_THREADS)
