"""From the steps of each sequence to one vector: its last step, or the mean, maximum or weighted mean over its steps.

Shapes: x (T, B, N) the steps, out (K, B, N) the vectors, first and last (K, B) the steps of sequence k of row b at
which it begins and ends: `first` > `last` where row b has no sequence k, whose vector is 0. dx and dout are the
gradients of x and out; the backward kernels add to dx, which they first set to 0 if `overwrite`. All handle the rows
from `begin` to `end` only.
"""

from __future__ import annotations

import numpy as np

from charrnn.kernels.functions import exp, tanh
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.compile import inline, kernel


@kernel
def find_sequences(mask: Array, reverse_mask: Array, first: Ids, last: Ids, begin: int, end: int) -> None:
    """first, last (K, B): out. A sequence begins where mask (T, B) is 0 and ends where reverse_mask (T, B) is 0."""
    for b in range(begin, end):
        k, start = 0, -1
        for t in range(mask.shape[0]):
            if mask[t, b] == 0:
                start = t
            if reverse_mask[t, b] == 0 and start >= 0 and k < first.shape[0]:
                first[k, b], last[k, b] = start, t
                k, start = k + 1, -1
        for unused in range(k, first.shape[0]):
            first[unused, b], last[unused, b] = 0, -1


@inline
def start_gradient(dx: Array, overwrite: bool, begin: int, end: int) -> None:
    """dx = 0 if `overwrite`."""
    if overwrite:
        for t in range(dx.shape[0]):
            for b in range(begin, end):
                dx[t, b] = 0


@kernel
def last_forward(x: Array, first: Ids, last: Ids, half: int, out: Array, begin: int, end: int) -> None:
    """Columns before `half` are those of the sequence's last step, the others those of its first step."""
    for k in range(out.shape[0]):
        for b in range(begin, end):
            out[k, b] = 0
            if first[k, b] > last[k, b]:
                continue
            target, final, initial = out[k, b], x[last[k, b], b], x[first[k, b], b]
            for j in range(half):
                target[j] = final[j]
            for j in range(half, target.size):
                target[j] = initial[j]


@kernel
def last_backward(
    dout: Array, first: Ids, last: Ids, half: int, dx: Array, overwrite: bool, begin: int, end: int
) -> None:  # fmt: skip
    """The gradient of `last_forward`."""
    start_gradient(dx, overwrite, begin, end)
    for k in range(dout.shape[0]):
        for b in range(begin, end):
            if first[k, b] > last[k, b]:
                continue
            source, final, initial = dout[k, b], dx[last[k, b], b], dx[first[k, b], b]
            for j in range(half):
                final[j] += source[j]
            for j in range(half, source.size):
                initial[j] += source[j]


@kernel
def mean_forward(x: Array, first: Ids, last: Ids, out: Array, begin: int, end: int) -> None:
    """out = the mean over the steps of a sequence."""
    for k in range(out.shape[0]):
        for b in range(begin, end):
            out[k, b] = 0
            target, length = out[k, b], last[k, b] + 1 - first[k, b]
            for t in range(first[k, b], last[k, b] + 1):
                source = x[t, b]
                for j in range(target.size):
                    target[j] += source[j]
            factor = out.dtype.type(1 / max(length, 1))
            for j in range(target.size):
                target[j] *= factor


@kernel
def mean_backward(dout: Array, first: Ids, last: Ids, dx: Array, overwrite: bool, begin: int, end: int) -> None:
    """The gradient of `mean_forward`."""
    start_gradient(dx, overwrite, begin, end)
    for k in range(dout.shape[0]):
        for b in range(begin, end):
            source, length = dout[k, b], last[k, b] + 1 - first[k, b]
            factor = dout.dtype.type(1 / max(length, 1))
            for t in range(first[k, b], last[k, b] + 1):
                target = dx[t, b]
                for j in range(source.size):
                    target[j] += source[j] * factor


@kernel
def max_forward(x: Array, first: Ids, last: Ids, largest: Ids, out: Array, begin: int, end: int) -> None:
    """out = the maximum over the steps of a sequence, number by number; a NaN counts as the largest of all.

    largest (K, B, N): out, the step that has it, the first of several.
    """
    for k in range(out.shape[0]):
        for b in range(begin, end):
            target, places, start = out[k, b], largest[k, b], first[k, b]
            if start > last[k, b]:
                target[:] = 0
                continue
            for j in range(target.size):
                target[j], places[j] = x[start, b, j], start
            for t in range(start + 1, last[k, b] + 1):
                source = x[t, b]
                for j in range(target.size):
                    if source[j] > target[j] or source[j] != source[j]:
                        target[j], places[j] = source[j], t


@kernel
def max_backward(
    dout: Array, first: Ids, last: Ids, largest: Ids, dx: Array, overwrite: bool, begin: int, end: int
) -> None:  # fmt: skip
    """The gradient of `max_forward`, all of it to the step that has the maximum."""
    start_gradient(dx, overwrite, begin, end)
    for k in range(dout.shape[0]):
        for b in range(begin, end):
            if first[k, b] > last[k, b]:
                continue
            source, places = dout[k, b], largest[k, b]
            for j in range(source.size):
                dx[places[j], b, j] += source[j]


@kernel
def attention_forward(
    x: Array, first: Ids, last: Ids, query: Array, weights: Array, out: Array, begin: int, end: int
) -> None:  # fmt: skip
    """out = Σ α x over the steps of a sequence, where α = softmax(query · tanh(x)); query (N).

    weights (T, B): out, α.
    """
    for k in range(out.shape[0]):
        for b in range(begin, end):
            out[k, b] = 0
            target, steps = out[k, b], range(first[k, b], last[k, b] + 1)
            top = out.dtype.type(-np.inf)
            for t in steps:
                source, score = x[t, b], out.dtype.type(0)
                for j in range(query.size):
                    score += query[j] * tanh(source[j])
                weights[t, b] = score
                top = max(top, score)
            total = 0.0
            for t in steps:
                weights[t, b] = exp(weights[t, b] - top)
                total += weights[t, b]
            for t in steps:
                weight = out.dtype.type(weights[t, b] / total)
                weights[t, b] = weight
                source = x[t, b]
                for j in range(target.size):
                    target[j] += weight * source[j]


@kernel
def attention_backward(
    x: Array, first: Ids, last: Ids, query: Array, weights: Array, out: Array, dout: Array, dquery: Array, dx: Array,
    overwrite: bool, begin: int, end: int,
) -> None:  # fmt: skip
    """The gradient of `attention_forward`, which left `weights` and `out`.

    dquery (T, B, N): out, what each step adds to the gradient of `query`; 0 outside sequences.
    """
    one = out.dtype.type(1)  # an integer 1 would turn float32 into float64
    start_gradient(dx, overwrite, begin, end)
    start_gradient(dquery, True, begin, end)
    for k in range(dout.shape[0]):
        for b in range(begin, end):
            dout_row, out_row = dout[k, b], out[k, b]
            mean = out.dtype.type(0)
            for j in range(query.size):
                mean += dout_row[j] * out_row[j]
            for t in range(first[k, b], last[k, b] + 1):
                source, target, dquery_row, weight = x[t, b], dx[t, b], dquery[t, b], weights[t, b]
                dweight = out.dtype.type(0)
                for j in range(query.size):
                    dweight += dout_row[j] * source[j]
                dscore = weight * (dweight - mean)
                for j in range(query.size):
                    squashed = tanh(source[j])
                    dquery_row[j] = dscore * squashed
                    target[j] += weight * dout_row[j] + dscore * query[j] * (one - squashed * squashed)
