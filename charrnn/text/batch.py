"""The data of one training step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]


class Shard(NamedTuple):
    """One of `total` parts of the rows of a batch, of nearly equal size, by their place and nothing else."""

    number: int = 0
    total: int = 1

    def rows(self, B: int) -> slice:
        """The rows of the part, of B; there may be none."""
        return slice(B * self.number // self.total, B * (self.number + 1) // self.total)


def shards_of(B: int, total: int) -> list[slice]:
    """The rows of all parts of B rows, see `Shard`."""
    return [Shard(number, total).rows(B) for number in range(total)]


class Bags(NamedTuple):
    """Rows of a table for each of U words: those of word u are rows[bounds[u] : bounds[u + 1]].

    rows (M), bounds (U + 1).
    """

    rows: NDArray[np.int32]
    bounds: NDArray[np.int32]

    def of(self, words: NDArray[np.integer[Any]]) -> Bags:
        """Those of some of the words, by their numbers."""
        pieces = [self.rows[self.bounds[word] : self.bounds[word + 1]] for word in words.tolist()]
        bounds = np.append(0, np.cumsum([len(piece) for piece in pieces])).astype(np.int32)
        return Bags(np.concatenate(pieces), bounds)


@dataclass(frozen=True)
class EncoderInput:
    """S sequences that those of a batch are made from, packed in a window of their own: T steps of B rows, as `Batch`.

    Sequence s of the batch, numbered by row and in a row by time, is made from source s, which begins at places[s] =
    t B + b and has lengths[s] ≥ 1 units. inputs, reset, ends (T, B) as in `Batch`; places, lengths (S).
    """

    inputs: NDArray[np.int32]
    reset: Flags
    ends: Flags
    places: NDArray[np.int64]
    lengths: NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """T steps of B rows. It says where sequences begin and end, so that a network need not know a boundary unit.

    A row has K targets: one a step (K = T), or one a sequence. Then the k-th sequence of a row has the k-th target, and
    rows with fewer sequences have targets of weight 0 at the end.

    inputs (T, B): what each step reads, ids in int32; or (T, B, N), numbers.
    targets (K, B): what is predicted at each step or of each sequence, ids in int32; or (K, B, C), numbers.
    reset (T, B): whether a sequence begins with a step: the hidden state is reset to zero before it. None: nowhere.
    ends (T, B): whether a sequence ends with a step. None: nowhere.
    beside (K, B, F): numbers that the output reads beside the recurrent layers. None: it reads none.
    weights (K, B) float64: the weight of a target in the loss, 0 for padding. None: all 1.
    offsets (K, B, labels): are added to the logits of the targets, as another model gives them. None: none.
    fresh (B): rows that start from a zero state instead of the carried one. None: no row.
    bags: the rows of a table that each word is the sum of; inputs are then numbers of words. None: inputs are ids.
    state (S, B, H): the hidden state after the window before, S arrays of width H; training replaces it by that after
        this window. None: zeros.
    source: what each sequence of the batch is made from; inputs are then what was made so far, any id at first. None:
        nothing.

    Only `state` is ever written to.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    reset: Flags | None = None
    ends: Flags | None = None
    weights: NDArray[np.float64] | None = None
    offsets: NDArray[Any] | None = None
    fresh: Flags | None = None
    state: NDArray[Any] | None = None
    bags: Bags | None = None
    beside: NDArray[Any] | None = None
    source: EncoderInput | None = None

    def rows(self, rows: slice) -> Batch:
        """Copies of some rows of a batch without `source`; `state` (S, rows, H) included."""

        def columns(array: NDArray[Any] | None) -> NDArray[Any] | None:
            return None if array is None else np.ascontiguousarray(array[:, rows])

        inputs, bags = np.ascontiguousarray(self.inputs[:, rows]), self.bags
        if bags is not None:
            words, numbers = np.unique(inputs, return_inverse=True)
            inputs, bags = numbers.reshape(inputs.shape).astype(np.int32), bags.of(words)
        return Batch(
            inputs, np.ascontiguousarray(self.targets[:, rows]),
            columns(self.reset), columns(self.ends), columns(self.weights), columns(self.offsets),
            None if self.fresh is None else self.fresh[rows], columns(self.state), bags, columns(self.beside),
        )  # fmt: skip
