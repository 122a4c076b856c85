"""Bags of hashed n-grams: which rows of a table the n-grams of a sequence have, their sum, and its gradient.

Joulin et al. 2017, "Bag of tricks for efficient text classification", arXiv:1607.01759; the hashing trick: Weinberger
et al. 2009, "Feature hashing for large scale multitask learning", doi:10.1145/1553374.1553516.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from charrnn.kernels.dropout import mix
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.compile import kernel

_START = np.uint32(0x9E3779B9)


@kernel
def hash_ngrams(inputs: Ids, first: Ids, last: Ids, longest: int, edge: int, size: int, rows: Ids, bounds: Ids) -> int:
    """rows (M), out: the table rows of all n-grams of 1 to `longest` ids; those of sequence (k, b) are rows[bounds[i] :
    bounds[i + 1]] with i = k B + b, and bounds (K B + 1) is out, too. Returns how many there are in all.

    inputs (T, B); sequence (k, b) has the steps first[k, b] to last[k, b] (K, B), and an `edge` before and after it:
    edges alone are no n-gram. The table has `size` rows, a power of two.
    """
    K, B = first.shape
    count, bounds[0] = 0, 0
    for k in range(K):
        for b in range(B):
            start, stop = first[k, b], last[k, b]
            if start <= stop:
                for begin in range(start - 1, stop + 1):
                    key = _START
                    for end in range(begin, min(begin + longest, stop + 2)):
                        inside = start <= end <= stop
                        unit = inputs[end, b] if inside else edge
                        key = mix(key ^ mix(np.uint32(unit + 1)))
                        if end > begin or inside:
                            rows[count] = np.int32(np.uint32(key + np.uint32(end - begin)) & np.uint32(size - 1))
                            count += 1
            bounds[k * B + b + 1] = count
    return count


@kernel
def add_bags(table: Array, rows: Ids, bounds: Ids, out: Array, column: int, begin: int, end: int) -> None:
    """out[k, b, column:] = Σ table[rows] / √n over the n rows of sequence (k, b), for the rows from `begin` to `end`.

    table (size, N), out (K, B, column + N); see `hash_ngrams`.
    """
    K, B, _ = out.shape
    for k in range(K):
        for b in range(begin, end):
            low, high = bounds[k * B + b], bounds[k * B + b + 1]
            total = out[k, b, column:]
            total[:] = 0
            for place in range(low, high):
                row = table[rows[place]]
                for j in range(total.size):
                    total[j] += row[j]
            if high > low:
                scale = out.dtype.type(1 / sqrt(high - low))
                for j in range(total.size):
                    total[j] *= scale


@kernel
def add_bag_gradient(
    dout: Array, rows: Ids, bounds: Ids, column: int, dtable: Array, first: int, last: int
) -> None:  # fmt: skip
    """Add the gradient of `add_bags` to the columns from `first` to `last` of dtable (size, N); dout as out there."""
    K, B, _ = dout.shape
    for k in range(K):
        for b in range(B):
            low, high = bounds[k * B + b], bounds[k * B + b + 1]
            if high > low:
                scale = dout.dtype.type(1 / sqrt(high - low))
                gradient = dout[k, b, column:]
                for place in range(low, high):
                    row = dtable[rows[place]]
                    for j in range(first, last):
                        row[j] += gradient[j] * scale
