"""A text as parallel streams, cut into windows of a fixed length for truncated backpropagation through time."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CharrnnError
from charrnn.text.mapped import folder_of, release_pages
from charrnn.text.vocabulary import EOS

IN_MEMORY_BYTES = 64 << 20  # a shuffled copy that is larger goes to a temporary file
PAGES_BYTES = 16 << 20  # of a mapped file may be in memory
FAULT_BYTES = 64 << 10  # that the system maps around a place that is read
CHUNK = 1 << 20  # tokens that are searched or shuffled at a time

Ids = NDArray[np.integer]


@dataclass(frozen=True)
class Window:
    """`inputs` and `targets` are (T, B) int32; `fresh` says that no state carries over into it."""

    inputs: NDArray[np.int32]
    targets: NDArray[np.int32]
    fresh: bool


def window_shape(tokens: int, batch_size: int, seq_length: int) -> tuple[int, int]:
    """Streams and steps (B, T) of a window of that many `tokens` in all: no more than there are."""
    return min(batch_size, max(1, tokens // seq_length)), min(seq_length, tokens)


class Batches:
    """`batch_size` (B) parallel streams over `ids`, cut into windows of `seq_length` (T) steps.

    A row goes on in the next window where it ended in this one. A target's input is the unit before it in the text; the
    first one's is the end of a line. An epoch uses every token once, but for fewer than B T that rounding leaves over:
    where the streams start depends on seed and epoch, so that it is not always the same ones. With `lines`, the lines
    are instead in another order in each epoch. A text too small for one window gets a smaller B, then a smaller T;
    `note` says so.

    Raises:
        CharrnnError: there are no tokens.
    """

    def __init__(self, ids: Ids, batch_size: int, seq_length: int, *, lines: bool, seed: int) -> None:
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
        self._seed = seed
        self._read = 0  # bytes that windows have brought into memory, at most
        self._shuffle = LineShuffle(ids, seed) if lines else None

    def window(self, step: int) -> Window:
        """The window of optimiser step `step`, counted from 0 through all epochs; it depends on nothing else."""
        epoch, position = divmod(step, self.steps_per_epoch)
        T, B = self.seq_length, self.batch_size
        if self._shuffle is None:
            ids = self._ids
            start = self._offset(epoch)
        else:
            ids = self._shuffle.epoch(epoch)
            start = 0
        rows = start + np.arange(B) * (self.steps_per_epoch * T) + position * T
        places = rows + np.arange(T)[:, None]
        targets = ids[places].astype(np.int32)
        inputs = np.empty((T, B), np.int32)
        inputs[1:] = targets[:-1]
        inputs[0] = np.where(rows > 0, ids[np.maximum(rows - 1, 0)], EOS)
        self._read += B * FAULT_BYTES
        if self._read > PAGES_BYTES:
            release_pages(ids)
            self._read = 0
        return Window(inputs, targets, position == 0)

    def _offset(self, epoch: int) -> int:
        """Where the first stream starts: one of the places that leave room for all windows."""
        spare = len(self._ids) - self.steps_per_epoch * self.batch_size * self.seq_length
        return int.from_bytes(_digest("offset", self._seed, epoch), "little") % (spare + 1)


def _digest(purpose: str, seed: int, epoch: int) -> bytes:
    """16 bytes that depend on nothing but the arguments."""
    return hashlib.blake2b(f"{purpose} {seed} {epoch}".encode(), digest_size=16).digest()


class LineShuffle:
    """The lines of a text in an order that depends on seed and epoch only. The copy of one epoch is kept."""

    def __init__(self, ids: Ids, seed: int) -> None:
        self._ids = ids
        self._seed = seed
        self._starts = line_starts(ids)
        self._epoch = -1
        self._copy: Ids = ids[:0]

    def epoch(self, epoch: int) -> Ids:
        """All tokens, with the lines in the order of `epoch`."""
        if epoch != self._epoch:
            self._copy, self._epoch = self._ids[:0], -1  # the old one goes before the next is made: they may be large
            key = np.frombuffer(_digest("lines", self._seed, epoch), np.uint64)
            order = np.arange(len(self._starts) - 1, dtype=self._starts.dtype)
            np.random.Generator(np.random.Philox(key=key)).shuffle(order)
            self._copy = self._space()
            self._fill(self._copy, order)
            self._epoch = epoch
        return self._copy

    def _space(self) -> Ids:
        """An array like the ids: in memory, or in a nameless temporary file beside theirs."""
        if self._ids.nbytes <= IN_MEMORY_BYTES:
            return np.empty(self._ids.shape, self._ids.dtype)
        try:
            with tempfile.TemporaryFile(dir=folder_of(self._ids)) as file:
                return np.memmap(file, self._ids.dtype, mode="w+", shape=self._ids.shape)
        except OSError as error:
            raise CharrnnError(f"cannot write the shuffled lines to a temporary file: {error.strerror}") from error

    def _fill(self, copy: Ids, order: NDArray[np.signedinteger]) -> None:
        """Write the lines to `copy` in `order`, about `CHUNK` tokens at a time."""
        first, written = 0, 0
        lines_at_once = max(1, CHUNK * len(order) // len(self._ids))
        while first < len(order):
            chosen = order[first : first + lines_at_once]
            starts, lengths = self._starts[chosen], self._starts[chosen + 1] - self._starts[chosen]
            ends = np.cumsum(lengths)
            if ends[-1] > CHUNK:  # long lines among them: keep those that fit, or take one line by itself
                fit = max(1, int(np.searchsorted(ends, CHUNK, "right")))
                chosen, starts, lengths, ends = chosen[:fit], starts[:fit], lengths[:fit], ends[:fit]
            total = int(ends[-1])
            if len(chosen) == 1:
                copy[written : written + total] = self._ids[starts[0] : starts[0] + total]
            else:
                # Token j of the chunk, in its line i, comes from starts[i] plus its distance from where i begins here.
                places = np.repeat(starts - (ends - lengths), lengths) + np.arange(total)
                copy[written : written + total] = self._ids[places]
            first += len(chosen)
            written += total
            if copy.nbytes > PAGES_BYTES:
                release_pages(self._ids)
                release_pages(copy)


def line_starts(ids: Ids) -> NDArray[np.signedinteger]:
    """Where each line starts, and at the end the number of ids. What follows the last end of line is a line too."""
    dtype = np.dtype(np.int32 if len(ids) < 1 << 31 else np.int64)
    pieces: list[NDArray[np.signedinteger]] = [np.zeros(1, dtype)]
    for first in range(0, len(ids), CHUNK):
        pieces.append((np.flatnonzero(ids[first : first + CHUNK] == EOS) + (first + 1)).astype(dtype))
        release_pages(ids)
    starts = np.concatenate(pieces)
    return starts if starts[-1] == len(ids) else np.append(starts, dtype.type(len(ids)))
