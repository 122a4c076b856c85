"""Log-probabilities of many sequences that share prefixes.

The hidden state after a prefix depends on that prefix alone, so sequences with a common prefix share its steps. Sorted,
the sequences are a prefix tree (trie) in depth-first order: those with a common prefix are neighbours.

    ↵ ─ a ─ n ┬ n ┬ ↵                   ann
              │   └ a ─ ↵               anna
              └ t ─ o ─ n ─ ↵           anton

Here 15 units (an end of line is one, and also the first input of every line) take 8 steps: ↵ a n n, a, t o n.

The tree is traversed level by level. The rows of a level are its distinct prefixes. Each takes its state from the row
of its parent, does one step, and gives the probability of every unit that follows it in some sequence, with one softmax
for all of them. Once (almost) nothing is shared, every sequence continues by itself, many steps a call, in batches of
similar length. The result of a row does not depend on the other rows, so sharing changes no bit of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from charrnn.models import LanguageModel

_STATE = 1 << 21  # largest size of the states of a level: 8 MB; a row has some hundreds to thousands of numbers
_SHARED = 8  # rows that a level must save: fewer do not make up for the cost of its call
_WINDOW = 256  # steps in one call, once nothing is shared
_POSITIONS = 8192  # steps times rows in one call
_ROWS = 256  # rows in one call

_Places = NDArray[np.intp]


def log_probs(model: LanguageModel, units: NDArray[np.int32], lengths: _Places) -> NDArray[np.float64]:
    """log P (N), in nats, of units[1:], each given the units before it in its sequence. Fastest if sorted.

    units (N + 1): the targets of all sequences, one after the other, lengths[i] of sequence i. The unit before the
    first target is the first input, so the last target of a sequence is also the first input of the next. Every
    sequence starts from the zero state. Raises `CharrnnError` for units outside the vocabulary.
    """
    result = np.empty(len(units) - 1)
    starts = np.cumsum(lengths) - lengths
    starts, lengths = starts[lengths > 0], lengths[lengths > 0]
    rows = max(1, _STATE // model.zero_state(1).size)
    for first in range(0, len(starts), rows):
        some = slice(first, first + rows)
        _walk(model, units, starts[some], lengths[some], result)
    return result


def _walk(
    model: LanguageModel, units: NDArray[np.int32], places: _Places, left: _Places, result: NDArray[np.float64]
) -> None:
    """Level by level: places (N), the index in `units` of each sequence's next input; left (N), its targets to come."""
    state = model.zero_state(1)
    row = np.zeros(len(places), np.int32)  # of `state` (S, B, H), one for each sequence
    while len(places):
        inputs, targets = units[places], units[places + 1]
        # Neighbours with the same prefix and the same next unit are one row.
        heads = _changes(row, inputs)
        state = np.take(state, row[heads], axis=1)
        row = np.cumsum(heads, dtype=np.int32) - np.int32(1)
        if len(places) - state.shape[1] < _SHARED:
            _score_apart(model, units, places, left, state, row, result)
            return
        pairs = _changes(row, targets)
        values = model.next_log_probs(inputs[heads], state, row[pairs], targets[pairs])
        result[places] = values[np.cumsum(pairs) - 1]
        going = left > 1
        places, left, row = places[going] + 1, left[going] - 1, row[going]


def _changes(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.bool_]:
    """Flags (N): whether an entry of either array (N) differs from the one before; true for the first."""
    changes = np.ones(len(first), np.bool_)
    changes[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return changes


def _score_apart(
    model: LanguageModel, units: NDArray[np.int32], places: _Places, left: _Places, state: NDArray[Any],
    row: NDArray[np.int32], result: NDArray[np.float64],
) -> None:  # fmt: skip
    """The rest of each sequence by itself, from row row[i] of the state (S, B, H)."""
    order = np.argsort(-left, kind="stable")
    first = 0
    while first < len(order):
        rows = min(_ROWS, max(1, _POSITIONS // min(int(left[order[first]]), _WINDOW)))
        some = order[first : first + rows]
        _score_batch(model, units, places[some], left[some], np.take(state, row[some], axis=1), result)
        first += rows


def _score_batch(
    model: LanguageModel, units: NDArray[np.int32], places: _Places, left: _Places, state: NDArray[Any],
    result: NDArray[np.float64],
) -> None:  # fmt: skip
    """Window by window. The longest come first, so that the sequences that continue are always the leading rows."""
    while len(places):
        steps = np.arange(min(_WINDOW, int(left[0])))[:, np.newaxis]
        inside = steps < left
        # Padding: what comes after the end of a sequence is computed and dropped.
        at = np.where(inside, places + steps, 0)
        values = model.log_probs(units[at], units[at + 1], state)
        result[at[inside]] = values[inside]
        going = int(np.count_nonzero(left > len(steps)))
        places, left = places[:going] + len(steps), left[:going] - len(steps)
        state = np.ascontiguousarray(state[:, :going])
