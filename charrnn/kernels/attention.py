"""Attention of each step of a sequence over the units of its source, by dot products.

    α = softmax(h · m_i)      context = Σ α_i m_i      h: the state of a step, m_i: the encoding of source unit i

Luong, Pham and Manning 2015, "Effective approaches to attention-based neural machine translation",
doi:10.18653/v1/D15-1166.

Sequences lie in the rows of a window (T, B), their sources in one of their own with `step` rows, flat in memory
(places, H): unit i of source s is at places[s] + i step, for lengths[s] units. mask and reverse_mask (T, B) are 0 where
a sequence begins and where it ends; first (B) is the number of the first sequence of a row. Each source belongs to one
sequence, so that kernels which take the rows from `begin` to `end` write to no place twice.
"""

from __future__ import annotations

from typing import Any

from charrnn.kernels.functions import largest
from charrnn.kernels.softmax import exponentials
from charrnn.runtime.arrays import Array
from charrnn.runtime.compile import inline, kernel


@inline
def dot(x: Array, y: Array) -> Any:
    """x · y of two rows (H)."""
    total = x.dtype.type(0)
    for j in range(x.size):
        total += x[j] * y[j]
    return total


@inline
def attend(query: Array, memory: Array, place: int, step: int, weights: Array) -> None:
    """weights (units) = softmax(query · memory[place + i step]) over the units i; query (H)."""
    for i in range(weights.size):
        weights[i] = dot(query, memory[place + i * step])
    normalise(weights)


@inline
def normalise(weights: Array) -> None:
    """weights = softmax(weights), in place."""
    factor = weights.dtype.type(1 / exponentials(weights, largest(weights)))
    for i in range(weights.size):
        weights[i] *= factor


@inline
def add_context(weights: Array, memory: Array, place: int, step: int, context: Array) -> None:
    """context (H) += Σ weights[i] memory[place + i step]."""
    for i in range(weights.size):
        weight, source = weights[i], memory[place + i * step]
        for j in range(context.size):
            context[j] += weight * source[j]


@kernel
def attention_forward(
    h: Array, memory: Array, first: Any, places: Any, lengths: Any, step: int, mask: Array, reverse_mask: Array,
    weights: Array, out: Array, begin: int, end: int,
) -> None:  # fmt: skip
    """out (T, B, 2H) = context and h side by side; h (T, B, H). Outside of sequences the context is 0.

    weights (B, longest source): scratch.
    """
    T, _, H = h.shape
    for b in range(begin, end):
        s, inside = first[b] - 1, False
        for t in range(T):
            query, context, beside = h[t, b], out[t, b, :H], out[t, b, H:]
            for j in range(H):
                context[j], beside[j] = 0, query[j]
            if mask[t, b] == 0:
                s, inside = s + 1, True
            if inside:
                part = weights[b, : lengths[s]]
                attend(query, memory, places[s], step, part)
                add_context(part, memory, places[s], step, context)
            if reverse_mask[t, b] == 0:
                inside = False


@kernel
def attention_backward(
    h: Array, memory: Array, first: Any, places: Any, lengths: Any, step: int, mask: Array, reverse_mask: Array,
    weights: Array, dweights: Array, dout: Array, dh: Array, overwrite: bool, dmemory: Array, begin: int, end: int,
) -> None:  # fmt: skip
    """The gradient of `attention_forward`: added to dmemory (places, H) and, unless `overwrite`, to dh (T, B, H).

    dout (T, B, 2H). weights, dweights (B, longest source): scratch; the weights are computed again, not stored.
    """
    T, _, H = h.shape
    for b in range(begin, end):
        s, inside = first[b] - 1, False
        for t in range(T):
            query, dquery, dcontext, beside = h[t, b], dh[t, b], dout[t, b, :H], dout[t, b, H:]
            if overwrite:
                for j in range(H):
                    dquery[j] = beside[j]
            else:
                for j in range(H):
                    dquery[j] += beside[j]
            if mask[t, b] == 0:
                s, inside = s + 1, True
            if inside:
                part, dpart, place = weights[b, : lengths[s]], dweights[b, : lengths[s]], places[s]
                attend(query, memory, place, step, part)
                mean = part.dtype.type(0)
                for i in range(part.size):
                    dpart[i] = dot(dcontext, memory[place + i * step])
                    mean += part[i] * dpart[i]
                for i in range(part.size):
                    weight, dscore = part[i], part[i] * (dpart[i] - mean)
                    source, dsource = memory[place + i * step], dmemory[place + i * step]
                    for j in range(H):
                        dquery[j] += dscore * source[j]
                    for j in range(H):
                        dsource[j] += weight * dcontext[j] + dscore * query[j]
            if reverse_mask[t, b] == 0:
                inside = False


@kernel
def attention_weights(
    h: Array, memory: Array, first: Any, places: Any, lengths: Any, step: int, mask: Array, reverse_mask: Array,
    starts: Any, out: Array, begin: int, end: int,
) -> None:  # fmt: skip
    """The weights α of each step of sequence s: one for each of the lengths[s] units of its source, one step after the
    other, in out from starts[s] on; h (T, B, H)."""
    for b in range(begin, end):
        s, inside, place = first[b] - 1, False, 0
        for t in range(len(h)):
            if mask[t, b] == 0:
                s, inside = s + 1, True
                place = starts[s]
            if inside:
                attend(h[t, b], memory, places[s], step, out[place : place + lengths[s]])
                place += lengths[s]
            if reverse_mask[t, b] == 0:
                inside = False
