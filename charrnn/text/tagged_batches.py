"""Batches of tagged sentences: their tokens packed into rows, and the rows of a table that each word is the sum of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from charrnn.text.batch import Bags, Batch
from charrnn.text.holdout import mixed
from charrnn.text.packing import POSITIONS, Lengths, RecordBatches, by_length, lay_out, mark, ranges
from charrnn.text.shuffle import keyed_bytes
from charrnn.text.tagged_corpus import TaggedPart
from charrnn.text.vocabulary import UNKNOWN
from charrnn.text.word_parts import Parts

# In training a word that occurs n times is read as unknown with the probability RARE / (RARE + n): Kiperwasser and
# Goldberg 2016, "Simple and accurate dependency parsing using bidirectional LSTM feature representations",
# doi:10.1162/tacl_a_00101.
RARE = 0.25

Dropped: TypeAlias = "Callable[[NDArray[np.int64]], NDArray[np.bool_]]"  # which of some words are read as unknown


class WordBags:
    """The rows of a table (V + buckets, E) for words: its id, 0 if it is unknown, then V + hash of each part.

    ids (words), parts: of the same words; see `tagged_corpus.Words`.
    """

    def __init__(self, ids: NDArray[np.int32], parts: Parts, V: int, buckets: int) -> None:
        self._ids, self._bounds = ids, parts.bounds
        self._rows = (V + (parts.hashes & np.uint32(buckets - 1))).astype(np.int32)

    def bags(self, words: NDArray[np.int64], unknown: NDArray[np.bool_] | None = None) -> Bags:
        """The rows of some words, by their numbers (U), those of `unknown` (U) without their own."""
        starts = self._bounds[words]
        sizes = self._bounds[words + 1] - starts
        bounds = np.append(0, np.cumsum(sizes + 1))
        rows = np.empty(int(bounds[-1]), np.int32)
        own = self._ids[words]
        rows[bounds[:-1]] = own if unknown is None else np.where(unknown, UNKNOWN, own)
        rows[ranges(bounds[:-1] + 1, sizes)] = self._rows[ranges(starts, sizes)]
        return Bags(rows, bounds.astype(np.int32))


class TaggedBatches(RecordBatches):
    """The sentences of `part` in batches; their words have rows of a table (V + buckets, E), see `WordBags`."""

    def __init__(self, part: TaggedPart, V: int, buckets: int, batch_size: int, seed: int) -> None:
        super().__init__(part.lengths, batch_size, seed)
        self._part, self._bags = part, WordBags(part.words.ids, part.words.parts, V, buckets)
        self._chances = RARE / (RARE + np.maximum(part.words.counts, 1))
        self._key = np.frombuffer(keyed_bytes("word dropout", seed), np.uint64)[0]

    def batch(self, step: int) -> Batch:
        """The batch of optimiser step `step`: a function of the step alone, also which words are read as unknown."""
        sentences = self.records(step)
        return pack_sentences(self._part, sentences, self._bags, self._dropped(step))[0]

    def _dropped(self, step: int) -> Dropped:
        def dropped(words: NDArray[np.int64]) -> NDArray[np.bool_]:
            keys = mixed(words.astype(np.uint64) + mixed(self._key + np.full(1, step, np.uint64)))
            return (keys >> np.uint64(11)) * 2.0**-53 < self._chances[words]

        return dropped


def evaluation_sentences(
    part: TaggedPart, sentences: NDArray[np.int64], bags: WordBags, positions: int = POSITIONS
) -> Iterator[tuple[NDArray[np.int64], Batch, NDArray[np.int64]]]:
    """The sentences of these numbers in batches of about `positions` tokens.

    Yields the numbers of the sentences of a batch, the batch, and the place t B + b of each token, see `packing.mark`.
    """
    for chosen in by_length(part.lengths[sentences], positions):
        numbers = sentences[chosen]
        yield numbers, *pack_sentences(part, numbers, bags)


def pack_sentences(
    part: TaggedPart, sentences: NDArray[np.int64], bags: WordBags, dropped: Dropped | None = None
) -> tuple[Batch, NDArray[np.int64]]:
    """A batch of the sentences of these numbers, and the place t B + b of each of their tokens.

    Where a tag is unknown, the target is 0 and its weight 0.
    """
    lengths = part.lengths[sentences]
    tokens = ranges(part.offsets[:-1][sentences], lengths)
    return pack_tokens(part.ids[tokens], lengths, part.tags[tokens], bags, dropped)


def pack_tokens(
    words: NDArray[np.unsignedinteger] | NDArray[np.int64], lengths: Lengths, tags: NDArray[np.int32] | None,
    bags: WordBags, dropped: Dropped | None = None,
) -> tuple[Batch, NDArray[np.int64]]:  # fmt: skip
    """As `pack_sentences`, of sentences one after the other: numbers of words and tags (tokens), lengths (sentences).

    `tags` None: all are unknown.
    """
    different, inverse = np.unique(words, return_inverse=True)
    different = different.astype(np.int64)
    packing = lay_out(lengths)
    reset, ends, places = mark(packing, lengths)
    size = packing.T * packing.B
    inputs, targets, weights = np.zeros(size, np.int32), np.zeros(size, np.int32), np.zeros(size)
    inputs[places] = inverse
    if tags is not None:
        targets[places] = np.maximum(tags, 0)
        weights[places] = tags >= 0
    shape = packing.T, packing.B
    unknown = None if dropped is None else dropped(different)
    batch = Batch(
        inputs.reshape(shape), targets.reshape(shape), reset, ends, weights.reshape(shape),
        bags=bags.bags(different, unknown),
    )  # fmt: skip
    return batch, places
