"""Softmax and cross-entropy over the vocabulary, row by row.

p_v = exp(a_v) / Σ exp(a)       loss = -log p_y       dloss / da_v = p_v - [v = y]
"""

from __future__ import annotations

import math

from charrnn.kernels.functions import exp, largest
from charrnn.kernels.matmul import NOTHING, Memory, add_product, memory_of, row_of
from charrnn.kernels.rounding import store_gemm_input
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.compile import inline, kernel


@inline
def exponentials(row: Array, top: float) -> float:
    """Replace logits by exp(logit - the largest, `top`); the sum of them, in float64."""
    total = 0.0
    for v in range(row.size):
        e = exp(row[v] - top)
        row[v] = e
        total += e
    return total


@kernel
def cross_entropy(
    logits: Array, targets: Ids, scales: Array, log_probs: Array, dlogits: Array, begin: int, end: int
) -> None:  # fmt: skip
    """logits (T, B, V): in, logits; out, the gradient of Σ scales loss. targets (T, B), scales (T, B) float64.

    log_probs (T, B) float64: log p of the targets. dlogits (T, B, V or one more): the gradient as products read it,
    rounded or `logits` itself. Only the rows from `begin` to `end`.
    """
    for t in range(logits.shape[0]):
        for b in range(begin, end):
            row = logits[t, b]
            y = targets[t, b]
            top = largest(row)
            target_logit = row[y] - top
            total = exponentials(row, top)
            log_probs[t, b] = target_logit - math.log(total)
            scale = scales[t, b]
            factor = logits.dtype.type(scale / total)
            for v in range(row.size):
                row[v] *= factor
            row[y] -= logits.dtype.type(scale)
            store_gemm_input(row, dlogits[t, b])


@inline
def compute_logits(x: Array, weight: Array, bias: Array, logits: Array, prefetch: Memory) -> None:
    """logits (R, V) = x W + b: x (R, H) as gemm input, weight: packed W, bias (V). `prefetch`: see `add_product`."""
    add_product(x, 0, weight, row_of(bias), logits, 0, bias.size, prefetch)


@kernel
def target_log_probs(
    x: Array, weight: Array, bias: Array, targets: Ids, logits: Array, log_probs: Array, begin: int, end: int
) -> None:  # fmt: skip
    """log_probs (T, B) float64 = log p of targets (T, B) under the logits x W + b, for the rows from `begin` to `end`.

    x (T, B, H) as gemm input, weight: packed W, bias (V). logits (R, V): scratch for R rows of a step, which stays in
    the cache.
    """
    T, _ = targets.shape
    R = logits.shape[0]
    for t in range(T):
        for first in range(begin, end, R):
            count = min(R, end - first)
            prefetch = memory_of(x, t + 1, first, first + count)
            compute_logits(x[t, first : first + count], weight, bias, logits[:count], prefetch)
            for r in range(count):
                row, b = logits[r], first + r
                top = largest(row)
                target_logit = row[targets[t, b]] - top
                log_probs[t, b] = target_logit - math.log(exponentials(row, top))


@kernel
def log_softmax(logits: Array, begin: int, end: int) -> None:
    """Logits (T, B, V) to log-probabilities, in place, for the rows from `begin` to `end`."""
    for t in range(logits.shape[0]):
        for b in range(begin, end):
            row = logits[t, b]
            top = largest(row)
            total = 0.0
            for v in range(row.size):
                total += exp(row[v] - top)
            normaliser = logits.dtype.type(top + math.log(total))
            for v in range(row.size):
                row[v] -= normaliser


@kernel
def next_log_probs(
    x: Array, weight: Array, bias: Array, rows: Ids, targets: Ids, logits: Array, log_probs: Array, first: int,
    begin: int, end: int,
) -> None:  # fmt: skip
    """log_probs[n] float64 = log p of targets[n] under the logits x[rows[n]] W + b, for the rows from `begin` to `end`.

    x (B, H), weight, bias and logits (R, V) as in `target_log_probs`, whose bits these are. rows (N) ascend, each
    appears at least once, and `first` is where `begin` does.
    """
    R = logits.shape[0]
    n = first
    for top in range(begin, end, R):
        count = min(R, end - top)
        compute_logits(x[top : top + count], weight, bias, logits[:count], NOTHING)
        for r in range(count):
            row = logits[r]
            highest, asked_from = largest(row), n
            while n < rows.size and rows[n] == top + r:
                log_probs[n] = row[targets[n]] - highest
                n += 1
            total = math.log(exponentials(row, highest))
            for asked in range(asked_from, n):
                log_probs[asked] -= total
