"""The parts of words: hashed character n-grams, affixes and shape; sums of their vectors, and the gradient of these.

Bojanowski et al. 2017, "Enriching word vectors with subword information", doi:10.1162/tacl_a_00051; the hashing trick:
Weinberger et al. 2009, "Feature hashing for large scale multitask learning", doi:10.1145/1553374.1553516.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from charrnn.kernels.dropout import mix
from charrnn.kernels.rounding import store_gemm_input
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.compile import kernel

Points: TypeAlias = npt.NDArray[np.uint32]
Places: TypeAlias = npt.NDArray[np.int64]

_BEGIN, _END = 2, 3  # stand before and after a word: control characters, which no word has
_NGRAM, _PREFIX, _SUFFIX, _SHAPE = (
    np.uint32(0x9E3779B9),
    np.uint32(0x85EBCA6B),
    np.uint32(0xC2B2AE35),
    np.uint32(0x27D4EB2F),
)


@kernel
def hash_parts(
    points: Points, kinds: Points, offsets: Places, shortest: int, longest: int, affix: int,
    hashes: Points, bounds: Places,
) -> int:  # fmt: skip
    """hashes (M), out: of the parts of N words; those of word n are hashes[bounds[n] : bounds[n + 1]]. Returns M.

    points: the characters of all words, in lower case; those of word n begin at offsets[n] (N + 1). kinds: the class of
    each character, of which the shape of a word is made: runs of one class count once. Parts are the n-grams of
    `shortest` to `longest` characters, where a word has a mark at its begin and its end, longer prefixes and suffixes
    of up to `affix` characters, and the shape.
    """
    count, bounds[0] = 0, 0
    for word in range(offsets.size - 1):
        begin, end = offsets[word], offsets[word + 1]
        for first in range(begin - 1, end + 1):
            key = _NGRAM
            for last in range(first, min(first + longest, end + 1)):
                point = np.uint32(_BEGIN) if last < begin else np.uint32(_END) if last == end else points[last]
                key = mix(key ^ mix(point))
                if last - first + 1 >= shortest and not (first == last and (last < begin or last == end)):
                    hashes[count] = key
                    count += 1
        key = _PREFIX
        for last in range(begin, min(begin + affix, end)):
            key = mix(key ^ mix(points[last]))
            if last - begin + 2 > longest:
                hashes[count] = key
                count += 1
        key = _SUFFIX
        for first in range(end - 1, max(end - affix, begin) - 1, -1):
            key = mix(key ^ mix(points[first]))
            if end - first + 1 > longest:
                hashes[count] = key
                count += 1
        key, before = _SHAPE, np.uint32(0)
        for place in range(begin, end):
            kind = kinds[place]
            if kind != before:
                key = mix(key ^ mix(kind))
            before = kind
        hashes[count] = key
        count += 1
        bounds[word + 1] = count
    return count


@kernel
def sum_rows(table: Array, rows: Ids, bounds: Ids, sums: Array, sums_gemm: Array, first: int, last: int) -> None:
    """sums[u] = Σ table[rows[bounds[u] : bounds[u + 1]]] for the words u from `first` to `last`.

    table (R, E), sums (U, E); sums_gemm: their gemm input.
    """
    for u in range(first, last):
        total = sums[u]
        total[:] = 0
        for place in range(bounds[u], bounds[u + 1]):
            row = table[rows[place]]
            for j in range(total.size):
                total[j] += row[j]
        store_gemm_input(total, sums_gemm[u])


@kernel
def add_to_summed(dsums: Array, rows: Ids, bounds: Ids, dtable: Array, first: int, last: int) -> None:
    """The gradient of `sum_rows`: dtable[r] += dsums[u] for each row r of each word u; columns `first` to `last`."""
    for u in range(dsums.shape[0]):
        source = dsums[u, first:last]
        for place in range(bounds[u], bounds[u + 1]):
            target = dtable[rows[place], first:last]
            for j in range(last - first):
                target[j] += source[j]


@kernel
def copy_neighbours(
    vectors: Array, index: Ids, mask: Array, reverse_mask: Array, out: Array, column: int, begin: int, end: int
) -> None:  # fmt: skip
    """out[t, b, column:] = the vectors of the words before, at and after step t, for the rows `begin` to `end`.

    vectors (U, E), index (T, B), out (T, B, column + 3 E). Zeros before the begin of a sequence, where mask (T, B) is
    0, and after its end, where reverse_mask (T, B) is.
    """
    T, E = index.shape[0], vectors.shape[1]
    for t in range(T):
        for b in range(begin, end):
            target = out[t, b, column:]
            here = vectors[index[t, b]]
            if t > 0 and mask[t, b] != 0:
                before = vectors[index[t - 1, b]]
                for j in range(E):
                    target[j] = before[j]
            else:
                target[:E] = 0
            for j in range(E):
                target[E + j] = here[j]
            if t + 1 < T and reverse_mask[t, b] != 0:
                after = vectors[index[t + 1, b]]
                for j in range(E):
                    target[2 * E + j] = after[j]
            else:
                target[2 * E :] = 0


@kernel
def add_from_neighbours(
    dout: Array, index: Ids, mask: Array, reverse_mask: Array, dvectors: Array, column: int, first: int, last: int
) -> None:  # fmt: skip
    """The gradient of `copy_neighbours`: adds to the columns from `first` to `last` of dvectors (U, E)."""
    (T, B), E = index.shape, dvectors.shape[1]
    for t in range(T):
        for b in range(B):
            source = dout[t, b, column:]
            target = dvectors[index[t, b]]
            for j in range(first, last):
                target[j] += source[E + j]
            if t > 0 and mask[t, b] != 0:
                target = dvectors[index[t - 1, b]]
                for j in range(first, last):
                    target[j] += source[j]
            if t + 1 < T and reverse_mask[t, b] != 0:
                target = dvectors[index[t + 1, b]]
                for j in range(first, last):
                    target[j] += source[2 * E + j]
