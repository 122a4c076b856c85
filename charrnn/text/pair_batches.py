"""Batches of pairs of texts: sources and targets packed into the rows of two windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.text.batch import Batch, EncoderInput
from charrnn.text.packing import MULTIPLE, Lengths, RecordBatches, by_length, lay_out, mark, ranges
from charrnn.text.pair_corpus import PairPart, Texts
from charrnn.text.vocabulary import EOS

POSITIONS = 1 << 13  # most units of both sides of a batch without gradients, about

Numbers = NDArray[np.int64]


class PairBatches(RecordBatches):
    """The pairs of `part` in batches of `batch_size`, see `RecordBatches`; `seq_length` is that of targets."""

    def __init__(self, part: PairPart, batch_size: int, seed: int) -> None:
        super().__init__(part.targets.lengths + 1, batch_size, seed)
        self._part = part

    def batch(self, step: int) -> Batch:
        """The batch of optimiser step `step`, counted from 0 through all epochs: a function of the step alone."""
        return pack_part(self._part, self.records(step))[0]


def pack_part(part: PairPart, records: Numbers) -> tuple[Batch, Numbers]:
    """The pairs of `part` with the numbers `records` (N); see `pack_pairs`."""
    sources, lengths = _some(part.sources, records)
    if not part.labelled:
        sources, lengths = with_ends(sources, lengths)
    return pack_pairs((sources, lengths), _some(part.targets, records))


def source_of(part: PairPart, record: int) -> NDArray[np.int32]:
    """The source of a record as a network reads it, of a text with its end."""
    ids, lengths = _some(part.sources, np.array([record], np.int64))
    return ids.astype(np.int32) if part.labelled else with_ends(ids, lengths)[0]


def evaluation_pairs(part: PairPart, records: Numbers) -> Iterator[tuple[Numbers, Batch, Numbers]]:
    """The pairs of the numbers `records` in batches of similar lengths: the numbers (N) of the pairs of each, and the
    batch and the places of its targets as `pack_pairs` returns them."""
    lengths = part.targets.lengths[records] + part.sources.lengths[records] + 2
    for chosen in by_length(lengths, POSITIONS):
        yield records[chosen], *pack_part(part, records[chosen])


def pack_pairs(sources: tuple[Any, Lengths], targets: tuple[Any, Lengths]) -> tuple[Batch, Numbers]:
    """N pairs, each side as ids one after the other and lengths (N), packed into a batch.

    Sources have one unit or more. Targets are without their ends: a target of n units has n + 1 steps, whose targets
    are its units and the end. Also the places t B + b of all targets, those of the first pair first.
    """
    ids, lengths = targets
    steps = lengths + 1
    packing = lay_out(steps)
    reset, ends, places = mark(packing, steps)
    shape = (packing.T, packing.B)
    inputs, outputs = np.full(shape, EOS, np.int32), np.zeros(shape, np.int32)
    weights = np.zeros(shape)
    outputs.reshape(-1)[places] = with_ends(ids, lengths)[0]
    begins = np.cumsum(steps) - steps
    later = np.ones(len(places), np.bool_)
    later[begins] = False
    inputs.reshape(-1)[places[later]] = ids
    weights.reshape(-1)[places] = 1
    return Batch(inputs, outputs, reset, ends, weights, source=pack_sources(*sources, packing.order)), places


def pack_sources(ids: NDArray[Any], lengths: Lengths, order: Numbers | None = None) -> EncoderInput:
    """Sources, which are in ids one after the other, of these lengths (N ≥ 1 each), packed into rows.

    Source number s of the result is number order[s] of the given ones; None: number s.
    """
    if len(lengths) == 1:  # packing takes as long as a small network for one source
        return _one_source(ids)
    packing = lay_out(lengths)
    reset, ends, places = mark(packing, lengths)
    inputs = np.full(packing.T * packing.B, EOS, np.int32)
    inputs[places] = ids
    first = places[np.cumsum(lengths) - lengths]
    if order is not None:
        first, lengths = first[order], lengths[order]
    return EncoderInput(inputs.reshape(packing.T, packing.B), reset, ends, first, lengths)


def _one_source(ids: NDArray[Any]) -> EncoderInput:
    """What `pack_sources` makes of a single source."""
    T = -(-len(ids) // MULTIPLE) * MULTIPLE
    inputs, reset, ends = np.full((T, 1), EOS, np.int32), np.zeros((T, 1), np.bool_), np.zeros((T, 1), np.bool_)
    inputs[: len(ids), 0] = ids
    reset[0] = ends[len(ids) - 1] = True
    return EncoderInput(inputs, reset, ends, np.zeros(1, np.int64), np.array([len(ids)]))


def with_ends(ids: NDArray[Any], lengths: Lengths) -> tuple[NDArray[np.int32], Lengths]:
    """Texts, in ids one after the other, of these lengths (N), each with an end of line after it; the new lengths."""
    found = np.full(len(ids) + len(lengths), EOS, np.int32)
    found[np.arange(len(ids)) + np.repeat(np.arange(len(lengths)), lengths)] = ids
    return found, lengths + 1


def joined(texts: Sequence[NDArray[Any]]) -> tuple[NDArray[np.int32], Lengths]:
    """Texts one after the other, and their lengths (N)."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return np.concatenate([np.zeros(0, np.int32), *texts]).astype(np.int32), lengths


def _some(texts: Texts, records: Numbers) -> tuple[NDArray[Any], Lengths]:
    """Some of the texts by their numbers (N): ids one after the other, and lengths (N)."""
    lengths = texts.lengths[records]
    return texts.ids[ranges(texts.offsets[:-1][records], lengths)], lengths
