"""Records packed one after another into the rows of a batch, so that texts of different lengths need little padding.

Krell et al. 2021, "Efficient sequence packing without cross-contamination", arXiv:2107.02027. Recurrent networks need
no mask for it, only a reset of the hidden state at each beginning.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CharrnnError
from charrnn.text.batch import Batch, Flags
from charrnn.text.labelled_gathering import LabelledPart
from charrnn.text.shuffle import keyed_generator
from charrnn.text.vocabulary import EOS

MULTIPLE = 16  # the steps of a batch are a multiple of it, so that few shapes occur
POSITIONS = 1 << 14  # most positions of a batch without gradients, about
# A step of B rows is taken to cost as much as B + STEP_ROWS: few rows use a processor less well.
STEP_ROWS = 4
# Steps that are tried, in halves of the longest record.
HALVES = (2, 3, 4, 6, 8)

Places = NDArray[np.int64]
Lengths = NDArray[np.int64]


class Packing(NamedTuple):
    """Where N sequences lie in T steps of B rows.

    order (N): the sequences in the order of rows, and within a row one after the other. In that order, rows (N): the
    row of each, numbers (N): the how many-th it is there, starts (N): its first step.
    """

    T: int
    B: int
    order: NDArray[np.int64]
    rows: NDArray[np.int64]
    numbers: NDArray[np.int64]
    starts: NDArray[np.int64]


class RecordBatches:
    """The numbers of the records in each batch of `batch_size`; an epoch has every record once.

    lengths (records): of each. The order of an epoch depends on seed and epoch; its last batch may be smaller. If there
    are fewer than `batch_size` records, `batch_size` is smaller, and `note` says so. `seq_length` is the mean number of
    units of a record: `batch_size` · `seq_length` is about the units of a step.

    Raises:
        CharrnnError: there are no records.
    """

    def __init__(self, lengths: Lengths, batch_size: int, seed: int) -> None:
        records = len(lengths)
        if records == 0:
            raise CharrnnError("there are no records to train on; give more data")
        self.batch_size = min(batch_size, records)
        self.seq_length = -(-int(lengths.sum()) // records)
        self.steps_per_epoch = -(-records // self.batch_size)
        self.note: str | None = None
        if self.batch_size != batch_size:
            self.note = f"{records:,} records are too few for batches of {batch_size}: batch size {records} is used"
        self._count, self._seed = records, seed
        self._orders = functools.lru_cache(2)(self._order)

    def records(self, step: int) -> NDArray[np.int64]:
        """The numbers (N) of the records of step `step`."""
        epoch, position = divmod(step, self.steps_per_epoch)
        return self._orders(epoch)[position * self.batch_size : (position + 1) * self.batch_size]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        return keyed_generator("records", self._seed, epoch).permutation(self._count)


class PackedBatches(RecordBatches):
    """The records of `part` in batches, each packed into rows; see `RecordBatches`."""

    def __init__(self, part: LabelledPart, batch_size: int, seed: int) -> None:
        super().__init__(part.lengths, batch_size, seed)
        self._part = part

    def batch(self, step: int) -> Batch:
        """The batch of optimiser step `step`, counted from 0 through all epochs: a function of the step alone."""
        return pack_records(self._part, self.records(step))[0]


def evaluation_batches(
    part: LabelledPart, records: NDArray[np.int64] | None = None, positions: int = POSITIONS
) -> Iterator[tuple[NDArray[np.int64], Batch, Places]]:
    """All records of `part`, or those of the numbers `records`, in batches of about `positions` positions at most.

    Yields the numbers (N) of the records of a batch, the batch, and the places (N, 2) of its records, see `pack`.
    Records of similar length share a batch. A longer record than `positions` is a batch by itself.
    """
    chosen = np.arange(len(part)) if records is None else np.asarray(records, np.int64)
    for places in by_length(part.lengths[chosen], positions):
        yield chosen[places], *pack_records(part, chosen[places])


def spread(records: int, units: int, limit: int | None) -> NDArray[np.int64]:
    """The numbers of those of so many records, evenly spread, that have about `limit` of their units; None: all."""
    if limit is None or limit >= units:
        return np.arange(records)
    return np.linspace(0, records - 1, max(1, records * limit // units)).astype(np.int64)


def by_length(lengths: Lengths, positions: int = POSITIONS) -> Iterator[NDArray[np.int64]]:
    """The numbers of records of these lengths (N), those of similar length together, about `positions` units at a time.

    A longer record than that is by itself.
    """
    order = np.argsort(lengths, kind="stable")
    ends = np.cumsum(lengths[order])
    start = 0
    while start < len(order):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + positions, "right")))
        yield order[start:stop]
        start = stop


def pack_records(part: LabelledPart, records: NDArray[np.int64]) -> tuple[Batch, Places]:
    """Pack the records of `part` with the numbers `records` (N) into a batch; places (N, 2) as in `pack`.

    The logits of the part, if it has any, become the offsets of the batch.
    """
    starts, lengths = part.offsets[:-1][records], part.lengths[records]
    batch, places = _pack(part.ids[ranges(starts, lengths)], lengths, part.labels[records])
    if part.logits is None:
        return batch, places
    offsets = np.zeros((*batch.targets.shape, part.logits.shape[1]), np.float32)
    offsets[places[:, 0], places[:, 1]] = part.logits[records]
    return dataclasses.replace(batch, offsets=offsets), places


def pack(sequences: Sequence[NDArray[Any]], labels: Sequence[int] | NDArray[Any] | None) -> tuple[Batch, Places]:
    """Pack N sequences of ids, each of one or more, into the rows of a batch of T steps, B rows and K targets a row.

    Returns the batch and places (N, 2): of each sequence the place (k, b) of its target, as the k-th sequence of row b.
    inputs (T, B) int32: the sequences one after the other, then padding, id 1. targets (K, B) int32: their labels, and
    0 where there is no sequence or its label is negative, which is unknown; weights (K, B): there 0, else 1. `labels`
    None: all are unknown. A sequence begins where `reset` is True and ends where `ends` is.

    Raises:
        ValueError: there is no sequence, or one is empty.
    """
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    if not lengths.all() or not len(lengths):
        raise ValueError("pack needs at least one sequence, and each with at least one id")
    known = np.full(len(lengths), -1, np.int32) if labels is None else np.asarray(labels, np.int32)
    return _pack(np.concatenate(sequences), lengths, known)


def _pack(ids: NDArray[Any], lengths: Lengths, labels: NDArray[np.int32]) -> tuple[Batch, Places]:
    """Pack sequences, which are in ids one after the other, of these lengths (N) and labels (N)."""
    packing = lay_out(lengths)
    B, order, rows, numbers = packing.B, packing.order, packing.rows, packing.numbers
    K = int(numbers.max()) + 1
    reset, ends, places = mark(packing, lengths)
    inputs = np.full(packing.T * B, EOS, np.int32)
    inputs[places] = ids
    known = labels[order]
    targets, weights = np.zeros((K, B), np.int32), np.zeros((K, B))
    targets[numbers, rows] = np.maximum(known, 0)
    weights[numbers, rows] = known >= 0
    found = np.empty((len(rows), 2), np.int64)
    found[order, 0], found[order, 1] = numbers, rows
    return Batch(inputs.reshape(-1, B), targets, reset, ends, weights), found


def lay_out(lengths: Lengths) -> Packing:
    """Where sequences of these lengths (N), each of one unit or more, lie in a batch that a network computes fast."""
    order = np.argsort(-lengths, kind="stable")
    T, B, rows = _choose(lengths[order])
    # In the order of rows, and within a row in that of falling length.
    by_row = np.argsort(rows, kind="stable")
    order, rows = order[by_row], rows[by_row]
    counts = np.bincount(rows, minlength=B)
    numbers = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    ends = np.cumsum(lengths[order])
    starts = ends - lengths[order]
    return Packing(T, B, order, rows, numbers, starts - starts[numbers == 0][rows])


def mark(packing: Packing, lengths: Lengths) -> tuple[Flags, Flags, NDArray[np.int64]]:
    """Where sequences of these lengths (N) begin and where they end (T, B), and the place t B + b of each unit (units),
    those of the first sequence first."""
    T, B, order = packing.T, packing.B, packing.order
    first = np.empty(len(lengths), np.int64)
    first[order] = packing.starts * B + packing.rows
    reset, ends = np.zeros(T * B, np.bool_), np.zeros(T * B, np.bool_)
    reset[first] = ends[first + (lengths - 1) * B] = True
    steps = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return reset.reshape(T, B), ends.reshape(T, B), np.repeat(first, lengths) + steps * B


def ranges(starts: NDArray[np.int64], lengths: Lengths) -> NDArray[np.int64]:
    """starts[n], starts[n] + 1, … (lengths[n] numbers), for each n in turn."""
    ends = np.cumsum(lengths)
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)


def _choose(lengths: Lengths) -> tuple[int, int, NDArray[np.int64]]:
    """Steps T, rows B and the row (N) of each of lengths (N), which fall: those that a network computes fastest."""
    from charrnn.kernels.text import first_fit

    total, longest = int(lengths.sum()), int(lengths[0])
    best: tuple[int, int, NDArray[np.int64]] | None = None
    least = 0
    for T in sorted({-(-longest * halves // (2 * MULTIPLE)) * MULTIPLE for halves in HALVES}):
        if best is not None and T * (-(-total // T) + STEP_ROWS) >= least:
            continue
        rows = np.empty(len(lengths), np.int64)
        B = first_fit(lengths, np.full(len(lengths), T), rows)
        if best is None or least > T * (B + STEP_ROWS):
            best, least = (T, B, rows), T * (B + STEP_ROWS)
    assert best is not None
    return best
