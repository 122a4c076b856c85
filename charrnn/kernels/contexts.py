"""Of a text as it is read: the contexts of its next unit, and the longest matches of its end in a memory's text.

C contexts, M matches, V units, D bits of the longest path, see `kernels/memory.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from charrnn.runtime.arrays import Ids
from charrnn.runtime.compile import exact, inline

ORDERS = (1, 2, 3, 4, 6, 8)  # contexts of so many units
# The others: of words, of the line above, of the symbols between words, of what the longest match predicts.
WORD, WORDS, THREE_WORDS, ABOVE, ABOVE_NEXT, SYMBOLS, PREDICTED = range(len(ORDERS), len(ORDERS) + 7)
CONTEXTS = len(ORDERS) + 7
MATCHES = (4, 7, 16)  # a match begins where so many units are the same
LEVELS = 24  # of the lengths of matches
CHECKED = 32  # units that are compared to find a match; those remembered of what was read
LONGEST = 400  # the length of a match counts to here
LINE = 128  # units of a line that the next one sees above it

# The state of one text that is read: int64, in these places.
SEEN, WORD_HASH, WORD_BEFORE, WORD_BEFORE_THAT, SYMBOLS_HASH, COLUMN, WIDTH_ABOVE = range(7)
POINTERS = 8  # the place of each match in the text, then the length of each; 0: none
RECENT = 16  # a ring of the last units
THIS_LINE = RECENT + CHECKED
LINE_ABOVE = THIS_LINE + LINE
STATE = LINE_ABOVE + LINE


class Code(NamedTuple):
    """The bits of the units, see `text.huffman.Tree`, and what else is known of each."""

    nodes: Ids  # (V, D)
    bits: Any  # (V, D) uint8
    lengths: Ids  # (V)
    depths: Ids  # (V - 1)
    order: Ids  # (V)
    low: Ids  # (V - 1)
    middle: Ids  # (V - 1)
    high: Ids  # (V - 1)
    letters: Ids  # (V): what a word is made of, the same for both cases; 0: not of words
    line_end: int
    lines: bool  # whether each line is a text by itself


class Counts(NamedTuple):
    """What is counted. A slot: 8 bits that tell contexts apart, two counts of 4 bits, a probability of 16 bits."""

    slots: Any  # (C, S) uint32, S even, below 2^32
    places: Ids  # (M, P): where in the text the hash of a context was seen last; P a power of two
    text: Ids  # what was counted, and room for more


# Odd numbers whose bits look random: the golden ratio's, and two of others.
GOLDEN, ODD, PRIME = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0xD6E8FEB86659FD93)
_ORDERS, _MATCHES = np.array(ORDERS), np.array(MATCHES)


@inline
def added(key: Any, value: int) -> Any:
    """The hash of a sequence and one more value."""
    key = (key ^ np.uint64(value + 1)) * GOLDEN
    return key ^ (key >> np.uint64(29))


@inline
def recent(state: Any, back: int) -> int:
    """The unit `back` units ago, 1 the last; before the first one, -1."""
    seen = state[SEEN]
    return state[RECENT + (seen - back) % CHECKED] if back <= seen else -1


@inline
def above(state: Any, column: int) -> Any:
    """The unit in a column of the line above; -1: none."""
    return state[LINE_ABOVE + column] if column < state[WIDTH_ABOVE] else -1


@inline
def predicted(units: Any, nothing: int) -> Any:
    """The unit that the longest of the matches (M) predicts; `nothing` if none does."""
    for m in range(len(MATCHES) - 1, -1, -1):
        if units[m] >= 0:
            return units[m]
    return nothing


@exact
def hash_contexts(state: Any, unit: int, hashes: Any) -> None:
    """The hash of each context (C); `unit`: that which the longest match predicts."""
    key, n = ODD, 0
    for back in range(1, _ORDERS[-1] + 1):
        key = added(key, recent(state, back))
        if back == _ORDERS[n]:
            hashes[n] = key + np.uint64(n) * PRIME
            n += 1
    word, before = added(np.uint64(state[WORD_HASH]), WORD), np.uint64(state[WORD_BEFORE]) * ODD
    last, up = recent(state, 1), above(state, state[COLUMN])
    hashes[WORD] = word
    hashes[WORDS] = added(word ^ before, WORDS)
    hashes[THREE_WORDS] = added(added(word ^ before, THREE_WORDS) ^ np.uint64(state[WORD_BEFORE_THAT]), THREE_WORDS)
    hashes[ABOVE] = added(added(added(PRIME, ABOVE), state[COLUMN]), up)
    hashes[ABOVE_NEXT] = added(added(added(added(PRIME, ABOVE_NEXT), above(state, state[COLUMN] + 1)), up), last)
    hashes[SYMBOLS] = added(word ^ np.uint64(state[SYMBOLS_HASH]) * ODD, SYMBOLS)
    hashes[PREDICTED] = added(added(added(added(PRIME, PREDICTED), unit), last), recent(state, 2))


@exact
def find_matches(counts: Counts, state: Any, here: Any, units: Any, levels: Any) -> None:
    """units (M): the one that follows each match, -1 for none; levels (M): of its length.

    `here` >= 0: the place of the next unit in the text, which is noted for later.
    """
    places, text = counts.places, counts.text
    for m in range(len(_MATCHES)):
        least = _MATCHES[m]
        if state[SEEN] >= least:
            key = ODD
            for back in range(1, least + 1):
                key = added(key, recent(state, back))
            place = np.int64(key & np.uint64(places.shape[1] - 1))
            candidate = places[m, place]
            if here >= 0:
                places[m, place] = here
            if state[POINTERS + len(_MATCHES) + m] == 0 and candidate > 0:
                length = 0
                while length < min(CHECKED, candidate) and text[candidate - 1 - length] == recent(state, length + 1):
                    length += 1
                if length >= least:
                    state[POINTERS + m], state[POINTERS + len(_MATCHES) + m] = candidate, length
        length = state[POINTERS + len(_MATCHES) + m]
        units[m] = text[state[POINTERS + m]] if length else -1
        levels[m] = min(length, 15) if length < 16 else min(16 + (length - 16) // 8, LEVELS - 1)


@exact
def note(code: Code, text: Ids, state: Any, unit: Any) -> None:
    """The state after a unit; `text`: that in which the matches are."""
    if code.lines and unit == code.line_end:
        for j in range(state.size):
            state[j] = 0
    for m in range(len(_MATCHES)):
        length = state[POINTERS + len(_MATCHES) + m]
        if length:
            if text[state[POINTERS + m]] == unit and state[POINTERS + m] + 1 < text.size:
                state[POINTERS + m] += 1
                state[POINTERS + len(_MATCHES) + m] = min(length + 1, LONGEST)
            else:
                state[POINTERS + len(_MATCHES) + m] = 0
    state[RECENT + state[SEEN] % CHECKED] = unit
    state[SEEN] += 1
    letter = code.letters[unit]
    if letter:
        state[WORD_HASH] = np.int64(added(np.uint64(state[WORD_HASH]), letter))
    else:
        if state[WORD_HASH]:
            state[WORD_BEFORE_THAT], state[WORD_BEFORE] = state[WORD_BEFORE], state[WORD_HASH]
            state[WORD_HASH], state[SYMBOLS_HASH] = 0, 0
        state[SYMBOLS_HASH] = np.int64(added(np.uint64(state[SYMBOLS_HASH]), unit))
    column = state[COLUMN]
    if unit == code.line_end:
        state[WIDTH_ABOVE], state[COLUMN] = min(column, LINE), 0
        for j in range(state[WIDTH_ABOVE]):
            state[LINE_ABOVE + j] = state[THIS_LINE + j]
    else:
        if column < LINE:
            state[THIS_LINE + column] = unit
        state[COLUMN] = column + 1
