"""Bags of hashed n-grams: which rows of a table the n-grams of a sequence have, and a regression on them.

    logits = bias + Σ table[row] / √n     over the n n-grams of a sequence

Joulin et al. 2017, "Bag of tricks for efficient text classification", arXiv:1607.01759; the hashing trick: Weinberger
et al. 2009, "Feature hashing for large scale multitask learning", doi:10.1145/1553374.1553516.
"""

from __future__ import annotations

from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from charrnn.kernels.dropout import mix
from charrnn.kernels.functions import exp
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.compile import inline, kernel

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


@inline
def fill_logits(rows: Ids, low: int, high: int, table: Array, bias: Array, out: Array) -> None:
    """out (L) = bias + Σ table[rows[low:high]] / √(high - low); table (size, L)."""
    out[:] = 0
    for place in range(low, high):
        row = table[rows[place]]
        for j in range(out.size):
            out[j] += row[j]
    scale = out.dtype.type(1 / sqrt(max(high - low, 1)))
    for j in range(out.size):
        out[j] = out[j] * scale + bias[j]


@kernel
def bag_logits(
    sequences: NDArray[np.int64], rows: Ids, bounds: Ids, table: Array, bias: Array, out: Array
) -> None:  # fmt: skip
    """out[n] = the logits (N, L) of the sequence with the number sequences[n] (N); rows and bounds: `hash_ngrams`."""
    for n in range(sequences.size):
        fill_logits(rows, bounds[sequences[n]], bounds[sequences[n] + 1], table, bias, out[n])


@kernel
def fit_bags(
    sequences: NDArray[np.int64], rows: Ids, bounds: Ids, labels: Ids, rate: float,
    table: Array, bias: Array, squares: Array, bias_squares: Array, logits: Array,
) -> None:  # fmt: skip
    """One step of AdaGrad on the softmax loss of each sequence of `sequences`, one after the other.

    table, squares (size, L), bias, bias_squares (L): weights and sums of squared gradients; labels: of all sequences.
    logits (L): scratch. Duchi, Hazan and Singer 2011, "Adaptive subgradient methods for online learning and stochastic
    optimization".
    """
    step, tiny = table.dtype.type(rate), table.dtype.type(1e-8)
    for n in sequences:
        low, high = bounds[n], bounds[n + 1]
        fill_logits(rows, low, high, table, bias, logits)
        top = logits[0]
        for j in range(1, logits.size):
            top = max(top, logits[j])
        total = table.dtype.type(0)
        for j in range(logits.size):
            logits[j] = exp(logits[j] - top)
            total += logits[j]
        for j in range(logits.size):
            logits[j] /= total
        logits[labels[n]] -= 1
        scale = table.dtype.type(1 / sqrt(max(high - low, 1)))
        for place in range(low, high):
            row, sums = table[rows[place]], squares[rows[place]]
            for j in range(logits.size):
                gradient = logits[j] * scale
                sums[j] += gradient * gradient
                row[j] -= step * gradient / np.sqrt(sums[j] + tiny)
        for j in range(logits.size):
            bias_squares[j] += logits[j] * logits[j]
            bias[j] -= step * logits[j] / np.sqrt(bias_squares[j] + tiny)


@kernel
def summed_log_loss(logits: Array, labels: Ids) -> float:
    """-Σ log softmax(logits[n])[labels[n]], in nats; logits (N, L), labels (N)."""
    total = 0.0
    for n in range(labels.size):
        row = logits[n]
        top = row[0]
        for j in range(1, row.size):
            top = max(top, row[j])
        mass = 0.0
        for j in range(row.size):
            mass += exp(row[j] - top)
        total += log(mass) + top - row[labels[n]]
    return total
