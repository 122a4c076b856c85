"""A memory of a text: what followed each of its contexts, counted, and mixed bit by bit with a network's prediction.

Each unit is a path of bits, from the root of a Huffman tree of the units (`text/huffman.py`) to a leaf. At each node of
the path every expert says how probable a 1 is, as a logit: the counts that each context (the last n units, the words
so far, the line above) has gathered at this node, the longest matches of what was read in the text, and the network.
Mixers add up the logits, with weights that are chosen by the node, the match, or the unit before, and secondary
estimation corrects the sum by what came of such sums before:

    s = Σ_m v_m (w_m · x)        p(1) = σ(s) / 2 + a(s) / 4 + b(s) / 4

Whatever the weights, the probabilities of all units add up to 1. A step of learning follows the gradient of the log
loss of one bit, for w_m half by its own sum and half by s: Mahoney 2005, "Adaptive weighing of context models for
lossless data compression"; Knoll and de Freitas 2012, "A machine learning perspective on predictive coding with PAQ8",
doi:10.1109/DCC.2012.44. Maps from counts to probabilities and secondary estimation: Mahoney 2013, "Data compression
explained".

C contexts, M matches, X inputs of the mixers, V units, D bits of the longest path.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from charrnn.kernels.contexts import (
    CONTEXTS,
    GOLDEN,
    LEVELS,
    MATCHES,
    ODD,
    ORDERS,
    PRIME,
    Code,
    Counts,
    added,
    find_matches,
    hash_contexts,
    note,
    predicted,
    recent,
)
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.compile import exact, inline

A_CONTEXT = 2  # inputs of each context; a match has one
NETWORK = A_CONTEXT * CONTEXTS + len(MATCHES)  # the place of the network's logit among the inputs
BIAS = NETWORK + 1
LANES = 16
INPUTS = (BIAS // LANES + 1) * LANES
MIXERS = 4  # by node; by match and order; by the unit before; by the one that the longest match predicts
ROWS = LEVELS * (len(ORDERS) + 1)  # of the second one
LOGITS = 32  # intervals of secondary estimation

_MOST = np.float32(12)  # of a logit
_CHECK, _COUNTS, _PROBABILITY = np.uint32(0xFF000000), np.uint32(0xFF), np.uint32(0xFFFF)
UNSEEN = np.uint32(1 << 15)  # a slot that has counted nothing
_WHOLE = np.float32(65535)
_MAP_RATE, _MATCH_RATE, _ESTIMATE_RATE = np.float32(0.006), np.float32(0.005), np.float32(0.02)
_FINAL_RATE = np.float32(0.1)  # of the second layer of mixers, times the rate of the first
_1, _HALF = np.float32(1), np.float32(0.5)


class Weights(NamedTuple):
    """What is learned: maps from counts and from lengths of matches to probabilities, mixers, secondary estimation."""

    maps: Array  # (C, 256)
    matches: Array  # (M, LEVELS)
    mixers: Array  # (MIXERS, rows, X)
    final: Array  # (V, MIXERS)
    estimates: Array  # (2, R, LOGITS + 1), R a power of two


class Scratch(NamedTuple):
    """What is computed at a unit, and at a node."""

    hashes: Any  # (C) uint64
    inputs: Array  # (X)
    slots: Any  # (C) int64: the slot of each context
    counts: Any  # (C) int64: its two counts
    units: Any  # (M) int64: the unit that each match predicts; -1: none
    levels: Any  # (M) int64
    bits: Any  # (M) int64: the bit that it predicts; -1: none
    rows: Any  # (MIXERS) int64
    lanes: Array  # (LANES)
    sums: Array  # (MIXERS + 2): of the mixers; the probability, and the place within the interval
    found: Any  # (3) int64: rows of secondary estimation, and the interval


def _tables() -> tuple[Any, Any, Any]:
    """Of two counts: those after a 0 and a 1 (256, 2), and how fast the probability follows (256); logits of 4096
    probabilities. A count grows to 15, and what speaks against it shrinks: what came last says more."""
    after, rates = np.zeros((256, 2), np.uint8), np.zeros(256, np.float32)
    for counts in range(256):
        pair = counts >> 4, counts & 15
        rates[counts] = 1 / (sum(pair) + 1.5)
        for bit in range(2):
            more, less = min(15, pair[bit] + 1), pair[1 - bit]
            if less > 2:
                less = (less + 3) // 2 if less < 6 else less // 2 + 1
            after[counts, bit] = (less << 4) | more if bit else (more << 4) | less
    p = (np.arange(4096) + 0.5) / 4096
    return after, rates, np.log(p / (1 - p)).astype(np.float32)


_AFTER, _RATES, _LOGITS = _tables()


@inline
def logit(p: Any) -> Any:
    """The logit of a probability in [0, 1), from a table."""
    return _LOGITS[np.int64(p * np.float32(4095.99))]


@inline
def bounded(x: Any) -> Any:
    """A logit within ±12."""
    return min(max(x, -_MOST), _MOST)


@exact
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) in float32."""
    return _1 / (_1 + np.float32(math.exp(-x)))


