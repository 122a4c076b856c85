"""A direct path beside the recurrent layers: the vectors of each word and of its neighbours.

    out_t = [below_t, x_{t-1}, x_t, x_{t+1}]        zeros beyond the ends of a sequence

With a linear layer on top, what a linear model of the word and its neighbours knows is learned together with what the
recurrent layers add to it: Cheng et al. 2016, "Wide and deep learning for recommender systems", arXiv:1606.07792.
"""

from __future__ import annotations

from charrnn import kernels
from charrnn.nn.block import Block, Views, Window
from charrnn.nn.context import Context
from charrnn.nn.packed import ADDITION
from charrnn.nn.signal import Lookup, Signal
from charrnn.nn.word_vectors import WordVectors
from charrnn.runtime.threads import WORTH_THREADS, Job

PLACES = 3  # before, here, after


class Neighbours(Block):
    """From a signal (T, B, N) to (T, B, N + 3 E): beside it the vectors of the words of the block `words`."""

    def __init__(self, N: int, words: WordVectors) -> None:
        self.N, self.words, self.width = N, words, N + PLACES * words.E

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """See `Block.bind`; it has no weights."""
        self.context = context

    def prepare(self, below: Signal | Lookup | None, window: Window) -> Signal:
        """See `Block.prepare`."""
        assert isinstance(below, Signal)
        self.window, self.below = window, below
        workspace, shape = self.context.workspace, (*window.shape, self.width)
        out = workspace.get("neighbours.out", *shape)
        self.signal = Signal(out, workspace.operand_of("neighbours.out", out))
        if window.gradient:
            self.signal.gradient = workspace.get("neighbours.dout", *shape)
        return self.signal

    def forward_rows(self, begin: int, end: int, thread: int) -> None:
        """Copy the signal below, and the vectors beside it; see `Block`."""
        out, window, lookup = self.signal.value, self.window, self.words.lookup
        assert lookup.value is not None
        out[:, begin:end, : self.N] = self.below.value[:, begin:end]
        kernels.words.copy_neighbours(
            lookup.value[0], lookup.index, window.mask, window.reverse_mask, out, self.N, begin, end
        )
        kernels.rounding.store_operands(out, self.signal.operand, begin, end)

    def prepare_backward(self) -> None:
        """Claim both gradients; see `Block.prepare_backward`."""
        self.dbelow, self.overwrite = self.below.claim()
        self.first = self.words.lookup.claim()

    def backward_rows(self, begin: int, end: int, thread: int) -> None:
        """See `Block.backward_rows`."""
        assert self.signal.gradient is not None
        gradient = self.signal.gradient[:, begin:end, : self.N]
        if self.overwrite:
            self.dbelow[:, begin:end] = gradient
        else:
            self.dbelow[:, begin:end] += gradient

    def finish_gradient(self) -> None:
        """Add to the gradients of the vectors, each column in the order of the places."""
        lookup, window = self.words.lookup, self.window
        assert lookup.gradient is not None
        if self.first:
            lookup.gradient[:] = 0
        signal = self.signal.gradient
        arguments = (signal, lookup.index, window.mask, window.reverse_mask, lookup.gradient[0], self.N)
        cost = PLACES * ADDITION * lookup.index.size
        job = Job(self.words.E, cost, kernels.words.add_from_neighbours, arguments)
        self.context.pool.run([job], least=WORTH_THREADS)
