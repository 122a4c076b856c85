"""What a network is put together from: blocks, of which the last is a head that gives the loss.

A network uses a block in this order. Once: `parameters`, then `bind`. After every update of the weights: the jobs of
`pack`. For windows of one shape, once: `prepare` and, for a gradient, `prepare_backward` and `weight_jobs`. For each
window: `begin`, `forward_rows`; for a gradient then `backward_rows`, the jobs of `weight_jobs`, `finish_gradient`. What
belongs to the way back goes through the blocks in reverse. Rows (sequences) from `begin` to `end` are independent of
all others: each thread takes its own through all blocks and meets nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.nn.context import Context
from charrnn.nn.parameters import Parameter
from charrnn.nn.signal import Lookup, Signal
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.threads import Job, Work

Views = Mapping[str, Array]
Log = npt.NDArray[np.float64]


@dataclass
class Window:
    """`T` steps of `B` rows as they go through the blocks; those of one shape take turns in the same one.

    `inputs` (T, B) are ids. `mask` (T, B), the reset mask, multiplies the state before a step: 0 where it is reset,
    else 1; `reverse_mask` is that of layers that read backward. `resets`: whether there may be a 0 in them. `gradient`:
    the backward pass is to follow; with `first_state` it reaches the state before the first step. `rate`: dropout;
    `key`: what its masks depend on.
    """

    inputs: Ids
    mask: Array
    reverse_mask: Array
    resets: bool = False
    gradient: bool = False
    first_state: bool = False
    rate: float = 0.0
    key: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """T, B."""
        T, B = self.mask.shape
        return T, B


class Block:
    """A block that does nothing; others override what they need.

    `states` counts the arrays (B, state_size) of hidden state that it carries from window to window, `gate_columns` the
    numbers that it stores for each step of a row until its backward pass.
    """

    states = 0
    state_size = 0
    gate_columns = 0

    def parameters(self) -> list[Parameter]:
        """What it declares, in the order of the flat vector."""
        return []

    def bind(self, weights: Views, gradients: Views, context: Context) -> None:
        """Take the views, by name, into the flat vectors of parameters and of their gradient."""

    def pack(self, *, backward: bool, often: bool = True) -> list[Job]:
        """Jobs that pack the weights for the forward or the backward direction; `often`: after every step."""
        return []

    def prepare(self, below: Signal | Lookup | None, window: Window) -> Signal | Lookup:
        """Take arrays for windows of this shape; the signal that `forward_rows` will fill. `below`: what it reads, None
        for ids."""
        raise NotImplementedError

    def check(self, ids: Ids) -> None:
        """Raise `CharrnnError` unless all of `ids` can be read (a head: predicted)."""

    def begin(self) -> None:
        """Take up the next window, whose inputs are there."""

    def forward_rows(self, begin: int, end: int, thread: int) -> None:
        """Compute some rows of the batch."""

    def prepare_backward(self) -> None:
        """Take arrays for the gradient, and claim that of the signal below."""

    def backward_rows(self, begin: int, end: int, thread: int) -> None:
        """From the gradient of its own signal to that of the signal below, to which it adds, for some rows."""

    def weight_jobs(self) -> list[Job]:
        """Jobs that add up the gradients of the weights, after `backward_rows` was run for all rows."""
        return []

    def finish_gradient(self) -> None:
        """What needs the sums of `weight_jobs`, its own and those of the block above."""

    def state(self, *, last: bool) -> list[Array]:
        """Views (B, H) of the hidden state before the first or after the last step of the window."""
        return []

    def state_gradient(self) -> list[Array]:
        """The gradients (B, H) of `state(last=False)`, where the window asked for them."""
        return []


class Head(Block):
    """The block that gives each target its log-probability (or log density).

    Its work is cut into chunks of steps, so that logits of any vocabulary fit into memory: `gradient_rows` of a chunk,
    then `weight_jobs`, then the next one. `claim` comes before the first.
    """

    overwrite = True

    def claim(self, hidden: Signal) -> None:
        """Claim the gradient of what it reads, once for all chunks of a window."""
        self.overwrite = hidden.claim()[1]

    fixed = True  # whether the chunks and arrays of a window depend on its shape only, not on its targets

    def chunks(self, targets: Ids) -> list[slice]:
        """The steps of targets (T, B) cut into runs that are computed at once."""
        return [slice(0, len(targets))]

    def log_probs_rows(self, hidden: Signal, targets: Ids, log_probs: Log) -> Work:
        """What computes rows of log_probs (T, B), natural, of targets (T, B) given `hidden` (T, B, H)."""
        raise NotImplementedError

    def gradient_rows(self, hidden: Signal, targets: Ids, scales: Log, log_probs: Log) -> Work:
        """What computes rows of log_probs (T, B) and the gradient of -Σ scales log_probs by `hidden` (T, B, H)."""
        raise NotImplementedError
