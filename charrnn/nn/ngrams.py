"""A direct path beside the recurrent layers: a bag of hashed n-grams of the units of each sequence.

    out = [below, Σ table[hash(n-gram)] / √n]     over the n n-grams of the sequence

What counting knows, learned together with what the recurrent layers add to it: Joulin et al. 2017, "Bag of tricks for
efficient text classification", arXiv:1607.01759; Cheng et al. 2016, "Wide and deep learning for recommender systems",
arXiv:1606.07792. A step of training updates only the rows of the table that its batch reads.
"""

from __future__ import annotations

import numpy as np

from charrnn import kernels
from charrnn.nn.block import Block, Views, Window
from charrnn.nn.context import Context
from charrnn.nn.init import zeros
from charrnn.nn.packed import ADDITION
from charrnn.nn.parameters import Parameter
from charrnn.nn.signal import Lookup, Signal
from charrnn.runtime.arrays import Array, Flags, Ids
from charrnn.runtime.threads import Job

ROWS = 1 << 17  # of the table, a power of two
WIDTH = 16  # numbers of a row
EDGE = 1  # the id that stands before and after a sequence: end of line


class NgramBag(Block):
    """From a signal (K, B, N) of pooled sequences to (K, B, N + WIDTH): beside it the sum of n-grams of 1 to `longest`.

    The table (ROWS, WIDTH) starts as zeros, so that n-grams that training has not seen change nothing.
    """

    def __init__(self, N: int, longest: int) -> None:
        self.N, self.longest, self.width = N, longest, N + WIDTH
        self.table = Parameter(
            "ngrams.weight", (ROWS, WIDTH), zeros, decay=True, torch_name="ngrams.weight", by_row=True
        )

    def parameters(self) -> list[Parameter]:
        """The table (ROWS, WIDTH)."""
        return [self.table]

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """Take the views of the table and its gradient; see `Block.bind`."""
        self.context = context
        self.weight, self.dweight = weights[self.table.name], gradients[self.table.name]

    def prepare(self, below: Signal | Lookup | None, window: Window) -> Signal:
        """See `Block.prepare`: the input is a `Signal` (K, B, N), the output (K, B, N + WIDTH)."""
        assert isinstance(below, Signal)
        workspace, (T, B), K = self.context.workspace, window.shape, window.outputs
        self.window, self.below = window, below
        self.first, self.last = workspace.ids("ngrams.first", K, B), workspace.ids("ngrams.last", K, B)
        self.rows = workspace.ids("ngrams.rows", most_rows(T * B, K * B, self.longest))
        self.bounds = workspace.ids("ngrams.bounds", K * B + 1)
        out = workspace.get("ngrams.out", K, B, self.width)
        self.signal = Signal(out, workspace.operand_of("ngrams.out", out))
        if window.gradient:
            self.signal.gradient = workspace.get("ngrams.dout", K, B, self.width)
        return self.signal

    def begin(self) -> None:
        """Hash the n-grams of the window's sequences."""
        window = self.window
        kernels.pooling.find_sequences(
            window.mask, window.reverse_mask, self.first, self.last, 0, window.shape[1]
        )  # fmt: skip
        kernels.ngrams.hash_ngrams(
            window.inputs, self.first, self.last, self.longest, EDGE, ROWS, self.rows, self.bounds
        )  # fmt: skip

    def rows_read(self, inputs: Ids, reset: Flags, ends: Flags, outputs: int) -> Ids:
        """The rows of the table, ascending, that a batch with K `outputs` a row reads; inputs, reset, ends (T, B)."""
        (T, B), dtype = inputs.shape, self.context.dtype
        first, last = np.empty((outputs, B), np.int32), np.empty((outputs, B), np.int32)
        mask, reverse_mask = (np.ascontiguousarray(~flags).astype(dtype) for flags in (reset, ends))
        kernels.pooling.find_sequences(mask, reverse_mask, first, last, 0, B)
        rows = np.empty(most_rows(T * B, outputs * B, self.longest), np.int32)
        bounds = np.empty(outputs * B + 1, np.int32)
        count = kernels.ngrams.hash_ngrams(inputs, first, last, self.longest, EDGE, ROWS, rows, bounds)
        found: Ids = np.unique(rows[:count])
        return found

    def forward_rows(self, begin: int, end: int, thread: int) -> None:
        """Copy the signal below, and add up the rows of the table beside it; see `Block`."""
        out = self.signal.value
        out[:, begin:end, : self.N] = self.below.value[:, begin:end]
        kernels.ngrams.add_bags(self.weight, self.rows, self.bounds, out, self.N, begin, end)
        kernels.rounding.store_operands(out, self.signal.operand, begin, end)

    def prepare_backward(self) -> None:
        """See `Block.prepare_backward`."""
        self.dbelow, self.overwrite = self.below.claim()

    def backward_rows(self, begin: int, end: int, thread: int) -> None:
        """See `Block.backward_rows`."""
        gradient = self._gradient()[:, begin:end, : self.N]
        if self.overwrite:
            self.dbelow[:, begin:end] = gradient
        else:
            self.dbelow[:, begin:end] += gradient

    def weight_jobs(self) -> list[Job]:
        """The gradient of the table, each column of it summed in the order of the n-grams, whatever the threads."""

        def work(first: int, last: int, thread: int) -> None:
            kernels.ngrams.add_bag_gradient(
                self._gradient(), self.rows, self.bounds, self.N, self.dweight, first, last
            )  # fmt: skip

        return [Job(WIDTH, ADDITION * self.rows.size, work)]

    def _gradient(self) -> Array:
        assert self.signal.gradient is not None
        return self.signal.gradient


def most_rows(positions: int, sequences: int, longest: int) -> int:
    """The most n-grams of so many positions in so many sequences, their edges included."""
    return (positions + 2 * sequences) * longest
