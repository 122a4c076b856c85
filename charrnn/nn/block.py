"""The parts of a network: blocks, of which the last is a head that gives the loss.

Letters in shapes, here and in all of `nn/` and `models/`:

    T   steps of a window               V   size of the vocabulary: ids are 0 to V - 1
    B   rows (sequences) of a batch     G   columns of the gates: number of gates times H
    E   width of a layer's input        U   distinct ids of a window
    H   hidden size                     N   any other number; each docstring says of what
    K   outputs of a row in a window: T, or with pooling the most sequences that a row has

A network uses a block in this order. Once: `parameters`, then `bind`. After every update of the weights: the jobs of
`pack`. Once for all windows of one shape: `prepare`, and for a gradient `prepare_backward` and `weight_jobs`. For each
window: `begin`, `forward_rows`; for a gradient then `backward_rows`, the jobs of `weight_jobs`, `finish_gradient`. The
backward methods run over the blocks in reverse order. Rows from `begin` to `end` are independent of all others: each
thread takes its own rows through all blocks, and no thread waits for another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from charrnn.nn.context import Context
from charrnn.nn.parameters import Parameter
from charrnn.nn.signal import Lookup, Signal
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.threads import Job, Work
from charrnn.text.batch import Bags, EncoderInput

Views = Mapping[str, Array]
Log = npt.NDArray[np.float64]


@dataclass
class Window:
    """T steps of B rows. Windows of one shape share one such object, which is filled again for each of them.

    `inputs` (T, B): ids, or (T, B, N): numbers. `beside` (K, B, F): numbers for the output, if it reads any. `mask`
    (T, B), the reset mask, multiplies the hidden state before a step: 0 resets it, 1 does not; `reverse_mask`
    (T, B) is that of layers that read backward. `resets`: whether either mask may have a 0.
    `outputs`: K. `gradient`: a backward pass follows; with `first_state` it also gives the gradient of the state before
    the first step. `rate`: the probability of dropout; `key`: the seed of its masks. `bags`, `source`: those of the
    batch.
    """

    inputs: NDArray[Any]
    mask: Array
    reverse_mask: Array
    outputs: int
    resets: bool = False
    gradient: bool = False
    first_state: bool = False
    rate: float = 0.0
    key: int = 0
    bags: Bags | None = None
    beside: NDArray[Any] | None = None
    source: EncoderInput | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """T, B."""
        T, B = self.mask.shape
        return T, B

    def dropout_key(self, block: int) -> np.uint32:
        """The key of the dropout masks of a block, each of which adds a number of its own, `block`."""
        return np.uint32((self.key + block) & 0xFFFFFFFF)


class Block:
    """A block that does nothing; subclasses override what they need.

    `pools`: its signal (K, B, N) has one vector for each sequence of a row, not for each step. `states` is the number
    of arrays (B, state_size) of hidden state that it carries from window to window, `gate_columns` how many numbers it
    stores for each step of a row until backward.
    """

    pools = False
    states = 0
    state_size = 0
    gate_columns = 0

    def parameters(self) -> list[Parameter]:
        """Its parameters, in the order of the flat vector."""
        return []

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """Take views, by parameter name and of its shape, of the flat vectors of weights and of their gradients."""

    def pack(self, *, backward: bool, often: bool = True) -> list[Job]:
        """Jobs that pack the weights for the forward or the backward direction.

        `often`: they run after every step of training, so that compiling them pays.
        """
        return []

    def prepare(self, below: Signal | Lookup | None, window: Window) -> Signal | Lookup:
        """Take arrays for windows of this shape; return the signal (T, B, N) that `forward_rows` will fill.

        `below`: the signal of the layer below; None for the first block, which reads the window's ids.
        """
        raise NotImplementedError

    def check(self, ids: Ids) -> None:
        """Raise `CharrnnError` unless all of `ids` can be read (a head: predicted)."""

    def begin(self) -> None:
        """Start the next window: `window.inputs` and the masks are filled."""

    def forward_rows(self, begin: int, end: int, thread: int) -> None:
        """Fill its signal for the rows from `begin` to `end`; `thread`: the number of the calling thread."""

    def prepare_backward(self) -> None:
        """Take arrays for the gradient, and claim the gradient of the layer below (`Signal.claim`)."""

    def backward_rows(self, begin: int, end: int, thread: int) -> None:
        """From the gradient of its signal, add to that of the layer below, for the rows from `begin` to `end`."""

    def weight_jobs(self) -> list[Job]:
        """Jobs that add to the gradients of the weights, once `backward_rows` has run for all rows."""
        return []

    def finish_gradient(self) -> None:
        """The rest of the gradient, which reads what `weight_jobs` of this block and of the layer above have summed."""

    def state(self, *, last: bool) -> list[Array]:
        """Views (B, H), `states` of them, of the hidden state before the first or after the last step of the window."""
        return []

    def state_gradient(self) -> list[Array]:
        """The gradients (B, H) of `state(last=False)`; valid in a window with `first_state`."""
        return []


class Head(Block):
    """The block that gives each target its log-probability (or log density), in nats.

    A window is cut into chunks of steps, so that logits of any vocabulary fit into memory: for each chunk
    `gradient_rows`, then `weight_jobs`. `claim` comes before the first chunk. `fixed`: chunks and arrays depend on the
    shape of a window only, not on its targets. `overwrite`: this head is the first writer of the gradient of `hidden`.
    """

    fixed = True
    overwrite = True

    def open(self, window: Window) -> None:
        """Take note of the window, for heads that read where sequences begin and end."""

    def claim(self, hidden: Signal) -> None:
        """Claim the gradient of `hidden` (T, B, H), once for all chunks of a window."""
        self.overwrite = hidden.claim()[1]

    def chunks(self, targets: Ids) -> list[slice]:
        """The steps of targets (T, B), cut into slices that are computed one after the other."""
        return [slice(0, len(targets))]

    def log_probs_rows(self, hidden: Signal, targets: Ids, log_probs: Log) -> Work:
        """A function that fills some rows of log_probs (T, B), in nats, of targets (T, B), given hidden (T, B, H)."""
        raise NotImplementedError

    def gradient_rows(self, hidden: Signal, targets: Ids, scales: Log, log_probs: Log) -> Work:
        """A function that does the same, and adds the gradient of -Σ scales · log_probs to that of hidden (T, B, H).

        targets, log_probs (T, B); scales (T, B): the weight of each target in the loss.
        """
        raise NotImplementedError
