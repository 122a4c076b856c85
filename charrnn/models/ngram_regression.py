"""A direct path beside the recurrent layers: a logistic regression on the hashed n-grams of each sequence.

    logits = bias + Σ table[hash(n-gram)] / √n     over the n n-grams of the sequence

It is what counting knows: Joulin et al. 2017, "Bag of tricks for efficient text classification", arXiv:1607.01759. It
is fitted first, and its logits are added to those of the network, which learns what they lack. For the records that it
was fitted on they would be too good to be true: there the network gets logits of regressions that were fitted without
the record (cross-fitting: Wolpert 1992, "Stacked generalization", doi:10.1016/S0893-6080(05)80023-1). So no records
need be kept from the regression to validate with.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from charrnn import kernels
from charrnn.errors import CharrnnError
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.threads import Job, ThreadPool
from charrnn.text.labelled_gathering import LabelledPart
from charrnn.text.shuffle import keyed_generator

WEIGHT, BIAS = "ngrams.weight", "ngrams.bias"
EDGE = 1  # the id that stands before and after a sequence: end of line
MOST_ROWS, MOST_WEIGHTS, LEAST_ROWS = 1 << 17, 1 << 22, 1 << 10
FOLDS = 5
AVERAGED = 3  # regressions on all records, each with an order of its own: what the order does to one is chance
RATE = 0.2  # of AdaGrad
EPOCHS, PATIENCE = 24, 3
MOST_WORK = 1 << 34  # multiply-adds of all epochs of all folds: some ten seconds; larger data need fewer epochs

Records = NDArray[np.int64]


def table_shape(labels: int) -> tuple[int, int]:
    """The shape of the table: rows, a power of two, fewer where there are many labels."""
    rows = MOST_ROWS
    while rows > LEAST_ROWS and rows * labels > MOST_WEIGHTS:
        rows //= 2
    return rows, labels


def regression_numbers(part: LabelledPart, labels: int, longest: int) -> int:
    """About how many numbers of 4 bytes `fit` needs."""
    rows, _ = table_shape(labels)
    return 2 * (FOLDS + AVERAGED) * rows * labels + (2 * labels + 2 * longest) * len(part) + 2 * longest * len(part.ids)


@dataclass(frozen=True)
class NgramRegression:
    """The logits of all labels given the n-grams of 1 to `longest` units; weight (rows, L), bias (L), float32."""

    longest: int
    weight: Array
    bias: Array

    @classmethod
    def load(cls, longest: int, labels: int, tensors: Mapping[str, Array]) -> NgramRegression:
        """From the tensors of a checkpoint. Raises CharrnnError where one is missing or has another shape."""
        shape = table_shape(labels)
        for name, needed in ((WEIGHT, shape), (BIAS, shape[1:])):
            if name not in tensors or tensors[name].shape != needed:
                found = tensors[name].shape if name in tensors else "missing"
                raise CharrnnError(f"the tensor {name} is {found}; its shape must be {needed}")
        return cls(longest, *(np.array(tensors[name], np.float32) for name in (WEIGHT, BIAS)))

    def tensors(self) -> dict[str, Array]:
        """Weight and bias by their names in a checkpoint."""
        return {WEIGHT: self.weight, BIAS: self.bias}

    def logits(self, inputs: Ids, first: Ids, last: Ids) -> Array:
        """The logits (K, B, L) of sequences, whose steps are first to last (K, B) of inputs (T, B), see `Pooling`."""
        bags = Bags(inputs, first, last, self.longest, len(self.weight))
        out = np.empty((*first.shape, len(self.bias)), np.float32)
        bags.logits(np.arange(first.size), self.weight, self.bias, out.reshape(first.size, -1))
        return out


class Bags:
    """The table rows of the n-grams of sequences, whose steps are first to last (K, B) of inputs (T, B)."""

    def __init__(self, inputs: Ids, first: Ids, last: Ids, longest: int, size: int) -> None:
        rows = np.empty((inputs.size + 2 * first.size) * longest, np.int32)
        self.bounds = np.empty(first.size + 1, np.int32)
        count = kernels.ngrams.hash_ngrams(inputs, first, last, longest, EDGE, size, rows, self.bounds)
        self.rows = rows[:count].copy()

    @classmethod
    def of(cls, part: LabelledPart, longest: int, size: int) -> Bags:
        """Those of all records."""
        first, last = (ends.astype(np.int32)[:, None] for ends in (part.offsets[:-1], part.offsets[1:] - 1))
        return cls(part.ids.astype(np.int32)[:, None], first, last, longest, size)

    def logits(self, records: Records, weight: Array, bias: Array, out: Array) -> None:
        """out (N, L): the logits of the sequences with these numbers (N)."""
        kernels.ngrams.bag_logits(records, self.rows, self.bounds, weight, bias, out)


class _Fit:
    """A regression that is being fitted to `records`, with an order of its own in each epoch."""

    def __init__(
        self, bags: Bags, part: LabelledPart, records: Records, labels: int, key: tuple[int, ...]
    ) -> None:  # fmt: skip
        self.bags, self.part, self.records, self.key = bags, part, records, key
        shape = table_shape(labels)
        self.weight, self.squares = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.bias, self.bias_squares, self.scratch = np.zeros((3, labels), np.float32)
        self.epochs = 0

    def epoch(self) -> None:
        """One pass over the records."""
        order = keyed_generator("n-grams", *self.key, self.epochs).permutation(self.records)
        kernels.ngrams.fit_bags(
            order, self.bags.rows, self.bags.bounds, self.part.labels, RATE, self.weight, self.bias, self.squares,
            self.bias_squares, self.scratch,
        )  # fmt: skip
        self.epochs += 1


def fit(
    part: LabelledPart, labels: int, longest: int, seed: int, pool: ThreadPool
) -> tuple[NgramRegression, Array]:  # fmt: skip
    """Fit a regression to the records of `part`; returns it, and the cross-fitted logits (records, labels).

    Records are divided into folds by their units, so that equal ones share a fold. The number of epochs is that with
    the lowest loss of records of a fold in the regressions that were fitted to the others. Records whose label is
    unknown get logits only.
    """
    bags = Bags.of(part, longest, table_shape(labels)[0])
    folds, known = _folds(part), part.labels >= 0
    fits = [_Fit(bags, part, np.flatnonzero(known & (folds != fold)), labels, (seed, fold)) for fold in range(FOLDS)]
    left_out = [np.flatnonzero(folds == fold) for fold in range(FOLDS)]
    current, best = np.zeros((2, len(part), labels), np.float32)
    least, epochs = np.inf, 0

    def work(first: int, last: int, thread: int) -> None:
        for fold in range(first, last):
            fits[fold].epoch()
            out = np.empty((len(left_out[fold]), labels), np.float32)
            bags.logits(left_out[fold], fits[fold].weight, fits[fold].bias, out)
            current[left_out[fold]] = out

    most = max(1, min(EPOCHS, MOST_WORK // (FOLDS * len(bags.rows) * labels)))
    for epoch in range(1, most + 1):
        pool.run([Job(FOLDS, len(bags.rows) * labels, work)])
        loss = kernels.ngrams.summed_log_loss(current[known], part.labels[known])
        if loss < least:
            least, epochs = loss, epoch
            best[:] = current
        elif epoch - epochs >= PATIENCE:
            break
    whole = [_Fit(bags, part, np.flatnonzero(known), labels, (seed, FOLDS + n)) for n in range(AVERAGED)]

    def fit_whole(first: int, last: int, thread: int) -> None:
        for n in range(first, last):
            for _ in range(epochs):
                whole[n].epoch()

    pool.run([Job(AVERAGED, epochs * len(bags.rows) * labels, fit_whole)])
    weight, bias = (np.mean(found, axis=0) for found in zip(*((fit.weight, fit.bias) for fit in whole), strict=True))
    return NgramRegression(longest, weight, bias), best


def _folds(part: LabelledPart) -> NDArray[np.uint32]:
    """The fold of each record (records), by a checksum of its units."""
    sums = (zlib.crc32(part.ids[start:stop].tobytes()) for start, stop in pairwise(part.offsets.tolist()))
    return np.fromiter(sums, np.uint32, len(part)) % FOLDS
