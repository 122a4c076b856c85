"""Writing the target of each source: beam search, of which greedy search is the narrowest, and sampling.

Sources wait in a queue. Up to so many of them at once are open, each with at most `beam` hypotheses, one a row: all
rows take a step together, then each source chooses which hypotheses go on, and the rows of those lie side by side
again. A source that is done makes room for the next. No source reads what belongs to another.

A step extends each open hypothesis by every unit. Of all extensions of a source, best first, those by the unit that
ends a target are done if they are among the best `beam`, and the best `beam` others stay open. The search ends when no
open hypothesis is better than the worst of the `best` that are done: a longer one never is. Nothing is normalised by
length.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from charrnn.kernels.attention import add_context, dot, normalise
from charrnn.kernels.draw import UNKNOWN, draw
from charrnn.kernels.functions import exp, largest, tanh
from charrnn.kernels.generate import GRU, LSTM, RNN, Network, run_layers
from charrnn.kernels.matmul import NOTHING, OWN, add_product
from charrnn.kernels.rounding import store_gemm_input
from charrnn.kernels.softmax import compute_logits
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.compile import kernel

END = 1  # the unit that ends a target
UNITS_AT_ONCE = 64  # of a source: their encodings stay in the cache for all hypotheses


class Sources(NamedTuple):
    """What is read of S sources: the encoder's outputs m, see `kernels/attention.py`, and the decoder's first input.

    Before its tanh the layer over the context and h is linear in the context, whose part is Σ α_i (m_i W): the sum of
    rows of `projected`.
    """

    memory: Array  # (places, H)
    projected: Array  # (places, H): m W, of the rows of the layer's weight that the context meets
    step: int
    places: Any  # (S) int64
    lengths: Any  # (S) int64
    first: Array  # the first input of each: (1, S, E), rows of the table if the network has no embedding
    first_gemm: Array


class AttentionArrays(NamedTuple):
    """The layer over the context and h, and the arrays of R rows."""

    panels: Array  # packed, the rows of W that h meets; none: the softmax reads h
    bias: Array  # (H)
    weights: Array  # (queues, beam, longest source): scratch, the attention weights
    hidden: Array  # (1, R, H)
    hidden_gemm: Array


class Search(NamedTuple):
    """The hypotheses. Step t of source s adds up to `beam` of them, from place starts[s] + t beam of the history on."""

    beam: int
    unknown: bool  # whether the unit for all unknown ones may be chosen
    limits: Any  # (S) int64: most units of a target
    starts: Any  # (S + 1) int64
    units: Ids  # (history)
    parents: Ids  # (history): which of the hypotheses of the step before it extends
    done: Array  # (S, best) float64: the log-probabilities of those done, falling; -inf: none
    done_at: Ids  # (S, best, 2): units, and which of the hypotheses of that length
    cut: Array  # (S, beam) float64: those still open at the limit
    totals: Array  # (2, R) float64: log-probabilities of the open ones; of each step, of the next
    scores: Array  # (R, beam + 1) float64: the best extensions of each, falling
    choices: Ids  # (R, beam + 1): their units
    cursors: Ids  # (queues, beam): of each open hypothesis, its next extension to be considered
    slots: Ids  # (queues, sources at once, 3): source, units so far, open hypotheses


class Sampling(NamedTuple):
    """How units are drawn, see `kernels/draw.py`."""

    uniforms: Array  # (S, steps) float64; no steps: nothing is drawn, the best are searched for
    temperature: float
    top_k: int
    top_p: float


@kernel
def set_row(source: Array, target: Array, gemm: Array) -> None:
    """target = source (E), and its gemm input."""
    for j in range(target.size):
        target[j] = source[j]
    store_gemm_input(target, gemm)


@kernel
def copy_state(states: Array, parent: int, row: int) -> None:
    """The state before the next step of a row is that after this step of `parent`; -1: zero. states (L, 2, R, H)."""
    zero = states.dtype.type(0)
    for layer in range(len(states)):
        before, after = states[layer, 0, row], states[layer, 1, max(parent, 0)]
        for j in range(before.size):
            before[j] = after[j] if parent >= 0 else zero


@kernel
def attend(
    h: Array, sources: Sources, place: int, units: int, weights: Array, bias: Array, hidden: Array
) -> None:  # fmt: skip
    """hidden (N, H) = bias + what the context adds to the layer over it and h (N, H), of N hypotheses of one source.

    As `attention.attention_forward`, but each unit of a long source is read from memory once for all of them.
    weights (N or more, `units` or more): scratch, the attention weights.
    """
    memory, projected, step = sources.memory, sources.projected, sources.step
    N, H = h.shape
    for start in range(0, units, UNITS_AT_ONCE):
        for n in range(N):
            for i in range(start, min(start + UNITS_AT_ONCE, units)):
                weights[n, i] = dot(h[n], memory[place + i * step])
    for n in range(N):
        normalise(weights[n, :units])
        for j in range(H):
            hidden[n, j] = bias[j]
    for start in range(0, units, UNITS_AT_ONCE):
        for n in range(N):
            part = weights[n, start : min(start + UNITS_AT_ONCE, units)]
            add_context(part, projected, place + start * step, step, hidden[n])


@kernel
def run_layer(h: Array, attention: AttentionArrays, begin: int, end: int) -> None:
    """hidden = tanh(hidden + h W) for the rows from `begin` to `end`; h (R, H) as gemm input."""
    hidden, H = attention.hidden[0], attention.bias.size
    add_product(h[begin:end], 0, attention.panels, OWN, hidden[begin:end], 0, H, NOTHING)
    for row in range(begin, end):
        for j in range(H):
            hidden[row, j] = tanh(hidden[row, j])
        store_gemm_input(hidden[row], attention.hidden_gemm[0, row])


@kernel
def extend(logits: Array, total: float, unknown: bool, scores: Array, choices: Ids) -> None:
    """The best extensions of a hypothesis of log-probability `total`, falling, of equal ones the lower unit first."""
    V, count = logits.size, scores.size
    top, added = largest(logits), 0.0
    for v in range(V):
        added += exp(logits[v] - top)
    for k in range(count):
        scores[k] = -np.inf
    for v in range(V):
        value = logits[v]
        if value > scores[count - 1] and (unknown or v != UNKNOWN):
            k = count - 1
            while k > 0 and value > scores[k - 1]:
                scores[k], choices[k] = scores[k - 1], choices[k - 1]
                k -= 1
            scores[k], choices[k] = value, v
    normaliser = math.log(added)
    for k in range(count):
        scores[k] = total + ((scores[k] - top) - normaliser)


@kernel
def choose(search: Search, row: int, source: int, steps: int, opened: int, cursors: Ids, out: int) -> int:
    """From the extensions of the rows `row` to `row + opened` of a source with so many steps, those that go on.

    Their units and parents go into the history, their log-probabilities into totals[1] from `out` on. Returns how many.
    """
    scores, beam, best = search.scores, search.beam, search.done.shape[1]
    history = search.starts[source] + steps * beam
    for j in range(opened):
        cursors[j] = 0
    found = 0
    for rank in range(opened * (beam + 1)):
        top, which = -np.inf, -1
        for j in range(opened):
            if cursors[j] <= beam and scores[row + j, cursors[j]] > top:
                top, which = scores[row + j, cursors[j]], j
        if which < 0 or not top > search.done[source, best - 1]:
            break
        unit = search.choices[row + which, cursors[which]]
        cursors[which] += 1
        if unit == END:
            if rank < beam:
                finish(search.done[source], search.done_at[source], top, steps, which)
        elif steps < search.limits[source]:
            search.units[history + found], search.parents[history + found] = unit, which
            search.totals[1, out + found] = top
            found += 1
            if found == beam:
                break
    if steps >= search.limits[source]:
        for j in range(opened):
            search.cut[source, j] = search.totals[0, row + j]
    return found


@kernel
def finish(done: Array, done_at: Ids, score: float, steps: int, which: int) -> None:
    """Put a hypothesis in its place among those that are done; the last of them is dropped."""
    k = done.size - 1
    while k > 0 and score > done[k - 1]:
        done[k], done_at[k, 0], done_at[k, 1] = done[k - 1], done_at[k - 1, 0], done_at[k - 1, 1]
        k -= 1
    done[k], done_at[k, 0], done_at[k, 1] = score, steps, which


@kernel
def decode(
    net: Network, lstm: LSTM | None, gru: GRU | None, rnn: RNN | None, sources: Sources, attention: AttentionArrays,
    search: Search, sampling: Sampling, queue: int,
) -> None:  # fmt: skip
    """All sources of a queue: `queue` itself, and every so many-th after it as there are queues.

    All but one of lstm, gru and rnn are None. The rows of the queue are a part of their own of all R.
    """
    queues, most, _ = search.slots.shape
    slots, cursors, beam = search.slots[queue], search.cursors[queue], search.beam
    base = queue * most * beam
    block = net.logits.shape[1] // queues  # rows whose logits are computed at once
    embedded, units = len(net.embedding) > 0, len(net.output_bias)
    drawn = sampling.uniforms.shape[1] > 0
    waiting, active, rows = queue, 0, 0
    while True:
        while active < most and waiting < len(sources.lengths):
            slots[active, 0], slots[active, 1], slots[active, 2] = waiting, 0, 1
            row, parent = base + rows, -1
            copy_state(net.h, parent, row)
            if lstm is not None:
                copy_state(lstm.c, parent, row)
            if embedded:
                set_row(sources.first[0, waiting], net.rows[0, row], net.rows_gemm[0, row])
            else:
                net.local[0, row] = units + waiting
            search.totals[0, row] = 0
            active, rows, waiting = active + 1, rows + 1, waiting + queues
        if not active:
            return
        run_layers(net, lstm, gru, rnn, base, base + rows)
        x = net.h_gemm[len(net.h) - 1, 1]
        if len(attention.panels):
            row = base
            for slot in range(active):
                source = slots[slot, 0]
                stop = row + slots[slot, 2]
                attend(
                    net.h[len(net.h) - 1, 1, row:stop], sources, sources.places[source], sources.lengths[source],
                    attention.weights[queue], attention.bias, attention.hidden[0, row:stop],
                )  # fmt: skip
                row = stop
            run_layer(x, attention, base, base + rows)
            x = attention.hidden_gemm[0]
        slot, left = 0, slots[0, 2]  # of the row at hand: its slot, and how many rows of that remain
        for start in range(base, base + rows, block):
            stop = min(start + block, base + rows)
            logits = net.logits[0, queue * block : queue * block + stop - start]
            compute_logits(x[start:stop], net.output, net.output_bias, logits, NOTHING)
            for row in range(start, stop):
                if left == 0:
                    slot += 1
                    left = slots[slot, 2]
                left -= 1
                if drawn:
                    source, step = slots[slot, 0], slots[slot, 1]
                    uniform = sampling.uniforms[source, step]
                    unit = draw(logits[row - start], uniform, sampling.temperature, sampling.top_k, sampling.top_p)
                    search.scores[row, 0], search.scores[row, 1], search.choices[row, 0] = 0, -np.inf, unit
                else:
                    extend(
                        logits[row - start], search.totals[0, row], search.unknown, search.scores[row],
                        search.choices[row],
                    )  # fmt: skip
        kept, row, out = 0, base, base
        for slot in range(active):
            source, step, opened = slots[slot, 0], slots[slot, 1], slots[slot, 2]
            found = choose(search, row, source, step, opened, cursors, out)
            history = search.starts[source] + step * beam
            for j in range(found):
                parent = row + search.parents[history + j]
                copy_state(net.h, parent, out + j)
                if lstm is not None:
                    copy_state(lstm.c, parent, out + j)
                unit = search.units[history + j]
                if embedded:
                    set_row(net.embedding[unit], net.rows[0, out + j], net.rows_gemm[0, out + j])
                else:
                    net.local[0, out + j] = unit
            if found:
                slots[kept, 0], slots[kept, 1], slots[kept, 2] = source, step + 1, found
                kept += 1
            row, out = row + opened, out + found
        active, rows = kept, out - base
        for row in range(base, base + rows):
            search.totals[0, row] = search.totals[1, row]
