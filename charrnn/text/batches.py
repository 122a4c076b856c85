"""A text as parallel streams, cut into windows of a fixed length for truncated backpropagation through time.

Williams and Peng 1990, "An efficient gradient-based algorithm for on-line training of recurrent network trajectories",
doi:10.1162/neco.1990.2.4.490: the hidden state goes on from window to window, the gradient does not.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from charrnn.errors import CharrnnError
from charrnn.text.batch import Batch
from charrnn.text.mapped import FAULT_BYTES, PAGES_BYTES, release_pages
from charrnn.text.shuffle import Ids, LineShuffle, keyed_bytes
from charrnn.text.vocabulary import EOS

# The probability that the hidden state of a stream is reset before a window, so that a model learns to begin anywhere.
# Without it, a zero state in the middle of a text, as in validation, can lead to states that training never reached.
RESET_PROBABILITY = 0.02


def random_resets(seed: int, step: int, streams: int) -> NDArray[np.bool_]:
    """Flags (streams): whose hidden state is reset before a step. Counter-based: a function of the arguments alone."""
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, step, 2])))
    return random.random(streams) < RESET_PROBABILITY


def window_shape(tokens: int, batch_size: int, seq_length: int) -> tuple[int, int]:
    """Streams and steps (B, T) of a window; fewer than requested if there are fewer `tokens` in all."""
    return min(batch_size, max(1, tokens // seq_length)), min(seq_length, tokens)


@dataclass(frozen=True)
class IdBound:
    """Ids must be below `size`, that of the vocabulary. They were read from files in `folder`, a cache."""

    size: int
    folder: Path

    def require(self, ids: NDArray[Any]) -> None:
        """Raise `CharrnnError` if one of `ids`, an unsigned array of any shape, is not below `size`."""
        if ids.size and (highest := int(ids.max())) >= self.size:
            raise CharrnnError(
                f"the encoded corpus in {self.folder} is damaged: it has the id {highest}, and the vocabulary has "
                f"{self.size:,} units; remove that folder and try again"
            )


def bound_of(dtype: DTypeLike, size: int, folder: Path) -> IdBound | None:
    """The bound for ids of an unsigned integer type; None if no number of that type can exceed it."""
    return None if np.iinfo(np.dtype(dtype)).max < size else IdBound(size, folder)


class Batches:
    """`batch_size` (B) parallel streams over `ids`, cut into windows of `seq_length` (T) steps.

    A row continues in the next window where it ended in this one. The input of a target is the token before it in the
    text; that of the first token is the end of a line. An epoch uses every token once, except for a remainder of fewer
    than B · T: which tokens these are depends on seed and epoch, by where the streams start. With `lines`, the order of
    the lines is instead another one in each epoch. A text too small for one window gets a smaller B, then a smaller T;
    `note` says so. Every window is checked against `bound`.

    Raises:
        CharrnnError: there are no tokens.
    """

    def __init__(
        self, ids: Ids, batch_size: int, seq_length: int, *, lines: bool, seed: int, bound: IdBound | None = None
    ) -> None:  # fmt: skip
        length = len(ids)
        if length == 0:
            raise CharrnnError("there are no tokens to train on; give more text")
        self.batch_size, self.seq_length = window_shape(length, batch_size, seq_length)
        self.steps_per_epoch = length // (self.batch_size * self.seq_length)
        self.note: str | None = None
        if (self.batch_size, self.seq_length) != (batch_size, seq_length):
            self.note = (
                f"{length:,} tokens are too few for {batch_size} streams of {seq_length} steps: "
                f"batch size {self.batch_size} and sequence length {self.seq_length} are used"
            )
        self._ids = ids
        self._bound = bound
        self._seed = seed
        self._read = 0  # upper bound of the bytes that windows have brought into memory since the last release
        self._shuffle = LineShuffle(ids, seed, self.batch_size) if lines else None
        self._starts = functools.lru_cache(2)(self._offset)

    def batch(self, step: int) -> Batch:
        """The window of optimiser step `step`, counted from 0 through all epochs: a function of the step alone.

        Inputs and targets (T, B) are int32. Raises `CharrnnError` if an id is not below `bound`.
        """
        epoch, position = divmod(step, self.steps_per_epoch)
        T, B = self.seq_length, self.batch_size
        start = 0 if self._shuffle else self._starts(epoch)
        rows = start + np.arange(B) * (self.steps_per_epoch * T) + position * T
        if self._shuffle:
            read = self._shuffle.read(epoch, rows - 1, T + 1)
        else:
            read = self._ids[np.maximum(rows - 1 + np.arange(T + 1)[:, None], 0)]
        if self._bound is not None:
            self._bound.require(read)
        tokens = read.astype(np.int32, order="C")
        tokens[0, rows == 0] = EOS
        self._read += B * FAULT_BYTES
        if self._read > PAGES_BYTES:
            release_pages(self._ids)
            self._read = 0
        fresh = np.ones(B, np.bool_) if position == 0 else random_resets(self._seed, step, B)
        inputs = tokens[:-1]
        return Batch(inputs, tokens[1:], inputs == EOS if self._shuffle else None, fresh=fresh)

    def _offset(self, epoch: int) -> int:
        """The start of the first stream, random among those that leave room for all windows of an epoch."""
        spare = len(self._ids) - self.steps_per_epoch * self.batch_size * self.seq_length
        return int.from_bytes(keyed_bytes("offset", self._seed, epoch), "little") % (spare + 1)
