"""From an encoder to a decoder: where the encoder ended is what the decoder reads first, in place of an embedding.

Vinyals et al. 2015, "Show and tell: a neural image caption generator", doi:10.1109/CVPR.2015.7298935, feed an image so.
"""

from __future__ import annotations

import numpy as np

from charrnn import kernels
from charrnn.nn.bidirectional import Bidirectional
from charrnn.nn.block import Block, Views, Window
from charrnn.nn.context import Context
from charrnn.nn.dense import Dense
from charrnn.nn.embedding import Embedding
from charrnn.nn.packed import flat
from charrnn.nn.signal import Lookup, Signal


class Ends(Block):
    """From the outputs (T, B, H) of `encoder` to (1, S, H): one row for each source of the window, the outputs of
    either direction after the last unit that it reads."""

    def __init__(self, encoder: Bidirectional) -> None:
        self.encoder = encoder

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """See `Block.bind`; it has no weights."""
        self.context = context

    def prepare(self, below: Signal | Lookup | None, window: Window) -> Signal:
        """See `Block.prepare`: the input is a `Signal` (T, B, H), the output (1, S, H)."""
        assert isinstance(below, Signal)
        assert window.source is not None
        self.window, self.below, self.overwrite = window, below, False
        workspace, shape = self.context.workspace, (1, len(window.source.places), below.value.shape[2])
        out = workspace.get("ends.out", *shape)
        self.signal = Signal(out, workspace.operand_of("ends.out", out))
        if window.gradient:
            self.signal.gradient = workspace.get("ends.dout", *shape)
        return self.signal

    def begin(self) -> None:
        """Take the places of the sources."""
        source = self.window.source
        assert source is not None
        self.places = source.places, source.lengths, self.window.shape[1]
        if self.overwrite:
            self.dbelow[:] = 0

    def forward_rows(self, begin: int, end: int, thread: int) -> None:
        """For the sources from `begin` to `end`; see `Block`."""
        out = self.signal.value
        kernels.bridge.gather_ends(flat(self.below.value), *self.places, out, begin, end)
        kernels.rounding.store_operands(out, self.signal.operand, begin, end)

    def prepare_backward(self) -> None:
        """See `Block.prepare_backward`."""
        self.dbelow, self.overwrite = self.below.claim()

    def backward_rows(self, begin: int, end: int, thread: int) -> None:
        """For the sources from `begin` to `end`; see `Block`."""
        assert self.signal.gradient is not None
        kernels.bridge.add_to_ends(self.signal.gradient, *self.places, flat(self.dbelow), begin, end)


class BridgedEmbedding(Embedding):
    """As `Embedding`, but the first step of each sequence of the window reads a row of the output (1, S, E) of `bridge`
    instead: that of its number, by row and in a row by time."""

    def __init__(
        self, V: int, E: int, bridge: Dense, *, scale: float = 1.0, dropout: float = 0.0, part: str = ""
    ) -> None:  # fmt: skip
        super().__init__(V, E, scale=scale, dropout=dropout, part=part)
        self.bridge = bridge

    def prepare(self, below: Signal | Lookup | None, window: Window) -> Lookup:
        """As `Embedding.prepare`, with S more rows: those that follow the rows of ids."""
        self.first = self.bridge.signal
        self.more = self.first.value.shape[1]
        return super().prepare(below, window)

    def begin(self) -> None:
        """As `Embedding.begin`; the output of the bridge is there."""
        super().begin()
        lookup, U = self.lookup, self.lookup.distinct.size
        self.U, rows = U, slice(U, U + self.more)
        self._rows[0, rows], self._operand[0, rows] = self.first.value[0], self.first.operand[0]
        lookup.distinct = self._distinct[: rows.stop]
        self.show_rows()
        b, t = np.nonzero(self.window.mask.T == 0)
        lookup.index[t, b] = np.arange(U, rows.stop)

    def prepare_backward(self) -> None:
        """Claim the gradient of the bridge; see `Block.prepare_backward`."""
        self.dfirst, self.overwrite = self.first.claim()

    def finish_gradient(self) -> None:
        """As `Embedding.finish_gradient`, and give the bridge its gradient."""
        lookup, U = self.lookup, self.U
        assert lookup.gradient is not None
        if self.overwrite:
            self.dfirst[:] = 0
        self.dfirst += lookup.gradient[:, U:]
        self.drop(lookup.gradient[:, :U])
        kernels.inputs.add_rows(lookup.gradient[0, :U], lookup.distinct[:U], self.dtable)
