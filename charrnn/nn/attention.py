"""Attention over the source of each sequence. Equations and their source: `kernels/attention.py`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from charrnn import kernels
from charrnn.nn.bidirectional import Bidirectional
from charrnn.nn.block import Block, Views, Window
from charrnn.nn.context import Context
from charrnn.nn.packed import flat
from charrnn.nn.signal import Lookup, Signal
from charrnn.runtime.arrays import Array
from charrnn.runtime.threads import Job

Counts = NDArray[np.int64]


class Attention(Block):
    """From a signal (T, B, H) to (T, B, 2H): the context of each step in the outputs of `encoder`, and beside it the
    signal itself. The window says which source each sequence has."""

    def __init__(self, H: int, encoder: Bidirectional) -> None:
        self.H, self.encoder = H, encoder

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """See `Block.bind`; it has no weights."""
        self.context = context

    def prepare(self, below: Signal | Lookup | None, window: Window) -> Signal:
        """See `Block.prepare`: the input is a `Signal` (T, B, H), the output (T, B, 2H)."""
        assert isinstance(below, Signal)
        self.window, self.below, self.memory = window, below, self.encoder.signal
        self.step, self.overwrite_memory = self.memory.value.shape[1], False
        get, (T, B) = self.context.workspace.get, window.shape
        self.attention_weights = get("context.weights", 2, B, len(self.memory.value))
        out = get("context.out", T, B, 2 * self.H)
        self.signal = Signal(out, self.context.workspace.operand_of("context.out", out))
        if window.gradient:
            self.signal.gradient = get("context.dout", T, B, 2 * self.H)
        return self.signal

    def begin(self) -> None:
        """Find the sequences of each row."""
        window, source = self.window, self.window.source
        assert source is not None
        counts = (window.mask == 0).sum(axis=0)
        self.places = (
            np.cumsum(counts) - counts, source.places, source.lengths, self.step, window.mask, window.reverse_mask
        )  # fmt: skip
        if self.overwrite_memory:
            self.dmemory[:] = 0

    def forward_rows(self, begin: int, end: int, thread: int) -> None:
        """See `Block.forward_rows`."""
        h, memory, signal = self.below.value, flat(self.memory.value), self.signal
        kernels.attention.attention_forward(
            h, memory, *self.places, self.attention_weights[0], signal.value, begin, end
        )
        kernels.rounding.store_operands(signal.value, signal.operand, begin, end)

    def weights_of_steps(self, steps: Counts) -> list[Array]:
        """Of each sequence the attention weights (steps, units of its source) at each of its steps; steps (S).

        `forward_rows` has run for all rows.
        """
        _, _, lengths, *_ = self.places
        sizes = steps * lengths
        ends, out = np.cumsum(sizes), np.empty(int(sizes.sum()), self.context.dtype)
        arguments = (self.below.value, flat(self.memory.value), *self.places, ends - sizes, out)
        kernel = kernels.attention.attention_weights
        self.context.pool.run([Job(self.window.shape[1], 1, kernel, arguments)])
        parts = np.split(out, ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, zip(steps, lengths, strict=True), strict=True)]

    def prepare_backward(self) -> None:
        """Claim both gradients; see `Block.prepare_backward`."""
        assert self.signal.gradient is not None
        self.dout = self.signal.gradient
        self.dh, self.overwrite = self.below.claim()
        self.dmemory, self.overwrite_memory = self.memory.claim()

    def backward_rows(self, begin: int, end: int, thread: int) -> None:
        """Each source has one sequence, in one row: no two threads write to the same place. See `Block`."""
        kernels.attention.attention_backward(
            self.below.value, flat(self.memory.value), *self.places, self.attention_weights[0],
            self.attention_weights[1], self.dout, self.dh, self.overwrite, flat(self.dmemory), begin, end,
        )  # fmt: skip