@exact
def dot(x: Array, row: Array, lanes: Array) -> Any:
    """The product of x and row (X), summed in `LANES` sums side by side, which one instruction adds to."""
    lanes[:] = 0
    for j in range(0, INPUTS, LANES):
        for lane in range(LANES):
            lanes[lane] += x[j + lane] * row[j + lane]
    total = np.float32(0)
    for lane in range(LANES):
        total += lanes[lane]
    return total


@exact
def gather(code: Code, counts: Counts, maps: Array, node: int, scratch: Scratch, claim: bool) -> int:
    """The inputs of all contexts at a node. `claim`: a slot that is found taken by another context is taken from it.

    Returns the highest order that was seen before, counted from 1; 0 for none.
    """
    x, slots, size, highest = scratch.inputs, counts.slots, np.uint64(counts.slots.shape[1]), 0
    for c in range(CONTEXTS):
        key = (scratch.hashes[c] + np.uint64(node + 1) * GOLDEN) * ODD
        key ^= key >> np.uint64(32)
        place = np.int64((key >> np.uint64(32)) * size >> np.uint64(32))
        check = np.uint32(key) & _CHECK
        slot = slots[c, place]
        if slot & _CHECK != check:
            other = slots[c, place ^ 1]
            if other & _CHECK == check:
                place, slot = place ^ 1, other
            else:
                one, two = (slot >> np.uint32(16)) & _COUNTS, (other >> np.uint32(16)) & _COUNTS
                if (one >> np.uint32(4)) + (one & np.uint32(15)) > (two >> np.uint32(4)) + (two & np.uint32(15)):
                    place ^= 1
                slot = check | UNSEEN
                if claim:
                    slots[c, place] = slot
        seen = np.int64((slot >> np.uint32(16)) & _COUNTS)
        scratch.slots[c], scratch.counts[c] = place, seen
        if seen:
            p = maps[c, seen]
            x[A_CONTEXT * c] = logit(p)
            x[A_CONTEXT * c + 1] = _LOGITS[np.int64(slot & _PROBABILITY) >> 4]
            if c < len(ORDERS):
                highest = c + 1
        else:
            for j in range(A_CONTEXT):
                x[A_CONTEXT * c + j] = 0
    return highest


@exact
def predict(
    code: Code, counts: Counts, weights: Weights, state: Any, node: Any, network: float, scratch: Scratch, claim: Any
) -> float:  # fmt: skip
    """The probability of a 1 at a node, given the network's logit; `hash_contexts` and `find_matches` come before."""
    x, depth = scratch.inputs, code.depths[node]
    order, longest = gather(code, counts, weights.maps, node, scratch, claim), 0
    for m in range(len(MATCHES)):
        unit, at, bit = scratch.units[m], A_CONTEXT * CONTEXTS + m, np.int64(-1)
        x[at] = 0
        if unit >= 0 and depth < code.lengths[unit] and code.nodes[unit, depth] == node:
            bit, level = np.int64(code.bits[unit, depth]), scratch.levels[m]
            p = weights.matches[m, level]
            x[at] = logit(p) if bit else -logit(p)
            longest = max(longest, level)
        scratch.bits[m] = bit
    x[NETWORK], x[BIAS] = network, np.float32(0.4)
    before = max(recent(state, 1), 0)
    rows, sums = scratch.rows, scratch.sums
    rows[0], rows[1], rows[2] = node, longest * (len(ORDERS) + 1) + order, before
    rows[3] = predicted(scratch.units, code.lengths.size)
    total = np.float32(0)
    for n in range(MIXERS):
        sums[n] = bounded(dot(x, weights.mixers[n, rows[n]], scratch.lanes))
        total += weights.final[node, n] * sums[n]
    total = bounded(total)
    place = min((total + np.float32(8)) * np.float32(2), np.float32(LOGITS - 0.01))
    place = max(place, np.float32(0))
    low = np.int64(place)
    share = place - np.float32(low)
    key = added(added(PRIME, node), before)
    found, mask = scratch.found, np.uint64(weights.estimates.shape[1] - 1)
    found[0] = np.int64(key & mask)
    found[1] = np.int64(added(key, recent(state, 2)) >> np.uint64(20) & mask)
    found[2] = low
    p = sigmoid(total)
    result = p * np.float32(2)
    for n in range(2):
        row = weights.estimates[n, np.int64(found[n])]
        result += row[low] * (_1 - share) + row[low + 1] * share
    scratch.sums[MIXERS], scratch.sums[MIXERS + 1] = p, share
    probability: float = min(max(result * np.float32(0.25), np.float32(1e-5)), np.float32(1 - 1e-5))
    return probability


@exact
def learn_weights(weights: Weights, scratch: Scratch, node: Any, bit: Any, rate: float) -> None:
    """One step of all that is learned, after `predict` and the bit that came."""
    x, y = scratch.inputs, np.float32(bit)
    p, share = scratch.sums[MIXERS], scratch.sums[MIXERS + 1]
    for n in range(MIXERS):
        error, row = _HALF * (y - sigmoid(scratch.sums[n])) + _HALF * (y - p), weights.mixers[n, scratch.rows[n]]
        step = np.float32(rate) * error
        for j in range(INPUTS):
            row[j] += step * x[j]
        weights.final[node, n] += (y - p) * np.float32(rate) * _FINAL_RATE * scratch.sums[n]
    low = np.int64(scratch.found[2])
    for n in range(2):
        row = weights.estimates[n, np.int64(scratch.found[n])]
        row[low] += (y - row[low]) * _ESTIMATE_RATE * (_1 - share)
        row[low + 1] += (y - row[low + 1]) * _ESTIMATE_RATE * share
    for m in range(len(MATCHES)):
        if scratch.bits[m] >= 0:
            p, hit = weights.matches[m, scratch.levels[m]], np.float32(scratch.bits[m] == bit)
            weights.matches[m, scratch.levels[m]] = p + (hit - p) * _MATCH_RATE
    for c in range(CONTEXTS):
        if scratch.counts[c]:
            p = weights.maps[c, scratch.counts[c]]
            weights.maps[c, scratch.counts[c]] = p + (y - p) * _MAP_RATE


@exact
def count_bit(slots: Any, scratch: Scratch, bit: Any) -> None:
    """Count a bit in the slots that `gather` found."""
    for c in range(CONTEXTS):
        place, seen = scratch.slots[c], scratch.counts[c]
        slot = slots[c, place]
        p = np.float32(slot & _PROBABILITY)
        p += (_WHOLE * np.float32(bit) - p) * _RATES[seen]
        slots[c, place] = (slot & _CHECK) | (np.uint32(_AFTER[seen, bit]) << np.uint32(16)) | np.uint32(p)


@exact
def read(
    code: Code, counts: Counts, weights: Weights, state: Any, ids: Ids, network: Array, scratch: Scratch, here: Any,
    rate: float, log_probs: Any,
) -> None:  # fmt: skip
    """log_probs (N) float64, in nats, of ids (N), each after those before it; the state is that after the last.

    network (N, D): the network's logits at the nodes of each path. `here` >= 0: ids are counted, and are in the text
    from there on. `rate` > 0: that of learning the weights.
    """
    for i in range(ids.size):
        unit = np.int64(ids[i])
        find_matches(counts, state, here + i if here >= 0 else -1, scratch.units, scratch.levels)
        hash_contexts(state, predicted(scratch.units, code.lengths.size), scratch.hashes)
        total = 0.0
        for depth in range(code.lengths[unit]):
            node, bit = np.int64(code.nodes[unit, depth]), np.int64(code.bits[unit, depth])
            p = predict(code, counts, weights, state, node, network[i, depth], scratch, here >= 0)
            total += math.log(p if bit else _1 - p)
            if rate > 0:
                learn_weights(weights, scratch, node, bit, rate)
            if here >= 0:
                count_bit(counts.slots, scratch, bit)
        log_probs[i] = total
        note(code, counts.text, state, unit)


@exact
def read_lines(
    code: Code, counts: Counts, weights: Weights, start: Any, ids: Ids, bounds: Any, network: Array, scratch: Scratch,
    state: Any, log_probs: Any, begin: int, end: int,
) -> None:  # fmt: skip
    """`read` for the lines from `begin` to `end`, each from the state `start`: those of ids between `bounds`. Nothing
    is learned."""
    for line in range(begin, end):
        some = slice(bounds[line], bounds[line + 1])
        for j in range(state.size):
            state[j] = start[j]
        read(code, counts, weights, state, ids[some], network[some], scratch, np.int64(-1), 0.0, log_probs[some])


@exact
def spread(
    code: Code, counts: Counts, weights: Weights, state: Any, network: Array, scratch: Scratch, log_probs: Array
) -> None:
    """log_probs (V) of the next unit, given the network's logits (V - 1) at all nodes."""
    find_matches(counts, state, np.int64(-1), scratch.units, scratch.levels)
    hash_contexts(state, predicted(scratch.units, code.lengths.size), scratch.hashes)
    log_probs[:] = 0
    for node in range(network.size):
        p = predict(code, counts, weights, state, node, network[node], scratch, np.bool_(False))
        one, zero = np.float32(math.log(p)), np.float32(math.log(_1 - p))
        for place in range(code.low[node], code.high[node]):
            log_probs[code.order[place]] += one if place >= code.middle[node] else zero
